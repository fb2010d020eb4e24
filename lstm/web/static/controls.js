// The desk of the page where there is no server: the same controls as lstm/web/page.py sets out, in plain HTML.

const SLIDERS = {
  sliders: [
    ["temperature", "Temperature", 0, 2, 0.05, 0.8, "0 takes the likeliest token, more is bolder"],
    ["top-k", "Top-k", 0, 200, 1, 40, "draws among so many likeliest, 0 among all"],
    ["length", "Length", 1, 2000, 1, 200, "tokens to write"],
  ],
  few: [
    ["top-p", "Top-p", 0, 1, 0.01, 1, "draws among the likeliest with so much of the odds"],
    ["min-p", "Min-p", 0, 1, 0.01, 0, "leaves out what has less than so much of the best"],
    ["penalty", "Repetition penalty", 1, 2, 0.05, 1, "above 1, recent tokens are less likely again"],
  ],
};
const PLAIN = { top_p: 1, min_p: 0, repetition_penalty: 1, stop: "" };
const PRESETS = {
  Careful: { temperature: 0.5, top_k: 20 },
  Balanced: { temperature: 0.8, top_k: 40 },
  Wild: { temperature: 1.2, top_k: 200 },
  Greedy: { temperature: 0, top_k: 0 },
};
const FIRST = { ...PRESETS.Balanced, ...PLAIN, length: 200, seed: 7 };
const WHERE = {
  prompt: "#prompt textarea", temperature: "#temperature", top_k: "#top-k", length: "#length", seed: "#seed input",
  top_p: "#top-p", min_p: "#min-p", repetition_penalty: "#penalty", stop: "#stop-strings textarea",
}; // in the order of the endpoint

const find = (selector) => document.querySelector(selector);

/** Build the controls; changed() is called after every change of one. */
export class Controls {
  constructor(changed) {
    this.changed = changed;
    for (const [place, sliders] of Object.entries(SLIDERS)) find(`#${place}`).append(...sliders.map((values) => this.slider(values)));
    for (const [name, values] of Object.entries(PRESETS)) find("#presets").append(this.button(name, { ...PLAIN, ...values }));
    find("#reset").addEventListener("click", () => this.ask(FIRST));
    for (const selector of [WHERE.prompt, WHERE.seed, WHERE.stop]) find(selector).addEventListener("input", changed);
    find("#more > button").addEventListener("click", ({ currentTarget }) => {
      find("#folded").toggleAttribute("hidden");
      currentTarget.setAttribute("aria-expanded", !find("#folded").hidden);
    });
    this.set({ prompt: "", ...FIRST });
  }

  /** The values of all controls by name. */
  get values() {
    return Object.fromEntries(Object.entries(WHERE).map(([name, selector]) => [name, valueOf(find(selector))]));
  }

  /** Give controls values, without telling anybody. */
  set(values) {
    for (const [name, value] of Object.entries(values)) {
      const control = find(WHERE[name]);
      for (const field of control.matches(".slider") ? control.querySelectorAll("input") : [control]) field.value = value;
      fill(control);
    }
  }

  ask(values) {
    this.set(values);
    this.changed();
  }

  button(name, values) {
    const button = element("button", { type: "button" }, name);
    button.addEventListener("click", () => this.ask(values));
    return button;
  }

  slider([id, name, min, max, step, , help]) {
    const range = element("input", { type: "range", min, max, step, "aria-label": name });
    const number = element("input", { type: "number", min, max, step, "aria-label": `${name}, as a number` });
    const head = element("div", { class: "head" }, element("span", { "data-testid": "block-info" }, name), element("div", { class: "info-text" }, help));
    head.append(element("div", { class: "tab-like-container" }, number));
    const slider = element("div", { id, class: "block slider" }, element("div", { class: "wrap" }, head, element("div", { class: "slider_input_container" }, range)));
    const follow = (source, target) => () => {
      target.value = source.value;
      fill(slider);
      this.changed();
    };
    range.addEventListener("input", follow(range, number));
    number.addEventListener("input", follow(number, range));
    number.addEventListener("change", () => {
      number.value = range.value; // which the browser has brought into its range
      this.changed();
    });
    return slider;
  }
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

function element(kind, attributes, ...children) {
  const node = document.createElement(kind);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}
