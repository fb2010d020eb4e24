// Logits to an id, by the rules of lstm/sampling.py: temperature, top-k, top-p, min-p, repetition penalty, and draws that
// depend on the seed and the position alone. Numbers are doubles where NumPy's are floats: figures may differ in the last digit.

const ALTERNATIVES = 10;
const MEMORY = 64; // tokens that the repetition penalty looks back on
const BLOCK = 256; // uniform draws that are made at a time
const NARROW = 256; // above this all pieces are sorted

/** A text's own draws, NumPy's Philox4x64-10 bit for bit. Source: Salmon et al. 2011. */
export class Uniform {
  constructor(seed) {
    this.seed = BigInt(seed);
    this.block = -1;
  }

  /** A number in [0, 1) for a position. */
  at(position) {
    const block = Math.floor(position / BLOCK);
    if (block !== this.block) {
      this.block = block;
      this.draws = [];
      for (let counter = 1n; this.draws.length < BLOCK; counter += 1n) {
        for (const word of philox(counter, this.seed, BigInt(block))) this.draws.push(Number(word >> 11n) / 2 ** 53);
      }
    }
    return this.draws[position % BLOCK];
  }
}

const WORD = (1n << 64n) - 1n;

/** Four words of 64 bits from a counter and a key of two words. */
function philox(counter, key0, key1) {
  let [a, b, c, d] = [counter, 0n, 0n, 0n];
  for (let round = 0; round < 10; round += 1) {
    const left = 0xd2e7470ee14c6c93n * a;
    const right = 0xca5a826395121157n * c;
    [a, b, c, d] = [(right >> 64n) ^ b ^ key0, right & WORD, (left >> 64n) ^ d ^ key1, left & WORD];
    key0 = (key0 + 0x9e3779b97f4a7c15n) & WORD;
    key1 = (key1 + 0xbb67ae8584caa73bn) & WORD;
  }
  return [a, b, c, d];
}

/**
 * Draw one id, and say what the model itself thought of it: {id, bits, entropy (bits), rank, alternatives: [id, p, …]}.
 * logits: Float32Array (V); uniform in [0, 1); recent: ids that were read, the last ones last.
 */
export function choose(logits, settings, uniform, recent) {
  const V = logits.length;
  const kept = settings.temperature === 0 ? 1 : Math.min(settings.top_k || V, V);
  const width = kept > NARROW ? V : Math.max(ALTERNATIVES, kept);
  const centred = below(logits);
  const likeliest = ranked(centred, ALTERNATIVES);
  const weighed = settings.repetition_penalty === 1 ? centred : below(penalised(logits, settings.repetition_penalty, recent));
  const everything = kept === V && settings.top_p === 1 && V > NARROW;
  const order = everything ? Array.from(weighed.keys()) : ranked(weighed, width);
  const id = draw(weighed, order, kept, settings, uniform);

  let total = 0, sum = 0, rank = 0;
  for (const value of centred) {
    const weight = Math.exp(value);
    total += weight;
    sum += weight * value;
    if (value > centred[id]) rank += 1;
  }
  return {
    id,
    bits: (Math.log(total) - centred[id]) / Math.LN2,
    entropy: (Math.log(total) - sum / total) / Math.LN2,
    rank,
    alternatives: likeliest.flatMap((other) => [other, Math.exp(centred[other]) / total]),
  };
}

/** How far each value lies below the largest. */
export function below(values) {
  let largest = -Infinity;
  for (const value of values) if (value > largest) largest = value;
  return values.map((value) => value - largest);
}

/** The likeliest ids, likeliest first, of equals the smaller id first. */
function ranked(values, count) {
  if (count > NARROW) return Array.from(values.keys()).sort((a, b) => values[b] - values[a] || a - b);
  const ids = [];
  for (let id = 0; id < values.length; id += 1) {
    if (ids.length === count && !(values[id] > values[ids[count - 1]])) continue;
    let place = ids.length < count ? ids.length : count - 1;
    for (; place > 0 && values[id] > values[ids[place - 1]]; place -= 1) ids[place] = ids[place - 1];
    ids[place] = id;
  }
  return ids;
}

/** Temperature comes first, then top-k (Fan et al. 2018), top-p (Holtzman et al. 2020) and min-p (Nguyen et al. 2024). */
function draw(values, order, kept, { temperature, top_p, min_p }, uniform) {
  let weights = order.map((id, k) => (k < kept ? Math.exp(values[id] / (temperature || 1)) : 0));
  let mass = cumulated(weights);
  if (top_p < 1 || min_p > 0) {
    const most = top_p * mass.at(-1);
    weights = weights.map((weight, k) => (mass[k] - weight <= most && weight >= min_p ? weight : 0));
    mass = cumulated(weights);
  }
  const goal = uniform * mass.at(-1);
  const index = mass.findIndex((sum) => sum > goal);
  return order[index < 0 ? order.length - 1 : index];
}

function cumulated(weights) {
  let sum = 0;
  return weights.map((weight) => (sum += weight));
}

/** What was read last is less likely: positive logits divided by the penalty, negative ones multiplied (Keskar et al. 2019). */
function penalised(logits, penalty, recent) {
  const changed = logits.slice();
  for (const id of new Set(recent.slice(-MEMORY))) changed[id] = logits[id] > 0 ? logits[id] / penalty : logits[id] * penalty;
  return changed;
}
