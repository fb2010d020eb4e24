// Copy, save, open, link: how a text leaves the page and comes back.

import { download, fromFile, fromLink, toFile, toLink } from "./record.js";
import { Tree } from "./tree.js";

const LARGEST = 20e6; // bytes of a file

export class Tools {
  constructor(panel) {
    this.panel = panel;
    const on = (name, act) => panel.part(name).addEventListener("click", (event) => act(event.currentTarget));
    on("copy", (button) => this.copy(button, panel.story.text));
    on("text", () => download("story.txt", "text/plain", panel.story.text));
    on("json", () => download("story.json", "application/json", toFile(panel.tree, panel.model.digest)));
    on("link", (button) => this.copy(button, this.address()));
    on("open", () => panel.part("file").click());
    panel.part("file").addEventListener("change", ({ target }) => this.load(target));
  }

  async copy(button, text) {
    const name = button.textContent;
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Not allowed";
    }
    setTimeout(() => (button.textContent = name), 1500);
  }

  /** The page's address with this text in it; also put where the browser shows it. */
  address() {
    history.replaceState(null, "", location.pathname + location.search + toLink(this.panel.tree));
    return location.href;
  }

  async load(input) {
    const [file] = input.files;
    input.value = "";
    try {
      if (file.size > LARGEST) throw new Error("This file is too large: open one that was saved here.");
      const { settings, tokens, checkpoint } = fromFile(await file.text());
      this.panel.open(settings, tokens, checkpoint);
    } catch (error) {
      this.panel.show("refused", error.message);
    }
  }

  /** Write what the address asks for. */
  followLink() {
    try {
      const asked = fromLink(location.hash);
      if (!asked) return;
      const settings = { ...this.panel.settings, ...asked.settings };
      this.panel.set(settings);
      const after = asked.after.map((id) => ({ id, text: "", bits: null }));
      this.panel.write({ settings, tree: new Tree(settings.prompt), after: after.length ? after : null });
    } catch (error) {
      this.panel.show("refused", error.message);
    }
  }
}
