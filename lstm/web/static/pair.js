// The controls of Compare where there is no server: the same as lstm/web/page.py sets out, in plain HTML. There is one model.

import { find, put, read, slider } from "./fields.js";

const FIRST = { length: 120, seed: 7, left_temperature: 0.5, left_top_k: 40, right_temperature: 1, right_top_k: 40 };
const WHERE = {
  prompt: "#pair-prompt textarea", length: "#pair-length", seed: "#pair-seed input",
  left_temperature: "#left-temperature", left_top_k: "#left-top-k",
  right_temperature: "#right-temperature", right_top_k: "#right-top-k",
};

/** Build the controls; the buttons call the panel that is mounted as window.jungleCompare. */
export function build() {
  find("#pair-prompt").after(slider(["pair-length", "Length", 1, 2000, 1]));
  for (const side of ["left", "right"]) {
    find(`#${side}`).append(
      slider([`${side}-temperature`, `Temperature, ${side}`, 0, 2, 0.05]),
      slider([`${side}-top-k`, `Top-k, ${side}`, 0, 200, 1]),
    );
  }
  put(WHERE, FIRST);
  find("#compare-both").addEventListener("click", () => window.jungleCompare.compare(read(WHERE)));
  find("#compare-stop").addEventListener("click", () => window.jungleCompare.stop());
}
