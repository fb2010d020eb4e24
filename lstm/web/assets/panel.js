// The live panel: one story at a time with its variants, and a designed state for everything that can happen to it.

import { choice } from "./choice.js";
import { Lost, Refusal, Stream } from "./client.js";
import { count, figures, place, readers } from "./figures.js";
import { listen } from "./hands.js";
import { Inspector } from "./inspector.js";
import { Memory } from "./memory.js";
import { Story } from "./story.js";
import { Tools } from "./tools.js";
import { Tree } from "./tree.js";
import { drawTree } from "./margin.js";

export function mount(element, props, trigger) {
  window.jungle = new Panel(element, trigger, props.value);
  trigger("load"); // asks for the controls' values
}

class Panel {
  constructor(element, trigger, model) {
    this.model = model;
    this.part = (name) => element.querySelector(`[data-part="${name}"]`);
    this.trigger = trigger;
    this.tree = new Tree("");
    this.story = new Story(this.part("story"), this.part("page"));
    this.inspector = new Inspector(this.part("inspector"), {
      branch: (n, id, rank) => this.branch(n, id, rank),
      rewind: (n) => this.rewind(n),
      close: () => this.unpin(),
    });
    this.memory = new Memory(this.part, (n) => this.pin(n));
    this.tools = new Tools(this);
    this.run = { count: 0 };
    this.stream = null;
    this.pinned = -1;
    listen(this);
    this.show("empty");
  }

  // What the controls call. settings: the values of the controls by name, in the order of the endpoint.

  generate(settings) {
    const same = this.tree.prompt === settings.prompt && !this.tree.foreign;
    this.write({ settings, tree: same ? this.tree : new Tree(settings.prompt), next: true });
  }

  /** Goes on with the seed of the text, so that it becomes what it would have been had it been longer from the start. */
  proceed(settings) {
    const { tree } = this;
    if (!tree.path().length) return this.generate(settings);
    const seed = tree.current.settings.seed;
    this.write({ settings: { ...settings, prompt: tree.prompt, seed }, tree, parent: tree.current, at: tree.path().length });
  }

  /** The same once more, with the next seed. */
  again() {
    const { tree } = this;
    const { parent, at, given, settings } = tree.current;
    this.write({ settings: { ...settings, seed: (settings.seed + 1) % 2 ** 31 }, tree, parent, at, given });
  }

  undo() {
    this.walk(this.tree.current?.parent ?? null);
  }

  stop() {
    this.stream?.stop().catch(() => {});
  }

  fold() {
    const open = document.getElementById("desk").classList.toggle("open");
    document.getElementById("fold").setAttribute("aria-expanded", open);
    if (open) document.getElementById("desk").scrollIntoView();
  }

  /** What the controls say now. */
  changed(settings) {
    const first = !this.settings;
    this.names ??= Object.keys(settings);
    this.settings = settings;
    window.dispatchEvent(new CustomEvent("jungle:settings", { detail: settings }));
    if (first) this.tools.followLink();
  }

  /** The values that `set` wants in the controls, in their order. */
  wanted() {
    return this.names.map((name) => this.settings[name]);
  }

  set(settings) {
    this.changed(settings);
    this.trigger("select");
  }

  // What a token can be asked for.

  /** Write another token in the place of token n, and go on from there. */
  branch(n, id, rank) {
    const { tree } = this;
    if (tree.foreign) return;
    const { alternatives, entropy } = tree.path()[n];
    const given = { id, text: "", bits: -Math.log2(alternatives[2 * rank + 1]), entropy, rank, alternatives, given: true };
    this.write({ settings: tree.current.settings, tree, parent: tree.current, at: n, given });
  }

  /** Take the text back to the end of token n; the old one stays at hand. */
  rewind(n) {
    if (this.stream || this.tree.foreign) return;
    this.tree.grow(this.tree.current, n + 1, this.tree.current.settings);
    this.walk(this.tree.current);
  }

  /** Show a branch, none for null. */
  walk(branch) {
    if (this.stream) return;
    this.tree.current = branch;
    this.run = { count: 0 };
    this.unpin();
    this.redraw();
    this.show(branch ? "finished" : "empty");
  }

  /** Show a text that was made elsewhere; one of another model can be read, but not gone on with. */
  open(settings, tokens, digest) {
    if (this.stream) return;
    this.tree = new Tree(settings.prompt);
    this.tree.foreign = digest !== this.model.digest;
    this.tree.grow(null, 0, settings).tokens = tokens;
    this.set({ ...this.settings, ...settings });
    this.walk(this.tree.current);
    if (this.tree.foreign) this.show("finished", "Another model wrote this text: here it can be read, not gone on with.");
  }

  // One run, from the click to its end.

  /** parent, at, given: where it begins in the tree; after: tokens known by their ids alone; next: whether the seed moves on. */
  async write({ settings, tree, parent = null, at = 0, given = null, after = null, next = false }) {
    if (this.stream) return;
    const before = tree.path(parent).slice(0, at);
    const ids = [...(after ?? before), ...(given ? [given] : [])].map((token) => token.id);
    const data = [...this.names.map((name) => settings[name]), ids, tree.writer(parent, at), choice.name];
    this.stream = new Stream("write", data);
    this.run = { asked: performance.now(), count: 0, seconds: 0, first: 0, seed: settings.seed };
    this.show("waiting");
    try {
      for await (const { accepted, queued, frame } of this.stream) {
        if (accepted) this.accept({ settings, tree, parent, at, given, after, next });
        else if (queued) this.show("waiting", place(queued));
        else this.take(frame);
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

  accept({ settings, tree, parent, at, given, after, next }) {
    this.tree = tree;
    const branch = tree.grow(parent, at, settings, given);
    if (after) branch.tokens = after;
    this.unpin();
    if (!given && !after) this.redraw();
    if (next) this.nextSeed();
  }

  /** The box shows the seed of the next text; the figures show the one that was used. */
  nextSeed() {
    if (document.querySelector("#keep-seed input").checked) return;
    this.set({ ...this.settings, seed: (this.settings.seed + 1) % 2 ** 31 });
  }

  take(frame) {
    if (frame.ended) this.run.ended = frame.ended;
    else if (frame.tokens) this.draw(frame);
    else this.learn(frame.given);
  }

  /** What the tokens look like that this text was asked to begin with. */
  learn(texts) {
    this.tree.path().forEach((token, n) => (token.text ||= texts[n]));
    this.redraw();
  }

  draw(frame) {
    const { run, tree, story } = this;
    const fresh = frame.tokens.map(([id, text, bits, entropy, rank, alternatives]) => ({ id, text, bits, entropy, rank, alternatives }));
    tree.current.stream = frame.stream;
    tree.current.tokens.push(...fresh);
    if (run.count) story.append(fresh);
    else this.redraw();
    run.count += fresh.length;
    run.seconds = frame.seconds;
    if (!run.first) {
      run.first = performance.now() - run.asked;
      this.show("writing");
    }
    this.figures();
  }

  finish(state, why = "") {
    if (state !== "lost") readers(this.part).catch(() => {});
    const sentence = {
      finished: this.run.ended === "deadline" ? "The time for one text was over." : "",
      stopped: `Stopped after ${count(this.run.count)}.`,
      refused: why,
      lost: "The connection broke. The text stays.",
    };
    this.show(state, sentence[state]);
  }

  // What is to be seen.

  figures() {
    figures(this.part, this.run, this.story.tokens, this.tree.current?.settings.seed);
  }

  redraw() {
    this.story.show(this.tree.prompt, this.tree.path());
    drawTree(this.part("tree"), this.tree, (branch) => this.walk(branch));
    this.figures();
  }

  show(state, sentence = "") {
    const busy = (this.busy = state === "waiting" || state === "writing");
    const { atEnd } = this.story;
    document.body.dataset.panel = state;
    this.part("panel").dataset.state = state;
    this.part("panel").toggleAttribute("data-blank", !busy && !this.story.tokens.length);
    this.part("notice").textContent = sentence;
    this.part("status").textContent = busy ? "Writing" : sentence || (state === "finished" ? `Finished, ${count(this.run.count)}` : "");
    if (!busy) this.remember();
    enable("generate", !busy);
    enable("stop", busy);
    for (const id of ["proceed", "again"]) enable(id, !busy && !this.tree.foreign && this.story.tokens.length > 0);
    enable("undo", !busy && this.story.tokens.length > 0);
    if (atEnd) this.story.toEnd(); // a notice must not push the last line out of sight
  }

  view(name) {
    this.part("panel").dataset.view = name;
    this.remember();
    for (const button of this.part("views").children) button.setAttribute("aria-pressed", button.dataset.view === name);
  }

  /** The pictures of memory are made when a text stands still and somebody looks. */
  remember() {
    if (this.part("panel").dataset.view === "memory" && !this.busy) this.memory.show(this.tree.prompt, this.story.tokens, this.pinned);
  }

  look(n) {
    if (!this.story.tokens[n]?.alternatives) return;
    this.story.mark(n);
    this.memory.look(n);
    this.inspector.look(n, this.story.tokens[n]);
  }

  /** Another model knows nothing of this one's text. */
  change(model) {
    this.stop();
    if (this.stream) return setTimeout(() => this.change(model), 30);
    this.model = model;
    this.tree = new Tree("");
    this.walk(null);
  }

  /** A click holds a token under the glass until it is clicked again. */
  pin(n) {
    this.pinned = n === this.pinned ? -1 : n;
    this.look(n);
  }

  unpin() {
    this.pinned = -1;
    this.story.mark(-1);
    this.inspector.clear();
  }

}

function enable(id, on) {
  const button = document.getElementById(id);
  if (button) button.disabled = !on;
}
