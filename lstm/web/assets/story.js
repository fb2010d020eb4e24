// The text on the screen: what was typed and what was written, token by token. Only ever text, and appended where it can be.

/** Control characters are shown as their pictures (U+2400 and on), so that nothing in a text is invisible. */
export const visible = (text) =>
  text.replace(/[\u0000-\u0008\u000b-\u001f]/g, (c) => String.fromCharCode(0x2400 + c.charCodeAt(0))).replace(/\u007f/g, "\u2421");

const PROSE = 40; // characters of a line that a printer broke, not a poet

export class Story {
  /** element: what holds the text; scroller: what moves when it grows. */
  constructor(element, scroller) {
    this.element = element;
    this.scroller = scroller;
    this.tokens = [];
    this.prompt = "";
  }

  /** Show another text; what it has in common with the one before is left as it stands. */
  show(prompt, tokens) {
    if (prompt !== this.prompt || !this.element.firstChild) this.begin(prompt);
    let same = 0;
    while (same < tokens.length && tokens[same] === this.tokens[same]) same += 1;
    while (this.tokens.length > same) {
      this.tokens.pop();
      this.element.lastChild.remove();
      this.soft = null;
    }
    this.append(tokens.slice(same));
  }

  begin(prompt) {
    this.prompt = prompt;
    this.tokens = [];
    this.element.replaceChildren(span("typed", prompt));
    this.column = prompt.length - prompt.lastIndexOf("\n") - 1;
    this.soft = null;
    this.scroller.scrollTop = 0;
  }

  /** tokens: {id, text, bits, entropy, rank, alternatives}. Follows the end only for a reader who is there. */
  append(tokens) {
    const { atEnd } = this;
    const fresh = document.createDocumentFragment();
    for (const token of tokens) {
      const node = span("token", token.text);
      if (token.bits !== null) node.classList.add(`b${Math.min(7, Math.floor(token.bits))}`);
      node.dataset.n = this.tokens.length;
      this.typeset(node, token.text);
      if (token.given) node.classList.add("given");
      this.tokens.push(token);
      fresh.append(node);
    }
    this.element.append(fresh);
    if (atEnd) this.toEnd();
  }

  /** A single line break after a long line of prose is set as a space; verses, indents and copies keep theirs. */
  typeset(node, text) {
    if (!text) return; // a space that falls away at the start of a line, or part of a character
    if (this.soft && /^\S/.test(text)) this.soft.classList.add("soft");
    this.soft = text === "\n" && this.column >= PROSE ? node : null;
    const cut = text.lastIndexOf("\n");
    this.column = cut < 0 ? this.column + text.length : text.length - cut - 1;
  }

  /** Which token an event is about; -1 if none. */
  at(event) {
    return Number(event.target.closest?.(".token")?.dataset.n ?? -1);
  }

  /** Mark one token, none for -1. */
  mark(n) {
    this.element.querySelector(".marked")?.classList.remove("marked");
    if (n >= 0) this.node(n)?.classList.add("marked");
  }

  node(n) {
    return this.element.children[n + 1];
  }

  reveal(n) {
    this.node(n)?.scrollIntoView({ block: "nearest" });
  }

  get atEnd() {
    return this.scroller.scrollHeight - this.scroller.scrollTop - this.scroller.clientHeight < 48;
  }

  toEnd() {
    this.scroller.scrollTop = this.scroller.scrollHeight;
  }

  get written() {
    return this.tokens.map((token) => token.text).join("");
  }

  get text() {
    return this.prompt + this.written;
  }
}

function span(kind, text) {
  const node = document.createElement("span");
  node.className = kind;
  node.textContent = visible(text);
  return node;
}
