// What the model's pieces look like on their own: asked for once, when they are first needed.

import { ask } from "./client.js";
import { visible } from "./story.js";

let asked;
let names = [];

/** Resolves once pieces have their names. */
export const ready = () => (asked ??= ask("vocabulary", []).then((list) => (names = list), () => (asked = undefined)));

/** A piece as it is shown: a space is drawn, and so is a line break. */
export const show = (text) => visible(text).replaceAll(" ", "␣").replaceAll("\n", "↵").replaceAll("\t", "⇥") || "∅";

/** The piece with this id, as it is shown. */
export const piece = (id) => show(names[id] ?? `#${id}`);
