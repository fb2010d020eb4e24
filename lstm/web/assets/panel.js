// The live panel: one story at a time, and a designed state for everything that can happen to it.

import { Lost, Refusal, Stream } from "./client.js";
import { Story } from "./story.js";

const BEGINNINGS = [
  "Mowgli crept through the long grass",
  "“Now, Little Brother,” said Bagheera,",
  "The old seal looked out over the grey water and",
];

export function mount(element, props, trigger) {
  window.jungle = new Panel(element, trigger);
  trigger("load"); // asks for the controls' values
}

class Panel {
  constructor(element, trigger) {
    this.part = (name) => element.querySelector(`[data-part="${name}"]`);
    this.trigger = trigger;
    this.story = new Story(this.part("story"), this.part("page"));
    this.stream = null;
    this.invite();
    this.part("again").addEventListener("click", () => this.proceed(this.settings));
    window.addEventListener("keydown", (event) => this.key(event), true); // before Gradio's own keys
    this.show("empty");
  }

  // What the controls call. settings: prompt, temperature, top_k, length, seed, in the order of the endpoint.

  generate(settings) {
    if (!this.stream) this.write(settings, true);
  }

  proceed(settings) {
    if (this.stream) return;
    if (!this.story.tokens.length) return this.generate(settings);
    this.write({ ...settings, prompt: this.story.text }, false);
  }

  stop() {
    this.stream?.stop().catch(() => {});
  }

  /** What the controls say now. */
  changed(settings) {
    this.settings = settings;
  }

  fold() {
    const open = document.getElementById("desk").classList.toggle("open");
    document.getElementById("fold").setAttribute("aria-expanded", open);
    if (open) document.getElementById("desk").scrollIntoView();
  }

  /** The values that `set` wants in the controls, in their order. */
  wanted() {
    return Object.values(this.settings);
  }

  set(settings) {
    this.settings = settings;
    this.trigger("select");
  }

  /** One text, from the click to its end. What was on the page gives way to a fresh one once the server has taken it. */
  async write(settings, fresh) {
    this.stream = new Stream("write", Object.values(settings));
    this.run = { asked: performance.now(), seed: settings.seed, count: 0, seconds: 0, first: 0 };
    this.show("waiting");
    try {
      for await (const { accepted, queued, frame } of this.stream) {
        if (accepted) this.accept(settings, fresh);
        else if (queued) this.show("waiting", place(queued));
        else if (frame.tokens) this.draw(frame);
        else this.run.ended = frame.ended;
      }
      this.finish(this.stream.stopped && !this.run.ended ? "stopped" : "finished");
    } catch (error) {
      if (error instanceof Refusal) this.finish("refused", error.message);
      else if (error instanceof Lost) this.finish("lost");
      else throw error;
    } finally {
      this.stream = null;
    }
  }

  accept(settings, fresh) {
    if (fresh) this.story.begin(settings.prompt);
    this.nextSeed();
    this.show("waiting");
  }

  /** The box shows the seed of the next text; the figures show the one that was used. */
  nextSeed() {
    if (document.querySelector("#keep-seed input").checked) return;
    this.set({ ...this.settings, seed: (this.settings.seed + 1) % 2 ** 31 });
  }

  draw(frame) {
    const { run } = this;
    this.story.append(frame.tokens.map(([id, text, bits, entropy, alternatives]) => ({ id, text, bits, entropy, alternatives })));
    if (!run.count) {
      run.first = performance.now() - run.asked;
      this.show("writing");
    }
    run.count += frame.tokens.length;
    run.seconds = frame.seconds;
    this.figures();
  }

  finish(state, why = "") {
    const sentence = {
      finished: "",
      stopped: `Stopped after ${tokens(this.run.count)}.`,
      refused: why,
      lost: "The connection broke. The text stays.",
    };
    this.show(state, sentence[state]);
  }

  // What is to be seen.

  show(state, sentence = "") {
    const busy = state === "waiting" || state === "writing";
    const { atEnd } = this.story;
    document.body.dataset.panel = state;
    this.part("panel").dataset.state = state;
    this.part("panel").toggleAttribute("data-blank", !this.story.text);
    this.part("notice").textContent = sentence;
    this.part("status").textContent = busy ? "Writing" : sentence || (state === "finished" ? `Finished, ${tokens(this.run.count)}` : "");
    enable("generate", !busy);
    enable("continue", !busy && this.story.tokens.length > 0);
    enable("stop", busy);
    if (atEnd) this.story.toEnd(); // a notice must not push the last line out of sight
  }

  figures() {
    const { count, seconds, first, seed } = this.run;
    const bits = this.story.tokens.reduce((sum, token) => sum + token.bits, 0) / Math.max(1, this.story.tokens.length);
    const say = (name, text) => (this.part(name).textContent = text);
    say("tokens", tokens(count));
    say("rate", seconds ? `${Math.round(count / seconds).toLocaleString("en")} tokens/s` : "");
    say("first", first ? `first in ${Math.round(first)} ms` : "");
    say("perplexity", count ? `perplexity ${(2 ** bits).toPrecision(3)}` : "");
    say("seed", `seed ${seed}`);
  }

  invite() {
    for (const beginning of BEGINNINGS) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = beginning;
      button.addEventListener("click", () => {
        this.set({ ...this.settings, prompt: beginning });
        this.generate(this.settings);
      });
      this.part("beginnings").append(button);
    }
  }

  key(event) {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      event.stopPropagation();
      document.getElementById("generate").click();
    } else if (event.key === "Escape" && this.stream) this.stop();
  }
}

const tokens = (count) => `${count.toLocaleString("en")} ${count === 1 ? "token" : "tokens"}`;

const place = ({ place, seconds }) =>
  `Waiting for a place: ${place === 1 ? "you are next" : `number ${place} in line`}${seconds ? `, about ${Math.ceil(seconds)} s` : ""}.`;

function enable(id, on) {
  const button = document.getElementById(id);
  if (button) button.disabled = !on;
}
