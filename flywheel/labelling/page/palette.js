// The classes: colour, number key, share of the image; the chosen one, and the ones that the model proposes.

import { element } from "./dialogs.js";
import { IGNORE } from "./mask.js";
import { className, say } from "./words.js";

const LATER = 150; // ms after a change until areas are counted
const PROPOSED = 3;

export class Palette {
  #timer = 0;

  constructor(app) {
    this.app = app;
    this.list = document.getElementById("palette");
    this.proposed = document.getElementById("proposed");
    for (const name of ["classes", "class", "language", "image"]) app.signals.on(name, () => this.#show());
    app.signals.on("changed", () => {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.#count(), LATER);
    });
    app.signals.on("proposed", () => this.#propose());
  }

  #show() {
    const { app } = this;
    const rows = app.classes.map((klass) => this.#row(klass.index, klass.index < 10 ? String(klass.index) : "", klass.colour, className(klass)));
    const unclear = this.#row(IGNORE, "0", "#969696", say("unclear"));
    unclear.classList.add("unclear");
    const none = element("li", { className: "none", textContent: say("no_classes") });
    this.list.replaceChildren(...(rows.length ? rows : [none]), unclear);
    document.getElementById("add-class").hidden = !app.me?.reviews;
    document.getElementById("find-class").hidden = app.classes.length < 10;
    this.#count();
    this.#propose();
  }

  #row(index, key, colour, name) {
    const swatch = element("i", { className: "swatch" });
    swatch.style.background = colour;
    const row = element("li", {}, element("kbd", { textContent: key }), swatch,
      element("span", { className: "name", textContent: name }), element("span", { className: "area" }));
    row.dataset.index = index;
    row.setAttribute("role", "option");
    row.setAttribute("aria-selected", String(this.app.klass === index));
    row.onclick = () => this.app.run("pick_index", index);
    return row;
  }

  #count() {
    const { editor } = this.app;
    const counts = editor ? editor.composite().counts() : null;
    const total = editor ? editor.mask.height * editor.mask.width : 1;
    for (const row of this.list.querySelectorAll("[data-index]")) {
      const count = counts?.[row.dataset.index] ?? 0;
      row.querySelector(".area").textContent = count ? share(count / total) : "";
    }
  }

  #propose() {
    const found = (this.app.proposed ?? []).slice(0, PROPOSED), { proposed } = this;
    proposed.hidden = !found.length;
    proposed.replaceChildren(element("span", { textContent: say("proposed") }), ...found.map(({ index, share: part }, number) => {
      const klass = this.app.classes.find((one) => one.index === index);
      const swatch = element("i", { className: "swatch" });
      swatch.style.background = klass.colour;
      const key = number ? null : element("kbd", { textContent: "A" });
      return element("button", { onclick: () => this.app.run("pick_index", index) }, swatch,
        `${className(klass)} ${Math.round(100 * part)} %`, key ?? "");
    }));
  }
}

export function share(part) {
  const value = 100 * part;
  return value < 0.01 ? "< 0.01 %" : `${value >= 10 ? value.toFixed(0) : value >= 1 ? value.toFixed(1) : value.toFixed(2)} %`;
}
