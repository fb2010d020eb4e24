// The same prompt and seed under two settings or two models, streaming side by side, with the place where they part marked.

import { Lost, Refusal, Stream } from "./client.js";
import { count } from "./figures.js";
import { Story } from "./story.js";

const SIDES = ["left", "right"];
const PLAIN = [1, 0, 1, "", [], -1]; // top-p, min-p, repetition penalty, stops, no text so far

export function mount(element) {
  window.jungleCompare = new Compare(element);
}

class Compare {
  constructor(element) {
    this.part = (name) => element.querySelector(`[data-part="${name}"]`);
    this.stories = SIDES.map((side) => new Story(this.part(side), this.part(`${side}-page`)));
    this.streams = [];
    this.state("empty");
  }

  async compare({ prompt, length, seed, ...values }) {
    if (this.streams.length) return;
    this.stories.forEach((story) => story.begin(prompt));
    this.streams = SIDES.map((side) => new Stream("write", [prompt, values[`${side}_temperature`], values[`${side}_top_k`], length, seed, ...PLAIN, values[`${side}_model`]]));
    this.state("writing");
    try {
      await Promise.all(SIDES.map((side, n) => this.follow(side, n)));
      this.state("finished");
    } catch (error) {
      this.stop();
      this.state("finished");
      this.part("verdict").textContent = error instanceof Refusal ? error.message : "The connection broke. The texts stay.";
      if (!(error instanceof Refusal || error instanceof Lost)) throw error;
    } finally {
      this.streams = [];
    }
  }

  stop() {
    for (const stream of this.streams) stream.stop().catch(() => {});
  }

  async follow(side, n) {
    for await (const { frame } of this.streams[n]) {
      if (!frame?.tokens) continue;
      this.stories[n].append(frame.tokens.map(([id, text, bits]) => ({ id, text, bits })));
      this.mark();
      this.figures(side, this.stories[n].tokens, frame.seconds);
    }
  }

  /** What both have in common turns quiet; the first token that differs is marked. */
  mark() {
    const [left, right] = this.stories;
    const both = Math.min(left.tokens.length, right.tokens.length);
    while (this.common < both && !this.parted) {
      this.parted = left.tokens[this.common].id !== right.tokens[this.common].id;
      for (const story of this.stories) story.node(this.common).classList.add(this.parted ? "parting" : "common");
      this.common += this.parted ? 0 : 1;
    }
    if (both) this.part("verdict").textContent = this.verdict();
  }

  verdict() {
    const same = `The same for ${count(this.common)}`;
    if (!this.parted) return `${same}.`;
    return this.common ? `${same}, then they part at the marked one.` : "They part at the first token, which is marked.";
  }

  figures(side, tokens, seconds) {
    const bits = tokens.reduce((sum, token) => sum + token.bits, 0) / tokens.length;
    this.part(`${side}-figures`).textContent =
      `${count(tokens.length)} · ${Math.round(tokens.length / seconds).toLocaleString("en")} tokens/s · perplexity ${(2 ** bits).toPrecision(3)}`;
  }

  state(name) {
    this.part("compare").dataset.state = name;
    if (name === "writing") Object.assign(this, { common: 0, parted: false });
    const busy = name === "writing";
    for (const [id, on] of [["compare-both", !busy], ["compare-stop", busy]]) {
      const button = document.getElementById(id);
      if (button) button.disabled = !on;
    }
  }
}
