// Clicks: each goes to the server and comes back as a region. They are answered one after the other, and each is a step.

import { EMPTY, isEmpty, patched } from "./box.js";
import { fromRuns, toRuns } from "./runs.js";

const REST = 120; // ms that the pointer rests before a preview is asked for

export class ClickLine {
  constructor(app) {
    this.app = app;
    this.waiting = []; // clicks on their way: {row, column, positive}
    this.ghost = null; // preview: {crop, row, column}
    this.#forget();
  }

  #chain = Promise.resolve();
  #round = 0; // grows when waiting clicks are dropped; answers of earlier rounds are ignored
  #timer = 0;

  #forget() {
    this.ghost = null;
    clearTimeout(this.#timer);
  }

  get busy() {
    return this.waiting.length > 0;
  }

  settled() {
    return this.#chain;
  }

  // Drop the clicks that have no answer yet; returns whether there were any.
  drop() {
    const had = this.busy;
    this.#round++;
    this.waiting = [];
    this.#forget();
    if (had) this.app.signals.tell("draw", EMPTY);
    return had;
  }

  add(row, column, positive) {
    const { editor } = this.app;
    if (!positive && !editor.live && !this.busy && !editor.mask.at(row, column)) return false;
    const click = { row, column, positive }, round = this.#round;
    this.waiting.push(click);
    this.#forget();
    editor.clicks++;
    this.app.signals.tell("draw", EMPTY);
    this.#chain = this.#chain.then(() => this.#answer(editor, click, round));
    return true;
  }

  async #answer(editor, click, round) {
    if (round !== this.#round || editor !== this.app.editor) return;
    try {
      const { before, live } = this.#begin(editor, click);
      const answer = await this.#ask(live, false);
      if (round !== this.#round || editor !== this.app.editor) return;
      editor.step((mask) => {
        if (before) mask.pixels.set(before.pixels);
        return answer;
      }, { correction: false });
    } catch (error) {
      if (round === this.#round) this.app.failed(error);
    } finally {
      if (round === this.#round) this.waiting.shift();
      this.app.signals.tell("draw", EMPTY);
    }
  }

  // The live region with one more click; a click on a region that is in the mask takes it up.
  #begin(editor, { row, column, positive }) {
    const live = editor.live;
    if (live) return { before: null, live: { ...live, clicks: [...live.clicks, [row, column, positive]] } };
    const known = editor.mask.at(row, column), klass = this.app.klass;
    if (known && (known === klass || !positive)) {
      const before = editor.mask.copy(), lifted = editor.lifted(before, row, column);
      return { before, live: { ...lifted, clicks: [[row, column, positive]] } };
    }
    return { before: null, live: { klass, start: null, clicks: [[row, column, positive]], crop: null, version: "" } };
  }

  async #ask(live, preview) {
    const start = live.start && !isEmpty(live.start)
      ? { box: [live.start.top, live.start.left, live.start.height, live.start.width], runs: toRuns(live.start.bits) }
      : null;
    const message = { clicks: live.clicks, start, shown: live.version, preview };
    const answer = await this.app.api.post(`samples/${this.app.image.sample}/clicks`, message);
    if (answer.busy) return null; // a preview that would have had to wait
    const [top, left, height, width] = answer.box;
    const patch = { top, left, height, width, bits: fromRuns(answer.runs, height * width) };
    const crop = answer.base ? patched(live.crop, patch) : patch;
    return { ...live, crop, version: answer.version, proposed: answer.classes };
  }

  // Show what a click here would do, as soon as the pointer rests.
  hover(row, column, positive) {
    if (this.ghost && (this.ghost.row !== row || this.ghost.column !== column)) {
      this.ghost = null;
      this.app.signals.tell("draw", EMPTY);
    }
    clearTimeout(this.#timer);
    if (!this.app.settings.live || this.busy) return;
    this.#timer = setTimeout(() => this.#preview(row, column, positive), REST);
  }

  leave() {
    this.#forget();
    this.app.signals.tell("draw", EMPTY);
  }

  async #preview(row, column, positive) {
    const { editor } = this.app, round = this.#round;
    if (!editor || (!editor.live && !positive) || this.busy || document.hidden) return;
    const { live } = this.#begin(editor, { row, column, positive });
    try {
      const answer = await this.#ask(live, true);
      if (!answer || round !== this.#round || editor !== this.app.editor || this.busy) return;
      this.ghost = { row, column, crop: answer.crop, klass: live.klass };
      this.app.signals.tell("draw", EMPTY);
    } catch {
      // a preview is worth nothing later
    }
  }
}
