// What the cells did while the text was read: a map of units over tokens, and one token's numbers in the LSTM's equations.

import { cells } from "./cell.js";
import { choice } from "./choice.js";
import { ask } from "./client.js";
import { show } from "./pieces.js";

const KINDS = {
  forget: "Forget gate: how much of its old value a unit keeps at a token. Full colour keeps all (1), none drops all (0).",
  input: "Input gate: how much of the new a unit lets in at a token. Full colour lets in all (1), none nothing (0).",
  output: "Output gate: how much of its value a unit shows at a token. Full colour shows all (1), none nothing (0).",
  cell: "Cell state: what a unit holds after a token.",
  hidden: "Hidden state: what a unit shows of it to the layers above.",
};
const SIGNED = new Set(["cell", "hidden"]);

export class Memory {
  /** part(name): a piece of the panel; pick(n): what a click on token n of the map does. */
  constructor(part, pick) {
    this.part = part;
    this.kind = "forget";
    this.tokens = [];
    for (const kind of Object.keys(KINDS)) this.part("kinds").append(this.button(kind));
    window.addEventListener("jungle:light", () => this.draw());
    this.part("canvas").addEventListener("click", (event) => this.data && pick(this.place(event)));
  }

  button(kind) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = kind;
    button.setAttribute("aria-pressed", kind === this.kind);
    button.addEventListener("click", () => {
      this.kind = kind;
      for (const other of this.part("kinds").children) other.setAttribute("aria-pressed", other === button);
      this.draw();
    });
    return button;
  }

  /** Ask what the cells did, unless it is known already, and draw it; token n is under the glass, none for -1. */
  async show(prompt, tokens, n) {
    const key = JSON.stringify([choice.name, prompt, tokens.map((token) => token.id)]);
    if (key === this.key || !tokens.length) return;
    Object.assign(this, { key, tokens: [...tokens], data: null });
    this.part("caption").textContent = "Reading the text once more, to watch the cells…";
    this.part("memory").replaceChildren();
    try {
      const data = await ask("memory", [prompt, tokens.map((token) => token.id), choice.name]);
      if (key !== this.key) return;
      this.data = data;
      this.draw();
      this.look(n);
    } catch (error) {
      this.key = null;
      this.part("caption").textContent = error.message || "The connection broke: look again in a moment.";
    }
  }

  place(event) {
    const box = event.currentTarget.getBoundingClientRect();
    return Math.min(this.tokens.length - 1, Math.floor((this.tokens.length * (event.clientX - box.left)) / box.width));
  }

  draw() {
    if (!this.data) return;
    const canvas = this.part("canvas");
    const rows = this.data.units.map((units) => units.length);
    const gap = 2;
    canvas.width = this.tokens.length;
    canvas.height = rows.reduce((sum, count) => sum + count + gap, -gap);
    const context = canvas.getContext("2d");
    const paint = palette(canvas, SIGNED.has(this.kind));
    let top = 0;
    for (const [layer, map] of this.data.maps[this.kind].entries()) {
      const image = context.createImageData(canvas.width, rows[layer]);
      const pixels = new Uint32Array(image.data.buffer);
      const bytes = atob(map);
      for (let k = 0; k < bytes.length; k += 1) pixels[k] = paint[bytes.charCodeAt(k)];
      context.putImageData(image, 0, top);
      top += rows[layer] + gap;
    }
    this.part("caption").textContent = `${KINDS[this.kind]} ${this.scale()} ${this.layout()}`;
  }

  scale() {
    const top = this.data.scale[this.kind]?.toFixed(1);
    return top ? `Green above 0, rust below, one scale from −${top} to ${top} for all layers.` : "One scale for all layers.";
  }

  layout() {
    const layers = this.data.units.length === 1 ? "One layer" : `${this.data.units.length} layers, the first on top`;
    return `${layers}; ${this.data.units[0].length} units each that move most, alike ones side by side; tokens from left to right.`;
  }

  /** Token n in words and numbers; the strongest units for -1. */
  look(n) {
    const element = this.part("memory");
    if (!this.data || n >= this.tokens.length) return;
    this.part("cursor").hidden = n < 0;
    this.part("cursor").style.left = `${(100 * (n + 0.5)) / this.tokens.length}%`;
    element.replaceChildren(...(n < 0 ? this.strongest() : [this.words(n), cells(this.data.changed[n])]));
  }

  words(n) {
    const [input, forget, output] = this.data.means[n].map((share) => `${Math.round(100 * share)} %`);
    const [median, slowest, layer, unit] = this.data.half[n];
    const life = (tokens) => (tokens < 0 ? `not gone by the end, ${-tokens} tokens on` : `gone after ${tokens} ${tokens === 1 ? "token" : "tokens"}`);
    return line(
      `On average the units kept ${forget}, let in ${input} of the new and showed ${output}. Half of what the median unit held here is ` +
        `${life(median)}; in the slowest (layer ${layer + 1}, unit ${unit}) it is ${life(slowest)}. The units that changed most here:`,
    );
  }

  strongest() {
    const name = (n) => `“${show(this.tokens[n].text)}”`;
    return [
      line("The units that move most in this text, and the tokens that drive them. Point at a word to see its numbers."),
      ...this.data.strongest.map(([layer, unit, up, down]) =>
        line(`Layer ${layer + 1}, unit ${unit}: up at ${up.map(name).join(" ")}, down at ${down.map(name).join(" ")}`, "driver"),
      ),
    ];
  }
}

function line(text, kind = "words") {
  const node = document.createElement("p");
  node.className = kind;
  node.textContent = text;
  return node;
}

/** 256 pixels between the page's own colours: sheet to leaf, or rust over sheet to leaf. */
function palette(element, signed) {
  const style = getComputedStyle(element);
  const [sheet, leaf, rust] = ["--sheet", "--leaf", "--rust"].map((name) => rgb(style.getPropertyValue(name)));
  return Uint32Array.from({ length: 256 }, (_, k) => {
    const share = signed ? Math.abs(k - 127.5) / 127.5 : k / 255;
    const goal = signed && k < 127.5 ? rust : leaf;
    const [red, green, blue] = sheet.map((value, n) => Math.round(value + (goal[n] - value) * share));
    return ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0; // as a canvas keeps it
  });
}

const rgb = (hex) => [1, 3, 5].map((n) => Number.parseInt(hex.trim().slice(n, n + 2), 16));
