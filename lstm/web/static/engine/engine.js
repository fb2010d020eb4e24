// Answers what lstm/web/endpoints.py answers on a server, with the same questions and answers.

import { below, choose, Uniform } from "./sampling.js";
import * as guard from "./guard.js";
import { pictures } from "./memory.js";
import { Text } from "./text.js";

const PERIOD = 50; // milliseconds between two frames
const STRIDE = 16; // tokens between two states that are kept
const KEPT = 512; // states
const TEXTS = 32; // of which it is known that they have ended
const SETTINGS = ["temperature", "top_k", "length", "seed", "top_p", "min_p", "repetition_penalty", "stop"];

export class Engine {
  /** facts: what the page says about the model. */
  constructor(runtime, tokenizer, facts) {
    Object.assign(this, { runtime, tokenizer, facts });
    this.V = runtime.shape.vocab_size;
    this.states = new Map(); // ids as text -> the state after them, those of use last at the end
    this.streams = 0;
    this.whole = new Map(); // stream -> the ids of a text that has ended
  }

  /** Frames of a text, as lstm/web/frames.py has them. */
  async *write(prompt, ...values) {
    const asked = performance.now();
    const [after, stream] = values.slice(SETTINGS.length);
    const settings = guard.settings(Object.fromEntries(SETTINGS.map((name, n) => [name, values[n]])));
    const begun = this.begin(prompt);
    const given = guard.ids(after, this.V);
    if (given.length) yield { given: this.look(begun, given) };
    const told = this.whole.get(stream) === [...begun, ...given].join();
    const text = new Text(begun, given, told, settings, this.tokenizer);
    const number = (this.streams += 1);
    const seconds = () => Math.round(performance.now() - asked) / 1000;
    const written = [];
    let frame = null, due = 0;
    for await (const token of this.tokens(text)) {
      frame ??= { stream: number, from: text.written - 1, tokens: [] };
      frame.tokens.push(token);
      written.push(token[1]);
      if (!text.ended && performance.now() < due) continue;
      yield { ...frame, seconds: seconds() };
      frame = null;
      due = performance.now() + PERIOD;
    }
    this.whole.set(number, text.ids.join());
    this.whole.delete(number - TEXTS);
    yield { ended: text.ended, seconds: seconds(), count: written.length, text: written.join("") };
  }

  /** The tokens of a text as they are written: [id, text, bits, entropy, rank, alternatives]. */
  async *tokens(text) {
    const uniform = new Uniform(text.settings.seed);
    let state = await this.before(text.ids);
    while (!text.ended) {
      const step = await this.runtime.step(text.ids.at(-1), state);
      if (text.ids.length % STRIDE === 0) this.keep(text.ids, step.state);
      const drawn = choose(step.logits, text.settings, uniform.at(text.written), text.ids);
      if (!Number.isFinite(drawn.entropy)) throw new guard.Refused("the model gave numbers that are not finite: train the checkpoint again");
      if (text.written - text.first + 1 === text.settings.length) this.keep(text.ids, step.state);
      const shown = text.push(drawn.id);
      state = step.state;
      yield [drawn.id, shown, bits(drawn.bits), bits(drawn.entropy), drawn.rank, drawn.alternatives.map((p, n) => (n % 2 ? Number(p.toPrecision(4)) : p))];
    }
  }

  /** The model's odds of every piece to come next: hundredths of a nat below the likeliest, by id. */
  async *odds(prompt, after) {
    const logits = await this.logits([...this.begin(prompt), ...guard.ids(after, this.V)]);
    yield Array.from(below(logits), (value) => Math.round(100 * value));
  }

  /** Logits of the token that follows some ids: Float32Array (V). */
  async logits(ids) {
    return (await this.runtime.step(ids.at(-1), await this.before(ids))).logits;
  }

  /** What the cells did at each of these tokens; lstm/web/memory.py says what the answer holds. */
  async *memory(prompt, after) {
    const begun = this.begin(prompt);
    const given = guard.ids(after, this.V);
    if (!given.length) throw new guard.Refused("there is no text yet: write one first");
    const steps = [];
    let state = await this.before([...begun, given[0]]);
    for (const id of given) {
      const step = await this.runtime.step(id, state, true);
      ({ state } = step);
      steps.push(step);
      yield null;
    }
    yield pictures(steps, this.runtime.shape);
  }

  /** What each piece looks like on its own, by id. */
  async *vocabulary() {
    yield Array.from({ length: this.V }, (_, id) => this.tokenizer.piece(id));
  }

  async *model() {
    yield { ...this.facts, models: [this.facts.name] };
  }

  /** The ids that a text begins with: a line break, and the prompt. */
  begin(prompt) {
    return guard.read([...this.tokenizer.encode("\n"), ...this.tokenizer.encode(guard.prompt(prompt))]);
  }

  /** What each of these tokens adds to the text before it. */
  look(begun, given) {
    const decoder = this.tokenizer.decoder();
    for (const id of begun) decoder.push(id);
    return given.map((id) => decoder.push(id));
  }

  /** The state that has read all of these ids but the last, from the nearest one that is kept. */
  async before(ids) {
    let length = ids.length - 1;
    const last = length;
    while (length > 0 && !this.states.has(ids.slice(0, length).join())) length = length > last - 2 ? length - 1 : (Math.ceil(length / STRIDE) - 1) * STRIDE;
    let state = length > 0 ? this.states.get(ids.slice(0, length).join()) : this.runtime.initial();
    for (; length < last; length += 1) {
      ({ state } = await this.runtime.step(ids[length], state));
      if ((length + 1) % STRIDE === 0 || length + 1 === last) this.keep(ids.slice(0, length + 1), state);
    }
    return state;
  }

  keep(ids, state) {
    this.states.set(ids.join(), state);
    if (this.states.size > KEPT) this.states.delete(this.states.keys().next().value);
  }
}

const bits = (value) => Math.max(0, Math.round(1000 * value) / 1000);
