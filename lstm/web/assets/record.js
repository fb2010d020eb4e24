// A text as a file or a link, and back: what comes from outside is checked before it is believed.

const FORMAT = "jungle-lstm text 1";
const LONGEST = 4000; // tokens of a file
const NUMBERS = ["temperature", "top_k", "length", "seed", "top_p", "min_p", "repetition_penalty"];

/** Everything about a text, as JSON. */
export function toFile(tree, digest) {
  const { settings } = tree.current;
  const tokens = tree.path();
  const text = tree.prompt + tokens.map((token) => token.text).join("");
  return JSON.stringify({ format: FORMAT, checkpoint: digest, settings: { ...settings, prompt: tree.prompt }, text, tokens }, null, 1);
}

/** What such a file holds: {settings, tokens, checkpoint}. Throws an Error that says what is wrong with it. */
export function fromFile(source) {
  let file;
  try {
    file = JSON.parse(source);
  } catch {
    throw new Error("This file is no JSON: open one that was saved here.");
  }
  if (file?.format !== FORMAT) throw new Error("This file holds no text of this page: open one that was saved here.");
  if (!Array.isArray(file.tokens) || !file.tokens.length || file.tokens.length > LONGEST || !file.tokens.every(isToken))
    throw new Error("The tokens of this file cannot be read: open one that was saved here.");
  const tokens = file.tokens.map(({ id, text, bits, entropy, rank, alternatives, given }) => ({ id, text, bits, entropy, rank, alternatives, given: given === true }));
  return { settings: settingsOf(file.settings), tokens, checkpoint: String(file.checkpoint) };
}

/** The part of an address that writes this text again for whoever opens it. */
export function toLink(tree) {
  const first = tree.beginning();
  const after = [...tree.path(first.parent).slice(0, first.at), ...(first.given ? [first.given] : [])].map((token) => token.id);
  const settings = { ...first.settings, prompt: tree.prompt, length: Math.max(1, tree.path().length - after.length) };
  return `#${encodeURIComponent(JSON.stringify(after.length ? { ...settings, after } : settings))}`;
}

/** What a link asks for: {settings, after}; null for none. Throws an Error for one that cannot be read. */
export function fromLink(hash) {
  if (hash.length < 2) return null;
  try {
    const asked = JSON.parse(decodeURIComponent(hash.slice(1)));
    const after = asked.after ?? [];
    if (!Array.isArray(after) || after.length > LONGEST || !after.every(Number.isInteger)) throw new Error();
    return { settings: settingsOf(asked), after };
  } catch {
    throw new Error("This link is not whole: ask for it again.");
  }
}

function settingsOf(values) {
  const known = { prompt: values?.prompt, stop: values?.stop ?? "" };
  if (typeof known.prompt !== "string" || typeof known.stop !== "string") throw new Error("The settings of this file cannot be read.");
  for (const name of NUMBERS) {
    if (!Number.isFinite(values[name])) throw new Error(`The settings of this file lack ${name}.`);
    known[name] = values[name];
  }
  return known;
}

function isToken(token) {
  const numbers = [token?.id, token?.bits, token?.entropy, token?.rank]; // a token opened from a link has no more than an id
  return (
    numbers.every((value) => Number.isFinite(value) && value >= 0) && typeof token.text === "string" && token.text.length <= 1000 &&
    Array.isArray(token.alternatives) && token.alternatives.length <= 20 && token.alternatives.every(Number.isFinite)
  );
}

/** Offer a file to the reader's disk. */
export function download(name, kind, content) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([content], { type: kind }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
