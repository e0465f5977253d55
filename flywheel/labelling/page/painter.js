// Draws the stage: image, mask, preview, shapes in the making, clicks, brush and cursor.
//
// Scaling the whole image takes longer than anything else on the page, so what is known to be small is drawn alone: the
// box that came with "draw", and clicks and previews that came or went since the last time.

import { EMPTY, grown, isEmpty, union } from "./box.js";

const PIXELATED_FROM = 2; // CSS px for an image px, from which pixels are shown as squares
const MARK = 8; // CSS px, half the side of a click's mark

export class Painter {
  #asked = false;
  #all = true; // the next time everything is drawn, else what differs and this box
  #box = EMPTY;
  #extras = false; // whether a tool's shape or the keys' cursor is shown
  #marks = new Map(); // the clicks that are shown, by what their marks look like
  #ghost = { of: null, canvas: null };

  constructor(app, canvas) {
    this.app = app;
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    app.signals.on("draw", (box) => this.ask(box));
    new ResizeObserver(() => this.#resize()).observe(canvas.parentElement);
  }

  #resize() {
    const { width, height } = this.canvas.parentElement.getBoundingClientRect();
    this.ratio = window.devicePixelRatio || 1;
    this.canvas.width = Math.round(width * this.ratio);
    this.canvas.height = Math.round(height * this.ratio);
    this.app.viewport.setStage(width, height);
    this.#all = true;
    this.#draw(); // at once: a resized canvas is empty
  }

  // box: what of the image changed; none: anything may have.
  ask(box) {
    if (box) this.#box = union(this.#box, box);
    else this.#all = true;
    if (this.#asked) return;
    this.#asked = true;
    requestAnimationFrame(() => this.#draw());
  }

  #draw() {
    this.#asked = false;
    const { app, context } = this, { viewport: view, editor, picture } = app;
    context.save();
    this.#clip();
    context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    context.clearRect(0, 0, view.stage.width, view.stage.height);
    if (picture) {
      context.imageSmoothingEnabled = view.scale < PIXELATED_FROM;
      context.imageSmoothingQuality = "medium";
      this.#lay(picture.canvas, { top: 0, left: 0, height: picture.height, width: picture.width });
      if (editor && !app.settings.hidden) {
        this.#lay(app.overlay.canvas, { top: 0, left: 0, height: picture.height, width: picture.width });
        this.#drawGhost();
      }
      if (editor) this.#drawWork();
    }
    context.restore();
    app.signals.tell("drawn");
  }

  // Draw only where the stage differs from what it shows.
  #clip() {
    const { app, ratio, context } = this, { picture, editor, tool, cursor } = app;
    const was = this.#ghost.of, extras = Boolean(tool.draw || cursor.byKeys);
    const all = this.#all || !picture || !editor || extras || this.#extras;
    const marks = editor ? this.#marksOf(editor) : new Map(), gone = this.#marks;
    const boxes = [this.#box];
    if (app.clickLine.ghost !== was) boxes.push(was?.crop, app.clickLine.ghost?.crop);
    [this.#all, this.#box, this.#marks, this.#extras] = [false, EMPTY, marks, extras];
    if (app.clickLine.ghost !== was) this.#ghost = { of: app.clickLine.ghost, canvas: null };
    if (all) return;
    const box = boxes.reduce(union, EMPTY), area = isEmpty(box) ? EMPTY : this.#onScreen(box);
    const changed = [...marks, ...gone].filter(([look]) => !marks.has(look) || !gone.has(look));
    const { top, left, height, width } = changed.map(([, mark]) => this.#around(mark)).reduce(union, area);
    const right = Math.ceil((left + width) * ratio), bottom = Math.ceil((top + height) * ratio);
    const x = Math.floor(left * ratio), y = Math.floor(top * ratio);
    context.setTransform(1, 0, 0, 1, 0, 0); // whole pixels of the canvas, so that nothing is cut in half
    context.beginPath();
    context.rect(x, y, right - x, bottom - y);
    context.clip();
  }

  #marksOf(editor) {
    const answered = (editor.live?.clicks ?? []).map((click) => [...click, true]);
    const waiting = this.app.clickLine.waiting.map(({ row, column, positive }) => [row, column, positive, false]);
    return new Map([...answered, ...waiting].map((mark) => [mark.join(), mark]));
  }

  // The part of the stage that a box of the image lies on, its border and smoothing with it; CSS px.
  #onScreen(box) {
    const { scale, x, y } = this.app.viewport, more = 3 + Math.ceil(2 / scale);
    const { top, left, height, width } = grown(box, more, Infinity, Infinity);
    return { top: y + top * scale, left: x + left * scale, height: height * scale, width: width * scale };
  }

  #around([row, column]) {
    const { x, y } = this.app.viewport.toScreen({ x: column + 0.5, y: row + 0.5 });
    return { top: y - MARK, left: x - MARK, height: 2 * MARK, width: 2 * MARK };
  }

  #lay(canvas, box) {
    const { scale, x, y } = this.app.viewport;
    this.context.drawImage(canvas, x + box.left * scale, y + box.top * scale, box.width * scale, box.height * scale);
  }

  #drawGhost() {
    const { ghost } = this.app.clickLine;
    if (!ghost || isEmpty(ghost.crop)) return;
    this.#ghost.canvas ??= this.app.overlay.ghost(ghost);
    this.#lay(this.#ghost.canvas, ghost.crop);
  }

  #drawWork() {
    const { app } = this;
    for (const mark of this.#marks.values()) this.#mark(...mark);
    app.tool.draw?.(this.context, app.viewport);
    app.cursor.draw(this.context);
  }

  #mark(row, column, positive, answered) {
    const { x, y } = this.app.viewport.toScreen({ x: column + 0.5, y: row + 0.5 }), { context } = this;
    context.beginPath();
    context.arc(x, y, 5.5, 0, 2 * Math.PI);
    context.fillStyle = positive ? "#1f9d55" : "#d64545";
    context.globalAlpha = answered ? 1 : 0.55;
    context.fill();
    context.globalAlpha = 1;
    context.lineWidth = 1.5;
    context.strokeStyle = "#fff";
    context.stroke();
    context.beginPath();
    context.moveTo(x - 2.5, y), context.lineTo(x + 2.5, y);
    if (positive) context.moveTo(x, y - 2.5), context.lineTo(x, y + 2.5);
    context.stroke();
  }
}
