// The bars above and below: where the queue is, what this image cost, what lies under the cursor, what is saved.

import { IGNORE } from "./mask.js";
import { className, say } from "./words.js";
import { clock } from "./timer.js";
import { keyOf } from "./keys.js";

const $ = (id) => document.getElementById(id);

export class Status {
  constructor(app) {
    this.app = app;
    this.progress = null;
    const on = (names, show) => names.forEach((name) => app.signals.on(name, () => show.call(this)));
    app.signals.on("progress", (progress) => {
      this.progress = progress;
      this.#showQueue();
      this.#showTop();
      this.#showClicker();
    });
    on(["language", "image", "reviewing"], this.#showTop);
    on(["language"], this.#showQueue);
    on(["language"], this.#showClicker);
    on(["time", "changed", "image", "language", "draw"], this.#showCost);
    on(["cursor", "image", "changed", "language"], this.#showUnder);
    on(["zoom", "image"], () => ($("zoom").textContent = app.image ? `${Math.round(100 * app.viewport.scale)} %` : ""));
    on(["saved", "language", "image"], this.#showSaved);
  }

  #showTop() {
    const { app } = this, { image, rounds } = app;
    $("workspace").textContent = app.about?.name ?? "";
    $("asked").textContent = image && !app.reviewing ? say(`asked_${image.why}`) : "";
    const place = rounds.place;
    $("place").textContent = image && !app.reviewing && place >= 0 ? say("place", place + 1, rounds.trail.length) : "";
    $("review").hidden = !app.me?.reviews;
    $("review").setAttribute("aria-pressed", String(app.reviewing));
    $("review").querySelector("span").textContent = say(app.reviewing ? "leave_review" : "review");
    $("to-review").textContent = app.reviewing || !this.progress?.to_review ? "" : String(this.progress.to_review);
    $("language").textContent = say("other_language");
    $("person").textContent = app.me?.name ?? "";
    for (const [id, words] of [["previous", "previous"], ["next", "next"], ["help", "help"], ["person", "sign_out"], ["review", "review"]]) {
      const key = keyOf(words);
      $(id).title = say(words) + (key ? `  [${key}]` : "");
      if (id !== "person" && id !== "review") $(id).setAttribute("aria-label", say(words));
    }
    const counted = this.progress ? ` · ${this.progress.closed}/${this.progress.total}` : "";
    document.title = `${say("title")} · ${app.about?.name ?? ""}${counted}`;
  }

  #showQueue() {
    if (!this.progress) return;
    const { closed, total, held, present } = this.progress;
    $("bar").firstElementChild.style.width = `${total ? (100 * closed) / total : 0}%`;
    const parts = [say("queue", closed, total)];
    if (held) parts.push(say("with_reviewer", held));
    if (present.length > 1) parts.push(say("people_here", present.length));
    $("queue-words").textContent = parts.join(" · ");
  }

  // Which model answers clicks; the version of a champion is enough, its name is the workspace's.
  #showClicker() {
    if (!this.progress) return;
    const { kind, name } = this.progress.clicker;
    $("clicker").textContent = say(`clicker_${kind}`, name.split("/").at(-1));
    $("clicker").title = say(`clicker_${kind}_words`, name);
    $("clicker").className = kind;
  }

  #showCost() {
    const { editor, timer } = this.app;
    $("cost").textContent = editor ? say("cost", clock(timer.seconds), editor.clicks, editor.corrections) : "";
  }

  #showUnder() {
    const { app } = this, { row, column, inside } = app.cursor, { editor } = app;
    if (!editor || !inside || !editor.mask.has(row, column)) return void ($("under").textContent = "");
    const index = editor.at(row, column), klass = app.classes.find((one) => one.index === index);
    const name = index === IGNORE ? say("unclear") : klass ? className(klass) : say("background");
    $("under").textContent = `${column}, ${row}  ·  ${app.picture.at(row, column).join(" ")}  ·  ${name}`;
  }

  #showSaved() {
    const { state } = this.app.autosave;
    $("saved").textContent = this.app.image && !this.app.reviewing ? say(state) : "";
    $("saved").className = state;
  }
}
