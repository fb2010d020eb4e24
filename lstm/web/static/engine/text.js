// One text in the making, as lstm/text.py keeps it: its ids, its decoder, its stop strings, and when it ends.

const TAIL = 400; // ids that settle where the decoder and the stop strings stand

export class Text {
  /** prompt, after: ids; told: whether the end after these was told, with what the decoder still held. */
  constructor(prompt, after, told, settings, tokenizer) {
    this.ids = [...prompt, ...after];
    this.prompt = prompt.length;
    this.first = after.length;
    this.settings = settings;
    this.ended = "";
    this.decoder = tokenizer.decoder();
    this.stops = new StopStrings(settings.stop);
    for (let place = Math.max(0, this.ids.length - TAIL); place < this.ids.length; place += 1) {
      const text = this.decoder.push(this.ids[place]);
      if (place >= this.prompt && !told) this.stops.push(text);
    }
    if (told) this.decoder.flush();
  }

  /** Tokens written since the prompt, those that were there already included. */
  get written() {
    return this.ids.length - this.prompt;
  }

  /** Take the id that was drawn, and end the text if it is time: what may be shown now. */
  push(id) {
    this.ids.push(id);
    let [text, stopped] = this.stops.push(this.decoder.push(id));
    if (stopped) this.ended = "stop";
    else if (this.written - this.first >= this.settings.length) {
      this.ended = "length";
      text += this.stops.push(this.decoder.flush())[0] + this.stops.held;
    }
    return text;
  }
}

/** Finds strings at which a text ends, and holds back what may be the beginning of one. */
class StopStrings {
  constructor(strings) {
    this.strings = strings;
    this.held = "";
  }

  /** What may be shown now that this text has come, and whether a string was found; what follows it is dropped. */
  push(text) {
    if (!this.strings.length) return [text, false];
    const held = this.held + text;
    const found = this.strings.filter((string) => held.includes(string)).map((string) => [held.indexOf(string) + string.length, -string.length]);
    if (found.length) {
      this.held = "";
      const [end, length] = found.sort((a, b) => a[0] - b[0] || a[1] - b[1])[0]; // the one that is complete first
      return [held.slice(0, end + length), true];
    }
    const keep = Math.max(...this.strings.map((string) => overlap(held, string)));
    this.held = held.slice(held.length - keep);
    return [held.slice(0, held.length - keep), false];
  }
}

/** Length of the longest end of the text with which the string begins. */
function overlap(text, string) {
  for (let n = Math.min(text.length, string.length - 1); n > 0; n -= 1) if (text.endsWith(string.slice(0, n))) return n;
  return 0;
}
