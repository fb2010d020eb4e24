// What the cells did while a text was read, boiled down to what the page can show; lstm/web/memory.py says what the answer
// holds. T tokens, L layers, H hidden units. Units that are drawn may stand in another order than on the server.

const DRAWN = 64; // units of a layer, at most
const CHANGED = 3; // units that are told of each token
const STRONGEST = 4; // units whose drivers are told
const DRIVERS = 4; // tokens that are told for each way
const MAPS = ["input", "forget", "output", "cell", "hidden"];
const ROUNDS = 200; // of the power iteration

/** steps: for each token {state, gates} as the runtime gives them. */
export function pictures(steps, { layers: L, hidden_size: H }) {
  const trace = unrolled(steps, L, H);
  const units = Array.from({ length: L }, (_, layer) => ordered(trace.cell.map((row) => row.subarray(layer * H, (layer + 1) * H))));
  const scale = Object.fromEntries(["cell", "hidden"].map((name) => [name, largest(trace[name]) || 1]));
  const share = (name, value) => (scale[name] ? (value / scale[name] + 1) / 2 : value);
  const map = (name, layer) => encode(units[layer].flatMap((unit) => trace[name].map((row) => Math.round(255 * share(name, row[layer * H + unit])))));
  return {
    units,
    maps: Object.fromEntries(MAPS.map((name) => [name, units.map((_, layer) => map(name, layer))])),
    scale: Object.fromEntries(Object.entries(scale).map(([name, value]) => [name, round(value, 3)])),
    means: steps.map((_, t) => ["input", "forget", "output"].map((gate) => round(mean(trace[gate][t]), 3))),
    half: halfLives(trace.forget, H),
    changed: changed(trace, H),
    strongest: strongest(trace.change, H),
  };
}

/** Each quantity as T rows of L × H numbers, with the cells before each token and how they changed. */
function unrolled(steps, L, H) {
  const rows = (value) => steps.map((step) => flat(Array.from({ length: L }, (_, layer) => value(step, layer)), H));
  const trace = { hidden: rows(({ state }, layer) => state[2 * layer]), cell: rows(({ state }, layer) => state[2 * layer + 1]) };
  for (const gate of ["input", "forget", "candidate", "output"]) trace[gate] = rows(({ gates }, layer) => gates[`${gate}.${layer}`]);
  const [input, forget, candidate] = [trace.input[0], trace.forget[0], trace.candidate[0]];
  const first = trace.cell[0].map((cell, unit) => (cell - input[unit] * candidate[unit]) / Math.max(forget[unit], 1e-6)); // c = f c′ + i g
  trace.before = [first, ...trace.cell.slice(0, -1)];
  trace.change = trace.cell.map((row, t) => row.map((cell, unit) => cell - trace.before[t][unit]));
  return trace;
}

function flat(parts, H) {
  const row = new Float32Array(parts.length * H);
  for (const [n, part] of parts.entries()) row.set(part, n * H);
  return row;
}

/** The units that move most, in the order of the angle of their two main movements. cell: T rows of H. */
function ordered(cell) {
  const columns = Array.from(cell[0].keys(), (unit) => centred(cell.map((row) => row[unit])));
  const kept = first(columns.map(({ variance }) => variance), DRAWN).sort((a, b) => a - b);
  if (cell.length < 3) return kept;
  const moves = kept.map((unit) => columns[unit].values.map((value) => value / Math.max(Math.sqrt(columns[unit].variance), 1e-6)));
  const alike = moves.map((a) => moves.map((b) => dot(a, b)));
  const main = principal(alike);
  const second = principal(alike.map((row, n) => row.map((value, k) => value - main.value * main.vector[n] * main.vector[k])));
  const angle = kept.map((_, n) => Math.atan2(second.vector[n], main.vector[n]));
  return first(angle.map((value) => -value), kept.length).map((n) => kept[n]);
}

/** The largest eigenvalue of a symmetric matrix and its vector, by power iteration. */
function principal(matrix) {
  let vector = matrix.map((_, n) => Math.cos(n + 1));
  let value = 0;
  for (let round = 0; round < ROUNDS; round += 1) {
    const next = matrix.map((row) => dot(row, vector));
    value = Math.sqrt(dot(next, next)) || 1;
    vector = next.map((part) => part / value);
  }
  return { value, vector };
}

/** For each token: in how many tokens half of what its median and its slowest unit held is forgotten, and which that is. */
function halfLives(forget, H) {
  const T = forget.length;
  const lives = forget.map((row) => new Int32Array(row.length));
  for (let unit = 0; unit < forget[0].length; unit += 1) {
    let sum = 0;
    const lost = forget.map((row) => (sum -= Math.log(Math.max(row[unit], 1e-9)))); // nats forgotten up to a token
    for (let t = 0, gone = 0; t < T; t += 1) {
      while (gone < T && lost[gone] < lost[t] + Math.LN2) gone += 1;
      lives[t][unit] = gone - t;
    }
  }
  return lives.map((row, t) => {
    const slowest = row.indexOf(row.reduce((most, life) => Math.max(most, life)));
    const longest = row[slowest];
    const sorted = row.slice().sort();
    const median = Math.floor((sorted[(row.length - 1) >> 1] + sorted[row.length >> 1]) / 2);
    return [...[median, longest].map((life) => (life >= T - t ? -life : life)), Math.floor(slowest / H), slowest % H];
  });
}

function changed({ change, input, forget, candidate, output, before, cell, hidden }, H) {
  const parts = [input, forget, candidate, output, before, cell, hidden];
  const row = (t, unit) => [Math.floor(unit / H), unit % H, ...parts.map((part) => round(part[t][unit], 4))];
  return change.map((values, t) => first(values.map(Math.abs), CHANGED).map((unit) => row(t, unit)));
}

function strongest(change, H) {
  const columns = Array.from(change[0].keys(), (unit) => change.map((row) => row[unit]));
  return first(columns.map((column) => centred(column).variance), STRONGEST).map((unit) => {
    const column = columns[unit];
    const up = first(column, DRIVERS).filter((t) => column[t] > 0);
    const down = first(column.map((value) => -value), DRIVERS).filter((t) => column[t] < 0);
    return [Math.floor(unit / H), unit % H, up, down];
  });
}

/** Places of the largest values, the largest first. */
const first = (values, count) => Array.from(values.keys()).sort((a, b) => values[b] - values[a] || a - b).slice(0, count);

function centred(column) {
  const middle = mean(column);
  const values = column.map((value) => value - middle);
  return { values, variance: dot(values, values) / values.length };
}

const dot = (a, b) => a.reduce((sum, value, n) => sum + value * b[n], 0);
const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
const largest = (rows) => rows.reduce((most, row) => row.reduce((top, value) => Math.max(top, Math.abs(value)), most), 0);
const round = (value, digits) => Number(value.toFixed(digits));
const encode = (bytes) => btoa(bytes.reduce((text, byte) => text + String.fromCharCode(Math.min(255, Math.max(0, byte))), ""));
