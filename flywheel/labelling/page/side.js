// The rest of the right side: caption, view settings, buttons, and what a reviewer is told about a label.

import { MODES } from "./contrast.js";
import { element } from "./dialogs.js";
import { keyOf } from "./keys.js";
import { say, translate } from "./words.js";
import { clock } from "./timer.js";

const LABELLING = ["submit", "clean", "flag", "skip"];
const REVIEWING = ["accept", "reject", "leave_out", "pass"];

export class Side {
  constructor(app) {
    this.app = app;
    this.caption = document.getElementById("caption");
    this.opacity = document.getElementById("opacity");
    this.live = document.getElementById("live");
    this.actions = document.getElementById("actions");
    this.caption.oninput = () => app.editCaption(this.caption.value);
    this.opacity.oninput = () => app.set({ opacity: this.opacity.value / 100 });
    this.live.onchange = () => app.set({ live: this.live.checked });
    for (const name of ["language", "reviewing", "image", "busy"]) app.signals.on(name, () => this.#show());
    app.signals.on("settings", () => this.#showSettings());
    app.signals.on("captioned", () => this.#showCaption());
  }

  #show() {
    translate();
    this.#showSettings();
    this.#showCaption();
    this.#showJudged();
    const names = this.app.reviewing ? REVIEWING : LABELLING;
    this.actions.replaceChildren(...names.map((name, number) => {
      const button = element("button", { id: name, className: number ? "" : "primary" }, say(name));
      const key = keyOf(name === "pass" ? "next" : name);
      button.append(element("kbd", { textContent: key }));
      button.dataset.command = name === "pass" ? "next" : name;
      button.disabled = !this.app.image || this.app.busy;
      return button;
    }));
  }

  #showSettings() {
    const { settings } = this.app;
    this.opacity.value = Math.round(100 * settings.opacity);
    this.live.checked = settings.live;
    document.getElementById("contrast").replaceChildren(...MODES.map((mode) => {
      const button = element("button", { textContent: say(mode), onclick: () => this.app.run("change_contrast", mode) });
      button.setAttribute("aria-pressed", String(settings.contrast === mode));
      return button;
    }));
  }

  #showCaption() {
    const { app } = this;
    if (this.caption.value !== app.caption) this.caption.value = app.caption;
    this.caption.disabled = !app.image;
    document.getElementById("caption-reset").hidden = !app.captionEdited;
  }

  #showJudged() {
    const { app } = this, part = document.getElementById("judged"), { case: found, label, showsOther } = app.review;
    part.hidden = !app.reviewing || !found;
    if (part.hidden) return;
    const lines = [element("p", { className: "why", textContent: say(`why_${found.why}`) })];
    if (label.comment) lines.push(element("blockquote", { textContent: label.comment }));
    lines.push(element("p", { textContent: say("cost", clock(label.seconds), label.clicks, label.corrections) }));
    if (found.other) {
      const other = showsOther ? found.label : found.other;
      lines.push(element("p", { textContent: say("agreement", other.by, Math.round(100 * found.agreement)) }));
      const button = element("button", { className: "wide" }, say("toggle_other"), element("kbd", { textContent: keyOf("toggle_other") }));
      button.dataset.command = "toggle_other";
      lines.push(button);
    }
    part.replaceChildren(element("h2", { textContent: say("judged_by", label.by) }), ...lines);
  }
}
