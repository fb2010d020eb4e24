// One unit's numbers as they run through the equations c = f·c′ + i·g and h = o·tanh c, drawn as a cell.

const SVG = "http://www.w3.org/2000/svg";
const LINE = 36; // where the cell state runs
const GATE = 70; // where the new meets its gate
const FEET = 96; // where the gates are named

/** A drawing of the first unit, with a button for each of the others. units: [layer, unit, i, f, g, o, c′, c, h]. */
export function cells(units) {
  const figure = document.createElement("figure");
  const choices = document.createElement("div");
  figure.className = "cell";
  choices.className = "units";
  const show = (chosen) => {
    figure.replaceChildren(choices, draw(units[chosen]));
    [...choices.children].forEach((button, n) => button.setAttribute("aria-pressed", n === chosen));
  };
  choices.append(
    ...units.map(([layer, unit], n) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = `layer ${layer + 1}, unit ${unit}`;
      button.addEventListener("click", () => show(n));
      return button;
    }),
  );
  show(0);
  return figure;
}

function draw([, , input, forget, candidate, output, before, after, hidden]) {
  const picture = node("svg", { viewBox: "0 0 372 102", role: "img" });
  const said = { "c′": before, f: forget, i: input, g: candidate, c: after, o: output, h: hidden };
  picture.setAttribute("aria-label", Object.entries(said).map(([name, value]) => `${name} ${number(value)}`).join(", "));
  const text = (x, y, name, value, anchor = "middle") => {
    const label = node("text", { x, y, "text-anchor": anchor });
    const small = node("tspan", { class: "name" });
    small.textContent = `${name} `;
    label.append(small, number(value));
    picture.append(label);
  };
  const gate = (x, y, sign, open) => {
    picture.append(node("circle", { cx: x, cy: y, r: 9, class: "sheet" }), node("circle", { cx: x, cy: y, r: 9, class: "open", "fill-opacity": open }));
    const label = node("text", { x, y: y + 4, "text-anchor": "middle" });
    label.textContent = sign;
    picture.append(label);
  };
  const paths = [
    `M4 ${LINE}H368`, `M80 ${FEET - 12}V${LINE}`, `M188 ${GATE}V${LINE}`, `M150 ${FEET - 12}L188 ${GATE}L226 ${FEET - 12}`, `M322 ${FEET - 12}V${LINE}`,
  ];
  for (const d of paths) picture.append(node("path", { d }));
  gate(80, LINE, "×", forget);
  gate(188, GATE, "×", input);
  gate(188, LINE, "+", 0);
  picture.append(node("rect", { x: 257, y: LINE - 9, width: 34, height: 18, rx: 4, class: "sheet" }));
  const squash = node("text", { x: 274, y: LINE + 4, "text-anchor": "middle", class: "name" });
  squash.textContent = "tanh";
  picture.append(squash);
  gate(322, LINE, "×", output);
  text(4, LINE - 14, "c′", before, "start");
  text(80, FEET, "f", forget);
  text(138, FEET, "i", input);
  text(238, FEET, "g", candidate);
  text(226, LINE - 14, "c", after);
  text(274, LINE - 14, "", Math.tanh(after));
  text(322, FEET, "o", output);
  text(368, LINE - 14, "h", hidden, "end");
  return picture;
}

function node(name, attributes) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

const number = (value) => value.toFixed(2).replace("-", "−");
