// What a reader does on the panel itself, by mouse, touch and keyboard.

const BEGINNINGS = [
  "Mowgli crept through the long grass",
  "“Now, Little Brother,” said Bagheera,",
  "The old seal looked out over the grey water and",
];

export function listen(panel) {
  const { part } = panel;
  window.addEventListener("jungle:model", ({ detail }) => panel.change(detail));
  window.addEventListener("keydown", (event) => key(event, panel), true); // before Gradio's own keys
  part("onward").addEventListener("click", () => panel.proceed(panel.settings));
  part("views").addEventListener("click", ({ target }) => target.dataset.view && panel.view(target.dataset.view));
  part("story").addEventListener("click", (event) => panel.pin(panel.story.at(event)));
  part("story").addEventListener("pointerover", (event) => {
    if (event.pointerType === "mouse" && panel.pinned < 0) panel.look(panel.story.at(event));
  });
  part("page").addEventListener("keydown", (event) => arrow(event, panel));
  for (const beginning of BEGINNINGS) part("beginnings").append(invitation(beginning, panel));
}

/** A beginning that is written on with one click. */
function invitation(beginning, panel) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = beginning;
  button.addEventListener("click", () => {
    panel.set({ ...panel.settings, prompt: beginning });
    panel.generate(panel.settings);
  });
  return button;
}

function arrow(event, panel) {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  const { tokens } = panel.story;
  if (!step || !tokens.length) return;
  event.preventDefault();
  const n = Math.max(0, Math.min(tokens.length - 1, panel.inspector.n + step));
  panel.unpin();
  panel.pin(n);
  panel.story.reveal(n);
}

/** Ctrl+Enter begins in the room that is open, Esc stops. */
function key(event, panel) {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    event.stopPropagation();
    ["generate", "compare-both"].map((id) => document.getElementById(id)).find((button) => button?.offsetParent)?.click();
  } else if (event.key === "Escape") {
    panel.stop();
    window.jungleCompare?.stop();
  }
}
