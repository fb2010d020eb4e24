// Stands in for the page's client where there is no server: the same calls, answered by a model in a worker.

/** The model said no, and why. */
export class Refusal extends Error {}

/** Never thrown here: what is in the browser does not go away. */
export class Lost extends Error {}

const worker = new Worker(new URL("../engine/worker.js", import.meta.url), { type: "module" });
const calls = new Map(); // number -> what takes its messages
let count = 0;
let failure = "";

worker.addEventListener("message", ({ data }) => (data.call === undefined ? tell(data) : calls.get(data.call)?.(data)));
worker.addEventListener("error", ({ message }) => tell({ failed: message || "its script cannot be loaded" }));

/** How far the model is: {loaded: share}, {ready} or {failed: why}. */
function tell(progress) {
  if (progress.failed) {
    failure = `The model cannot be opened (${progress.failed}): reload the page, or use a newer browser.`;
    for (const take of calls.values()) take({ refused: failure });
  }
  window.dispatchEvent(new CustomEvent("jungle:loading", { detail: { ...progress, failed: failure } }));
}

/** One call of an endpoint. Iterate over it for {accepted} and {frame}; stop() ends it in the worker. */
export class Stream {
  constructor(endpoint, data) {
    this.message = { call: (count += 1), endpoint, data };
    this.stopped = false;
  }

  async stop() {
    this.stopped = true;
    worker.postMessage({ stop: this.message.call });
  }

  async *[Symbol.asyncIterator]() {
    if (failure) throw new Refusal(failure);
    const { call } = this.message;
    const messages = [];
    let wake = () => {};
    calls.set(call, (message) => {
      messages.push(message);
      wake();
    });
    worker.postMessage(this.message);
    try {
      let accepted = false;
      for (;;) {
        while (!messages.length) await new Promise((resolve) => (wake = resolve));
        const { frame, done, refused } = messages.shift();
        if (refused) throw new Refusal(refused);
        if (!accepted) yield { accepted: true };
        accepted = true;
        if (done) return;
        yield { frame };
      }
    } finally {
      calls.delete(call);
    }
  }
}

/** One question with one answer. */
export async function ask(endpoint, data) {
  let answer;
  for await (const { frame } of new Stream(endpoint, data)) answer = frame ?? answer;
  return answer;
}
