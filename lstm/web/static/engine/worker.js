// The model in a thread of its own, so that the page stays quick to the hand. It loads once, tells how far it is, and answers
// {call, endpoint, data} with any number of {call, frame}, then {call, done} or {call, refused}; {stop: call} ends one early.

import { Engine } from "./engine.js";
import { Refused } from "./guard.js";
import { Runtime } from "./runtime.js";
import { Tokenizer } from "./tokenizer.js";

const TURN = 50; // milliseconds of work before the worker looks whether it was told to stop
const FILES = ["engine/ort-wasm-simd-threaded.wasm", "model/model.onnx", "model/pieces.json"];
const stopped = new Set();
const engine = open();

engine.then(() => postMessage({ ready: true })).catch((error) => postMessage({ failed: error.message }));

addEventListener("message", ({ data }) => (data.stop === undefined ? answer(data) : stopped.add(data.stop)));

async function answer({ call, endpoint, data }) {
  try {
    const answers = (await engine)[endpoint](...data);
    let turn = performance.now();
    for await (const frame of answers) {
      if (frame) postMessage({ call, frame });
      if (frame || performance.now() > turn + TURN) {
        await breath();
        turn = performance.now();
      }
      if (stopped.delete(call)) break;
    }
    postMessage({ call, done: true });
  } catch (error) {
    postMessage({ call, refused: error instanceof Refused ? error.message : `The model could not go on (${error.message}): reload the page.` });
  }
}

/** Let other messages in; a timer would wait longer. */
function breath() {
  const { port1, port2 } = new MessageChannel();
  return new Promise((resolve) => {
    port1.onmessage = resolve;
    port2.postMessage(null);
  });
}

async function open() {
  const about = await (await fetch(new URL("../model/about.json", import.meta.url))).json();
  const total = Object.values(about.bytes).reduce((sum, bytes) => sum + bytes, 0);
  let loaded = 0;
  const load = (path) => fetchAll(path, about.version, (bytes) => postMessage({ loaded: (loaded += bytes) / total }));
  const [wasm, graph, pieces] = await Promise.all(FILES.map(load));
  const runtime = await Runtime.open(graph, wasm, about.facts.shape);
  return new Engine(runtime, new Tokenizer(JSON.parse(new TextDecoder().decode(pieces))), about.facts);
}

/** The bytes of a file of the page, kept where offline.js looks for them. */
async function fetchAll(path, version, tell) {
  const url = new URL(`../${path}`, import.meta.url);
  const shelf = await self.caches?.open(new URL("../", import.meta.url).href + version).catch(() => null); // none without https
  let response = await shelf?.match(url);
  if (!response) {
    response = await fetch(url, { cache: "no-cache" });
    if (!response.ok) throw new Error(`${path} cannot be loaded (${response.status}): try again in a minute`);
    await shelf?.put(url, response.clone()).catch(() => {});
  }
  const parts = [];
  for (const reader = response.body.getReader(); ; ) {
    const { value, done } = await reader.read();
    if (done) break;
    parts.push(value);
    tell(value.length);
  }
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}
