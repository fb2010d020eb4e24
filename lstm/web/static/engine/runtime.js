// One step of the model under ONNX Runtime's WebAssembly, on one thread. A state is a value: no step changes it.

import * as ort from "./ort.wasm.bundle.min.mjs";

const GATES = ["input", "forget", "candidate", "output"];

export class Runtime {
  /** graph, wasm: bytes; shape: the model's config.json. */
  static async open(graph, wasm, shape) {
    Object.assign(ort.env.wasm, { numThreads: 1, wasmBinary: wasm });
    ort.env.logLevel = "error";
    return new Runtime(await ort.InferenceSession.create(graph, { executionProviders: ["wasm"] }), shape);
  }

  constructor(session, shape) {
    this.session = session;
    this.shape = shape;
    const layers = Array.from({ length: shape.layers }, (_, n) => n);
    this.parts = layers.flatMap((n) => [`hidden.${n}`, `cell.${n}`]);
    this.outputs = ["logits", ...this.parts.map((name) => `next_${name}`)];
    this.gates = layers.flatMap((n) => GATES.map((gate) => `${gate}.${n}`));
    this.turn = Promise.resolve();
  }

  /** The state before anything was read. */
  initial() {
    return this.parts.map(() => new Float32Array(this.shape.hidden_size));
  }

  /** Read one id: {logits (V), state, gates by name if watched}. Steps that are asked for together come one after the other. */
  step(id, state, watched = false) {
    const step = this.turn.then(() => this.run(id, state, watched));
    this.turn = step.catch(() => {});
    return step;
  }

  async run(id, state, watched) {
    const feeds = { ids: new ort.Tensor("int64", BigInt64Array.of(BigInt(id)), [1]) };
    for (const [n, name] of this.parts.entries()) feeds[name] = new ort.Tensor("float32", state[n], [1, state[n].length]);
    const out = await this.session.run(feeds, watched ? [...this.outputs, ...this.gates] : this.outputs);
    const gates = watched ? Object.fromEntries(this.gates.map((name) => [name, out[name].data])) : null;
    return { logits: out.logits.data, state: this.parts.map((name) => out[`next_${name}`].data), gates };
  }
}
