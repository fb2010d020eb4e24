// The line of figures under a story, and how they are said.

/** run: what is known of the last one; all: the tokens on the page. */
export function figures(part, run, all, seed) {
  const known = all.filter((token) => token.bits !== null);
  const bits = known.reduce((sum, token) => sum + token.bits, 0) / Math.max(1, known.length);
  const say = (name, text) => (part(name).textContent = text);
  say("tokens", count(all.length));
  say("rate", run.seconds ? `${Math.round(run.count / run.seconds).toLocaleString("en")} tokens/s` : "");
  say("first", run.first ? `first in ${Math.round(run.first)} ms` : "");
  say("perplexity", known.length ? `perplexity ${(2 ** bits).toPrecision(3)}` : "");
  say("seed", seed === undefined ? "" : `seed ${seed}`);
}

/** How many others write just now. */
export async function readers(part) {
  const { running } = await (await fetch(new URL("jungle/status", document.baseURI))).json();
  part("readers").textContent = running ? `${running} ${running === 1 ? "other writes" : "others write"} now` : "";
}

export const count = (tokens) => `${tokens.toLocaleString("en")} ${tokens === 1 ? "token" : "tokens"}`;

/** A place in the queue, as a sentence. */
export const place = ({ place, seconds }) =>
  `Waiting for a place: ${place === 1 ? "you are next" : `number ${place} in line`}${seconds ? `, about ${Math.ceil(seconds)} s` : ""}.`;
