// What the sliders do, before anything is written: the model's odds of the next token, redrawn without asking it again.

import { choice } from "./choice.js";
import { ask } from "./client.js";
import { piece, ready } from "./pieces.js";

const SHOWN = 5;
const PAUSE = 350; // milliseconds of rest in typing before the model is asked

export function mount(element) {
  new Odds(element);
}

class Odds {
  constructor(element) {
    this.part = (name) => element.querySelector(`[data-part="${name}"]`);
    this.logits = null; // hundredths of a nat below the likeliest
    window.addEventListener("jungle:settings", ({ detail }) => this.changed(detail));
    window.addEventListener("jungle:model", () => this.soon());
    if (window.jungle?.settings) this.changed(window.jungle.settings);
  }

  changed(settings) {
    this.settings = settings;
    if (settings.prompt !== this.prompt) this.soon();
    if (this.logits) this.draw();
  }

  soon() {
    this.prompt = this.settings.prompt;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.fetch(this.prompt), PAUSE);
  }

  async fetch(prompt) {
    try {
      await ready();
      const logits = await ask("odds", [prompt, [], choice.name]);
      if (prompt !== this.prompt) return;
      this.logits = logits;
      this.draw();
    } catch {
      this.part("kept").textContent = "";
      this.part("rows").replaceChildren();
    }
  }

  draw() {
    const { ids, odds, own, kept, bits } = weigh(this.logits, this.settings);
    const rows = ids.slice(0, SHOWN).map((id, k) => row(piece(id), odds[k], own[k]));
    this.part("rows").replaceChildren(...rows);
    const all = this.logits.length.toLocaleString("en");
    this.part("kept").textContent = `${kept.toLocaleString("en")} of ${all} kept · ${bits.toFixed(1)} bits`;
  }
}

/** What is drawn from, as the engine draws: temperature, then top-k, top-p and min-p. Sorted, likeliest first. */
export function weigh(logits, { temperature, top_k, top_p, min_p }) {
  const ids = Array.from(logits.keys()).sort((a, b) => logits[b] - logits[a] || a - b);
  const own = normal(ids.map((id) => Math.exp(logits[id] / 100)));
  const most = temperature === 0 ? 1 : top_k || ids.length;
  let odds = ids.map((id, k) => (k < most ? Math.exp(logits[id] / 100 / (temperature || 1)) : 0));
  const total = odds.reduce((sum, p) => sum + p, 0);
  let mass = 0;
  odds = odds.map((p) => {
    const keep = mass <= top_p * total && p >= min_p;
    mass += p;
    return keep ? p : 0;
  });
  odds = normal(odds);
  const bits = odds.reduce((sum, p) => sum - (p > 0 ? p * Math.log2(p) : 0), 0);
  return { ids, odds, own, kept: odds.filter((p) => p > 0).length, bits };
}

function normal(weights) {
  const total = weights.reduce((sum, p) => sum + p, 0);
  return weights.map((p) => p / total);
}

function row(name, odds, own) {
  const item = document.createElement("li");
  item.classList.toggle("cut", odds === 0);
  for (const [kind, p] of [["own", own], ["set", odds]]) {
    const bar = document.createElement("i");
    bar.className = kind;
    bar.style.width = `${100 * p}%`;
    item.append(bar);
  }
  for (const [kind, content] of [["name", name], ["p", `${(100 * odds).toFixed(odds < 0.0995 ? 1 : 0)} %`]]) {
    const node = document.createElement("span");
    node.className = kind;
    node.textContent = content;
    item.append(node);
  }
  return item;
}
