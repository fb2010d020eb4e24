// Controls in plain HTML, shaped as Gradio shapes its own, and their values by name.

/** A slider with its number. values: id, name, least, most, step, what it does; changed() is called after every change. */
export function slider([id, name, min, max, step, help], changed = () => {}) {
  const range = element("input", { type: "range", min, max, step, "aria-label": name });
  const number = element("input", { type: "number", min, max, step, "aria-label": `${name}, as a number` });
  const head = element("div", { class: "head" }, element("span", { "data-testid": "block-info" }, name));
  if (help) head.append(element("div", { class: "info-text" }, help));
  head.append(element("div", { class: "tab-like-container" }, number));
  const slider = element("div", { id, class: "block slider" }, element("div", { class: "wrap" }, head, element("div", { class: "slider_input_container" }, range)));
  const follow = (source, target) => () => {
    target.value = source.value;
    fill(slider);
    changed();
  };
  range.addEventListener("input", follow(range, number));
  number.addEventListener("input", follow(number, range));
  number.addEventListener("change", () => {
    number.value = range.value; // which the browser has brought into its range
    changed();
  });
  return slider;
}

/** The values of all controls. where: a selector by name. */
export const read = (where) => Object.fromEntries(Object.entries(where).map(([name, selector]) => [name, valueOf(find(selector))]));

/** Give controls values, without telling anybody. */
export function put(where, values) {
  for (const [name, value] of Object.entries(values)) {
    const control = find(where[name]);
    for (const field of control.matches(".slider") ? control.querySelectorAll("input") : [control]) field.value = value;
    fill(control);
  }
}

export const find = (selector) => document.querySelector(selector);

export function element(kind, attributes, ...children) {
  const node = document.createElement(kind);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

function valueOf(control) {
  if (control.matches("textarea")) return control.value;
  return Number((control.matches(".slider") ? control.querySelector("[type=range]") : control).value);
}

/** How much of a slider's rail is coloured. */
function fill(control) {
  const range = control.querySelector?.("[type=range]");
  if (range) range.style.setProperty("--share", `${(100 * (range.value - range.min)) / (range.max - range.min)}%`);
}
