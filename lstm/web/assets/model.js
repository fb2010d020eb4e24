// What the model is: its scores beside those of others, how it learnt, what it read.

import { choose } from "./choice.js";
import { ask } from "./client.js";

const BENCHMARK = 13_924; // bytes of the text that the others were scored on
const WIDTH = 640, HEIGHT = 260, LEFT = 44, BOTTOM = 30, TOP = 10, RIGHT = 120;

export function mount(element) {
  const part = (name) => element.querySelector(`[data-part="${name}"]`);
  const open = async (name) => {
    part("trouble").textContent = "";
    try {
      return draw(part, await ask("model", [name]), (other) => open(other).then((facts) => facts && choose(facts)));
    } catch (error) {
      part("trouble").textContent = error.message || "The connection broke: try again in a moment.";
    }
  };
  part("api").onclick = () => document.querySelector("footer .show-api").click(); // Gradio's own page, behind a line it does not show
  return open("");
}

/** Everything about one model. pick(name): what a click on another one's name does. */
function draw(part, model, pick) {
  const { shape, metrics } = model;
  part("models").replaceChildren(...(model.models.length > 1 ? model.models.map((name) => button(name, name === model.name, pick)) : []));
  part("name").textContent = model.name;
  part("lead").textContent =
    `A subword LSTM: ${number(model.parameters)} parameters, ${number(shape.vocab_size)} pieces, embedding ` +
    `${number(shape.embedding_size)}, ${shape.layers} × ${number(shape.hidden_size)} hidden units. What it remembers of a text ` +
    `are ${number(2 * shape.layers * shape.hidden_size)} numbers, however long the text is.`;
  fill(part("scores"), Object.entries(metrics.scores ?? {}).map(([name, s]) => [name, s.bits_per_byte.toFixed(3), s.perplexity.toFixed(1), number(s.bytes)]));
  fill(part("corpus"), (metrics.corpus ?? []).map(({ name, bytes, sha256 }) => [name, number(bytes), String(sha256 ?? "").slice(0, 16)]));
  facts(part("facts"), model);
  curve(part("curve"), metrics.history ?? []);
  const ours = { test: "this model", "test, adapting": "this model, adapting while it reads" };
  const known = Object.entries(ours).filter(([score]) => metrics.scores?.[score]?.bytes === BENCHMARK);
  part("peers").hidden = !known.length;
  if (known.length) peers(part("peers"), known.map(([score, name]) => ({ name, bits: metrics.scores[score].bits_per_byte })));
  return model;
}

function button(name, current, pick) {
  const node = element("button", name);
  node.type = "button";
  node.setAttribute("aria-pressed", current);
  node.addEventListener("click", () => pick(name));
  return node;
}

function fill(table, rows) {
  table.querySelector("tbody").replaceChildren(...rows.map((row) => element("tr", "", ...row.map((value) => element("td", value)))));
}

const effort = ({ steps, tokens, seconds }) => `${number(steps)} steps, ${number(tokens)} tokens, ${number(Math.round(seconds))} seconds`;

function facts(list, { digest, metrics, ancestors }) {
  const known = {
    Command: metrics.command,
    Hardware: metrics.hardware && `${metrics.hardware}, products in ${metrics.precision}`,
    Training: metrics.steps && effort(metrics),
    "Began from": ancestors.map((one) => `${one.name}: ${number(one.texts)} texts of ${number(one.bytes)} bytes, ${effort(one)}`).join("; which began from "),
    Checkpoint: `SHA-256 ${digest.slice(0, 16)}…`,
  };
  list.replaceChildren();
  for (const [name, value] of Object.entries(known)) if (value) list.append(element("dt", name), element("dd", value));
}

async function peers(figure, ours) {
  const others = await (await fetch(new URL("jungle/peers.json", document.baseURI))).json();
  const list = figure.querySelector("ol");
  list.replaceChildren();
  const all = [...others, ...ours].sort((a, b) => a.bits - b.bits);
  for (const each of all) {
    const bar = element("i", "");
    bar.style.width = `${(100 * each.bits) / all.at(-1).bits}%`;
    const row = element("li", "", bar, element("span", each.name), element("b", each.bits.toFixed(3)));
    row.classList.toggle("ours", ours.includes(each));
    list.append(row);
  }
  figure.hidden = false;
}

/** Bits per byte over seconds of training: the training text and the validation text, on one scale. */
function curve(figure, history) {
  const lines = { validation: "valid_bits_per_byte", training: "train_bits_per_byte" };
  const points = history.filter((point) => Number.isFinite(point.valid_bits_per_byte));
  figure.hidden = points.length < 2;
  if (figure.hidden) return;
  const values = points.flatMap((point) => Object.values(lines).map((key) => point[key])).filter(Number.isFinite);
  const [low, high] = [Math.floor(Math.min(...values) * 10) / 10, Math.ceil(Math.max(...values) * 10) / 10];
  const last = points.at(-1).seconds;
  const x = (seconds) => LEFT + ((WIDTH - LEFT - RIGHT) * seconds) / last;
  const y = (bits) => TOP + ((HEIGHT - TOP - BOTTOM) * (high - bits)) / (high - low);
  const svg = figure.querySelector("svg");
  svg.replaceChildren();
  for (let k = 0; k <= 4; k += 1) {
    const bits = low + ((high - low) * k) / 4;
    svg.append(shape("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: y(bits), y2: y(bits), class: "grid" }), label(bits.toFixed(2), 0, y(bits) + 4));
    svg.append(label(`${Math.round((last * k) / 4)} s`, x((last * k) / 4) - 8, HEIGHT - 8));
  }
  for (const [name, key] of Object.entries(lines)) {
    const known = points.filter((point) => Number.isFinite(point[key]));
    svg.append(shape("polyline", { points: known.map((p) => `${x(p.seconds)},${y(p[key])}`).join(" "), class: name }));
    svg.append(label(`${name} ${known.at(-1)[key].toFixed(2)}`, WIDTH - RIGHT + 8, y(known.at(-1)[key]) + 4));
  }
  figure.querySelector("figcaption").textContent = "Bits per byte over seconds of training.";
}

function shape(kind, attributes) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", kind);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

function label(text, x, y) {
  const node = shape("text", { x, y });
  node.textContent = text;
  return node;
}

function element(kind, text, ...children) {
  const node = document.createElement(kind);
  node.textContent = text;
  node.append(...children);
  return node;
}

const number = (value) => Number(value).toLocaleString("en");
