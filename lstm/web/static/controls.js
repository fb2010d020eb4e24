// The desk of the page where there is no server: the same controls as lstm/web/page.py sets out, in plain HTML.

import { element, find, put, read, slider } from "./fields.js";

const SLIDERS = {
  sliders: [
    ["temperature", "Temperature", 0, 2, 0.05, "0 takes the likeliest token, more is bolder"],
    ["top-k", "Top-k", 0, 200, 1, "draws among so many likeliest, 0 among all"],
    ["length", "Length", 1, 2000, 1, "tokens to write"],
  ],
  few: [
    ["top-p", "Top-p", 0, 1, 0.01, "draws among the likeliest with so much of the odds"],
    ["min-p", "Min-p", 0, 1, 0.01, "leaves out what has less than so much of the best"],
    ["penalty", "Repetition penalty", 1, 2, 0.05, "above 1, recent tokens are less likely again"],
  ],
};
const PLAIN = { top_p: 1, min_p: 0, repetition_penalty: 1, stop: "" };
const PRESETS = {
  Careful: { temperature: 0.5, top_k: 20 },
  Balanced: { temperature: 0.8, top_k: 40 },
  Wild: { temperature: 1.2, top_k: 200 },
  Greedy: { temperature: 0, top_k: 0 },
};
const FIRST = { ...PRESETS.Balanced, ...PLAIN, length: 200, seed: 7 };
const WHERE = {
  prompt: "#prompt textarea", temperature: "#temperature", top_k: "#top-k", length: "#length", seed: "#seed input",
  top_p: "#top-p", min_p: "#min-p", repetition_penalty: "#penalty", stop: "#stop-strings textarea",
}; // in the order of the endpoint

/** Build the controls; changed() is called after every change of one. */
export class Controls {
  constructor(changed) {
    this.changed = changed;
    for (const [place, sliders] of Object.entries(SLIDERS)) find(`#${place}`).append(...sliders.map((values) => slider(values, changed)));
    for (const [name, values] of Object.entries(PRESETS)) find("#presets").append(this.button(name, { ...PLAIN, ...values }));
    find("#reset").addEventListener("click", () => this.ask(FIRST));
    for (const selector of [WHERE.prompt, WHERE.seed, WHERE.stop]) find(selector).addEventListener("input", changed);
    find("#more > button").addEventListener("click", ({ currentTarget }) => {
      find("#folded").toggleAttribute("hidden");
      currentTarget.setAttribute("aria-expanded", !find("#folded").hidden);
    });
    this.set({ prompt: "", ...FIRST });
  }

  /** The values of all controls by name. */
  get values() {
    return read(WHERE);
  }

  /** Give controls values, without telling anybody. */
  set(values) {
    put(WHERE, values);
  }

  ask(values) {
    this.set(values);
    this.changed();
  }

  button(name, values) {
    const button = element("button", { type: "button" }, name);
    button.addEventListener("click", () => this.ask(values));
    return button;
  }
}
