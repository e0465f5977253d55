// The tools on the left, with what they are called and their keys as tooltips.

import { element } from "./dialogs.js";
import { keyOf } from "./keys.js";
import { say } from "./words.js";

const PATHS = {
  click: "M6 2v7.5M6 2 4 4m2-2 2 2M9 8h5M11.5 5.5v5M2 13h4",
  brush: "M13.5 2.5 7 9M7 9c-2 0-3 1-3 3 0 1-1 1.5-2 1.5 3 1 6.5 0 6.5-2.5C8.500 9.800 7.800 9 7 9Z",
  eraser: "m9.500 2.500 4 4-7 7h-3l-1.500-1.500 7.500-9.500ZM6 6l4 4M6.500 13.500H14",
  polygon: "M8 2 13.500 6 11.500 13h-7L2.500 6Z",
  box: "M2.500 3.500h11v9h-11Z",
  undo: "M3 6h6.500a3.500 3.500 0 0 1 0 7H6M3 6l3-3M3 6l3 3",
  redo: "M13 6H6.500a3.500 3.500 0 0 0 0 7H10M13 6l-3-3M13 6l-3 3",
  fit: "M2 6V2h4M10 2h4v4M14 10v4h-4M6 14H2v-4",
  zoom_in: "M7 4.500v5M4.500 7h5M10.500 10.500 14 14M7 12A5 5 0 1 1 7 2a5 5 0 0 1 0 10Z",
  zoom_out: "M4.500 7h5M10.500 10.500 14 14M7 12A5 5 0 1 1 7 2a5 5 0 0 1 0 10Z",
  toggle_mask: "M1.500 8S4 3.500 8 3.500 14.500 8 14.500 8 12 12.500 8 12.500 1.500 8 1.500 8ZM8 10a2 2 0 1 0 0-4 2 2 0 0 0 0 4Z",
};
const GROUPS = [["click", "brush", "eraser", "polygon", "box"], ["undo", "redo"], ["fit", "zoom_in", "zoom_out", "toggle_mask"]];
const TOOLS = new Set(GROUPS[0]);

function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", PATHS[name]);
  svg.append(path);
  return svg;
}

export class Toolbar {
  #buttons = new Map();

  constructor(app) {
    this.app = app;
    const nav = document.getElementById("tools");
    for (const names of GROUPS) {
      const group = element("div", { className: "group" });
      for (const name of names) {
        const button = element("button", { className: "tool", id: `tool-${name}` }, icon(name));
        button.dataset.command = name;
        this.#buttons.set(name, button);
        group.append(button);
      }
      if (names === GROUPS[0]) group.append(this.#size());
      nav.append(group);
    }
    for (const name of ["tool", "settings", "language", "changed", "image"]) app.signals.on(name, () => this.#show());
  }

  #size() {
    this.field = element("output", { id: "brush-size" });
    const smaller = element("button", { className: "step", textContent: "−" });
    const larger = element("button", { className: "step", textContent: "+" });
    smaller.dataset.command = "smaller";
    larger.dataset.command = "larger";
    this.#buttons.set("smaller", smaller);
    this.#buttons.set("larger", larger);
    return element("div", { className: "size" }, smaller, this.field, larger);
  }

  #show() {
    const { app } = this;
    for (const [name, button] of this.#buttons) {
      const words = say(TOOLS.has(name) ? `tool_${name}` : name);
      button.title = `${words}  [${keyOf(name)}]`;
      button.setAttribute("aria-label", words);
      if (TOOLS.has(name)) button.setAttribute("aria-pressed", String(app.tool.id === name));
    }
    this.#buttons.get("toggle_mask").setAttribute("aria-pressed", String(app.settings.hidden));
    this.#buttons.get("undo").disabled = !app.editor?.history.canUndo;
    this.#buttons.get("redo").disabled = !app.editor?.history.canRedo;
    this.field.textContent = String(app.settings.brush);
  }
}
