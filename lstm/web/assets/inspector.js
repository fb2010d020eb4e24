// One token under the glass: what it cost, and what else might have stood there.

import { piece, ready, show } from "./pieces.js";

export class Inspector {
  /** element: the glass; branch(n, id, rank): write another token there; rewind(n): take the text back; close(): let go. */
  constructor(element, { branch, rewind, close }) {
    this.part = (name) => element.querySelector(`[data-part="${name}"]`);
    this.element = element;
    this.branch = branch;
    this.part("rewind").addEventListener("click", () => rewind(this.n));
    this.part("close").addEventListener("click", close);
    this.clear();
  }

  clear() {
    this.n = -1;
    this.element.toggleAttribute("data-filled", false);
  }

  /** Token n of a text. */
  async look(n, token) {
    this.n = n;
    this.element.toggleAttribute("data-filled", true);
    this.part("what").textContent = `“${show(token.text)}”`;
    this.part("cost").textContent =
      `${token.bits.toFixed(1)} bits · rank ${(token.rank + 1).toLocaleString("en")} · p ${probability(2 ** -token.bits)}` +
      ` · ${token.entropy.toFixed(1)} bits were to be expected`;
    await ready();
    if (this.n === n) this.list(n, token);
  }

  list(n, { id, alternatives }) {
    const rows = [];
    for (let k = 0; k < alternatives.length; k += 2) {
      const [other, p] = [alternatives[k], alternatives[k + 1]];
      rows.push(row(piece(other), p, alternatives[1], other === id, () => this.branch(n, other, k / 2)));
    }
    this.part("alternatives").replaceChildren(...rows);
  }
}

function row(name, p, most, chosen, act) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = chosen ? "alternative chosen" : "alternative";
  button.disabled = chosen;
  button.title = chosen ? "stands here" : "write this here instead";
  const bar = document.createElement("i");
  bar.style.width = `${(100 * p) / most}%`;
  const rail = document.createElement("span");
  rail.className = "rail";
  rail.append(bar);
  button.append(rail, text("name", name), text("p", probability(p)));
  button.addEventListener("click", act);
  return button;
}

function text(kind, content) {
  const node = document.createElement("span");
  node.className = kind;
  node.textContent = content;
  return node;
}

const probability = (p) => (p >= 0.0995 ? p.toFixed(2) : p >= 0.001 ? p.toPrecision(2) : p.toExponential(0));
