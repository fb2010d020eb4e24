// The text on the screen: what was typed and what was written, token by token. Only ever appended to, only ever text.

/** Control characters are shown as their pictures (U+2400 and on), so that nothing in a text is invisible. */
export const visible = (text) =>
  text.replace(/[\u0000-\u0008\u000b-\u001f]/g, (c) => String.fromCharCode(0x2400 + c.charCodeAt(0))).replace(/\u007f/g, "\u2421");

export class Story {
  /** element: what holds the text; scroller: what moves when it grows. */
  constructor(element, scroller) {
    this.element = element;
    this.scroller = scroller;
    this.begin("");
  }

  begin(prompt) {
    this.prompt = prompt;
    this.tokens = [];
    this.element.replaceChildren(span("typed", prompt));
    this.scroller.scrollTop = 0;
  }

  /** tokens: {id, text, bits, entropy, alternatives}. Follows the end only for a reader who is there. */
  append(tokens) {
    const { atEnd } = this;
    const fresh = document.createDocumentFragment();
    for (const token of tokens) {
      const node = span("token", token.text);
      node.dataset.n = this.tokens.length;
      this.tokens.push(token);
      fresh.append(node);
    }
    this.element.append(fresh);
    if (atEnd) this.toEnd();
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
