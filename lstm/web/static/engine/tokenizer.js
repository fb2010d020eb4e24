// Text to ids and back, with the very segmentation of lstm/tokenizer.py: SentencePiece's unigram with byte fallback.
// A word has the same piece at the start of a line as inside it, so a space is put after each line break.

const MARK = "\u2581"; // what SentencePiece writes for a space; a real one travels as three bytes
const UNKNOWN = 10; // how much worse than the rarest piece a character without a piece is
const DEEP = 100_000; // below this, scores are counted from here, so that floats stay fine enough
const utf8 = new TextEncoder();

export class Tokenizer {
  /** pieces: [piece, score, kind] by id, kind being "word", "break", "byte" or "". */
  constructor(pieces) {
    const scores = pieces.filter(([, , kind]) => kind === "word").map(([, score]) => score);
    this.bytes = pieces.map(([piece, , kind]) => bytesOf(piece, kind));
    this.single = new Map(); // a byte -> its id
    this.trie = new Map(); // 256 * node + byte -> node
    this.ends = new Map(); // node -> id
    this.scores = Float32Array.from(pieces, ([piece, score, kind]) => (kind === "break" ? 0.1 * (piece.length - 1) : score));
    this.unknown = Math.fround(Math.min(...scores) - UNKNOWN);
    for (const [id, [piece, , kind]] of pieces.entries()) {
      if (kind === "byte") this.single.set(this.bytes[id][0], id);
      else if (kind) this.plant(utf8.encode(piece), id);
    }
  }

  plant(bytes, id) {
    let node = 0;
    for (const byte of bytes) {
      const key = 256 * node + byte;
      if (!this.trie.has(key)) this.trie.set(key, this.trie.size + 1);
      node = this.trie.get(key);
    }
    this.ends.set(node, id);
  }

  /** Ids of the likeliest segmentation of a text that stands at the start of a line. It must be well-formed. */
  encode(text) {
    let spaced = text.replace(/\n(?=[^\n])/g, "\n ");
    if (text && text[0] !== "\n") spaced = ` ${spaced}`;
    const ids = [];
    for (const [n, part] of spaced.split(MARK).entries()) {
      if (n) for (const byte of utf8.encode(MARK)) ids.push(this.single.get(byte));
      for (const id of this.segment(utf8.encode(part.replaceAll(" ", MARK)))) ids.push(id);
    }
    return ids;
  }

  /** Viterbi over bytes (Kudo 2018), with the roundings of SentencePiece 0.2.3. */
  segment(bytes) {
    const best = new Float32Array(bytes.length + 1);
    const from = new Int32Array(bytes.length + 1).fill(-1);
    const chosen = new Int32Array(bytes.length + 1);
    let frontier = 0;
    const offer = (start, end, id, score) => {
      const candidate = Math.fround(score + best[start]);
      frontier = Math.max(frontier, end);
      if (from[end] === -1 || candidate > best[end]) [best[end], from[end], chosen[end]] = [candidate, start, id];
    };
    for (let start = 0, width; start < bytes.length; start += width) {
      width = Math.min(characterWidth(bytes[start]), bytes.length - start);
      if (best[start] < -DEEP) for (let end = frontier; end >= start; end -= 1) best[end] -= best[start];
      let node = 0, single = false;
      for (let end = start; end < bytes.length; ) {
        node = this.trie.get(256 * node + bytes[end]);
        if (node === undefined) break;
        end += 1;
        const id = this.ends.get(node);
        if (id === undefined) continue;
        offer(start, end, id, this.scores[id]);
        single ||= end - start === width;
      }
      if (!single) offer(start, start + width, -1, this.unknown);
    }
    const ids = [];
    for (let end = bytes.length; end > 0; end = from[end]) {
      if (chosen[end] >= 0) ids.push(chosen[end]);
      else for (let n = end - 1; n >= from[end]; n -= 1) ids.push(this.single.get(bytes[n]));
    }
    return ids.reverse();
  }

  decoder() {
    return new StreamDecoder(this.bytes);
  }

  /** What a piece looks like on its own; a byte that is no character becomes U+FFFD. */
  piece(id) {
    return new TextDecoder("utf-8", { ignoreBOM: true }).decode(this.bytes[id]);
  }
}

/** Turns ids into text one at a time; holds back bytes until they make a character. */
class StreamDecoder {
  constructor(bytes) {
    this.bytes = bytes;
    this.utf8 = new TextDecoder("utf-8", { ignoreBOM: true });
    this.atLineStart = true;
  }

  /** The text that an id completes, often empty for a byte of a longer character. */
  push(id) {
    const bytes = this.bytes[id];
    if (!bytes.length) return "";
    const drop = this.atLineStart && bytes[0] === 0x20;
    this.atLineStart = bytes.at(-1) === 0x0a;
    return this.utf8.decode(drop ? bytes.subarray(1) : bytes, { stream: true });
  }

  /** What is left at the end: U+FFFD for a character that never came whole. */
  flush() {
    return this.utf8.decode();
  }
}

function bytesOf(piece, kind) {
  if (kind === "byte") return Uint8Array.of(Number.parseInt(piece.slice(3, 5), 16));
  return utf8.encode(kind ? piece.replaceAll(MARK, " ") : "");
}

const characterWidth = (byte) => (byte < 0x80 ? 1 : byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4);
