// Everything that is asked of the model is checked here, with the limits and the sentences of lstm/web/guard.py.

/** Something that a person can mend. Its text is one sentence. */
export class Refused extends Error {}

const LONGEST_PROMPT = 20_000; // characters
const LONGEST_READ = 4096; // tokens that are read at once
const LONGEST_TEXT = 2000; // tokens
const RANGES = {
  temperature: ["Temperature", 0, 2],
  top_k: ["Top-k", 0, 200, "whole"],
  length: ["Length", 1, LONGEST_TEXT, "whole"],
  seed: ["The seed", 0, 2 ** 31 - 1, "whole"],
  top_p: ["Top-p", 0, 1],
  min_p: ["Min-p", 0, 1],
  repetition_penalty: ["The repetition penalty", 1, 2],
};

const say = (number) => number.toLocaleString("en");

/** A prompt as it is. Throws Refused for one that is too long or no text. */
export function prompt(value) {
  const { length } = [...value];
  if (length > LONGEST_PROMPT) throw new Refused(`The prompt has ${say(length)} characters: shorten it to ${say(LONGEST_PROMPT)}.`);
  const half = [...value].findIndex((character) => !character.isWellFormed());
  if (half >= 0) throw new Refused(`The prompt has half a character at position ${half}: leave it out.`);
  return value;
}

/** Settings as the sampling takes them. Throws Refused for the first that is out of its range. */
export function settings({ stop, ...numbers }) {
  for (const [name, [label, low, high, whole]] of Object.entries(RANGES)) {
    const value = numbers[name];
    if (Number.isFinite(value) && value >= low && value <= high && !(whole && value % 1)) continue;
    throw new Refused(`${label} must be ${whole ? "a whole number" : "a number"} from ${say(low)} to ${say(high)}, not ${value}.`);
  }
  const strings = stop.split("\n").filter(Boolean).map((line) => line.replaceAll("\\n", "\n"));
  if (strings.length > 8) throw new Refused("Give at most 8 stops, one a line.");
  if (strings.some((string) => [...string].length > 100)) throw new Refused("Each stop may have 100 characters.");
  return { ...numbers, stop: strings };
}

/** The ids of a text so far. Throws Refused if one is none of the model's V. */
export function ids(after, V) {
  if (after.length > 2 * LONGEST_TEXT) throw new Refused(`The text so far must be a list of at most ${say(2 * LONGEST_TEXT)} tokens: begin a new one.`);
  if (after.every((id) => Number.isInteger(id) && id >= 0 && id < V)) return after;
  throw new Refused("the text so far was written by another model: begin a new one");
}

/** Ids that are to be read. Throws Refused for too many. */
export function read(ids) {
  if (ids.length > LONGEST_READ) throw new Refused(`the prompt has ${say(ids.length)} tokens: shorten it to ${say(LONGEST_READ)}`);
  return ids;
}
