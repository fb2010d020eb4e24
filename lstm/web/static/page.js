// Puts the page together where there is no server: the server's panel, on plain controls, with a model in the browser.

import { Controls } from "./controls.js";
import * as compare from "./jungle/compare.js";
import * as header from "./jungle/header.js";
import * as model from "./jungle/model.js";
import * as odds from "./jungle/odds.js";
import * as panel from "./jungle/panel.js";
import * as pair from "./pair.js";

const ACTIONS = ["generate", "stop", "fold", "proceed", "undo", "again"];
const part = (id) => document.getElementById(id);

window.addEventListener("jungle:loading", ({ detail: { loaded, ready, failed } }) => {
  const [bar, words] = part("loading").children;
  if (loaded) bar.value = loaded;
  words.textContent = failed || (ready ? "" : `Loading the model, ${Math.round(100 * bar.value)} %`);
  part("loading").dataset.state = failed ? "failed" : ready ? "ready" : "loading";
  if (ready) navigator.serviceWorker?.register("offline.js").catch(() => {}); // without it the page needs the network
});

const { facts } = await (await fetch("model/about.json")).json();
document.body.classList.toggle("dark", matchMedia("(prefers-color-scheme: dark)").matches);
header.mount(part("header"), { value: facts });

const controls = new Controls(() => window.jungle.changed(controls.values));
panel.mount(part("panel"), { value: facts }, (name) =>
  name === "load" ? window.jungle.changed(controls.values) : controls.set(window.jungle.settings),
);
odds.mount(part("odds"));
for (const action of ACTIONS) part(action).addEventListener("click", () => window.jungle[action](controls.values));

pair.build();
compare.mount(part("compare"));

const tabs = [...document.querySelectorAll("[role=tab]")];
for (const tab of tabs) {
  tab.addEventListener("click", () => {
    for (const other of tabs) {
      other.setAttribute("aria-selected", other === tab);
      part(other.getAttribute("aria-controls")).hidden = other !== tab;
    }
    if (tab.id === "tab-model") model.mount(part("model"));
  });
}
