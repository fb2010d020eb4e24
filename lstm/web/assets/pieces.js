// What the model's pieces look like on their own: asked for once, when they are first needed.

import { choice } from "./choice.js";
import { ask } from "./client.js";
import { visible } from "./story.js";

let asked;
let names = [];

window.addEventListener("jungle:model", () => (asked = undefined));

/** Resolves once pieces have their names. */
export const ready = () => (asked ??= ask("vocabulary", [choice.name]).then((list) => (names = list), () => (asked = undefined)));

/** A piece as it is shown: a space is drawn, and so is a line break. */
export const show = (text) => visible(text).replaceAll(" ", "␣").replaceAll("\n", "↵").replaceAll("\t", "⇥") || "∅";

/** The piece with this id, as it is shown. */
export const piece = (id) => show(names[id] ?? `#${id}`);
