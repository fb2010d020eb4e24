// Gradio's queue, read directly: every frame arrives, in order, and each way a stream can end has a name.

/** The server said no, and why. */
export class Refusal extends Error {}

/** The server went away in the middle. */
export class Lost extends Error {}

const MUCH = 200_000; // characters
const TRIES = 3;

const api = (path) => new URL(`gradio_api/${path}`, document.baseURI);

/** One call of an endpoint. Iterate over it for {accepted}, {queued: {place, seconds}} and {frame}; stop() ends it on the server. */
export class Stream {
  constructor(endpoint, data) {
    this.fn_index = window.gradio_config.dependencies.find((dependency) => dependency.api_name === endpoint).id;
    this.session_hash = crypto.getRandomValues(new Uint32Array(3)).join("");
    this.data = data;
    this.stopped = false;
  }

  async stop() {
    this.stopped = true;
    if (!this.event_id) return;
    const { session_hash, fn_index, event_id } = this;
    await post("cancel", { session_hash, fn_index, event_id });
  }

  /** Ask, and listen. Where a cluster has just got another process, the two may meet at different ones: nothing was written then. */
  async *#heard() {
    const { session_hash, fn_index, data } = this;
    for (let tries = TRIES; ; tries--) {
      const joined = await post("queue/join", { session_hash, fn_index, data, simple_format: true });
      if (!joined.ok) throw new Refusal(await reason(joined));
      this.event_id = (await joined.json()).event_id;
      yield { accepted: true };
      if (this.stopped) await this.stop();
      const response = await reach(api(`queue/data?session_hash=${session_hash}`), { headers: own(session_hash) });
      if (response.ok) return response;
      if (response.status !== 404 || tries === 1 || this.stopped) throw new Lost();
    }
  }

  async *[Symbol.asyncIterator]() {
    const response = yield* this.#heard();
    let generated = false;
    for await (const message of messages(response)) {
      if (message.msg === "estimation") yield { queued: { place: message.rank + 1, seconds: message.rank_eta } };
      if (message.msg === "unexpected_error") throw new Lost();
      if (message.msg === "process_generating" && message.success) {
        yield { frame: await parsed(message.output.data[0]) };
        generated = true;
      }
      if (message.msg === "process_completed") {
        if (!message.success && !this.stopped) throw new Refusal(message.output.error ?? "The server could not go on: try again.");
        if (!generated && message.output.data) yield { frame: await parsed(message.output.data[0]) }; // it told all at once
        return;
      }
    }
    throw new Lost();
  }
}

/** By this a cluster finds the process that was asked first. */
const own = (session_hash) => ({ "x-session-id": session_hash });

const post = (path, body) =>
  reach(api(path), {
    method: "POST",
    headers: { "Content-Type": "application/json", ...own(body.session_hash) },
    body: JSON.stringify(body),
  });

async function reach(url, options) {
  try {
    return await fetch(url, options);
  } catch {
    throw new Lost();
  }
}

async function* messages(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      if (!value.includes("\n")) {
        rest += value; // the middle of a long message
        continue;
      }
      const parts = (rest + value).split("\n\n");
      rest = parts.pop();
      for (const part of parts) if (part.startsWith("data: ")) yield parsed(part.slice(6));
    }
  } catch (error) {
    throw error instanceof TypeError ? new Lost() : error;
  } finally {
    reader.cancel().catch(() => {});
  }
}

/** JSON, after a breath where there is much of it, so that the page stays quick to the hand. */
async function parsed(text) {
  if (text.length > MUCH) await new Promise((resolve) => setTimeout(resolve));
  return JSON.parse(text);
}

/** Why a call was not accepted, as one sentence. */
async function reason(response) {
  const { detail } = await response.json().catch(() => ({}));
  if (typeof detail === "string") return detail;
  const problems = Array.isArray(detail) ? detail.filter((verdict) => !verdict.is_valid) : [];
  return problems.map((verdict) => verdict.message).join(" ") || `The server answered ${response.status}: try again.`;
}

/** One question with one answer. */
export async function ask(endpoint, data) {
  let answer;
  for await (const { frame } of new Stream(endpoint, data)) answer = frame ?? answer;
  return answer;
}
