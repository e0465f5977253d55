// Draws the stage: image, mask, preview, shapes in the making, clicks, brush and cursor.

import { isEmpty } from "./box.js";

const PIXELATED_FROM = 2; // CSS px for an image px, from which pixels are shown as squares

export class Painter {
  #asked = false;
  #ghost = { of: null, canvas: null };

  constructor(app, canvas) {
    this.app = app;
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    app.signals.on("draw", () => this.ask());
    new ResizeObserver(() => this.#resize()).observe(canvas.parentElement);
  }

  #resize() {
    const { width, height } = this.canvas.parentElement.getBoundingClientRect();
    this.ratio = window.devicePixelRatio || 1;
    this.canvas.width = Math.round(width * this.ratio);
    this.canvas.height = Math.round(height * this.ratio);
    this.app.viewport.setStage(width, height);
    this.#draw(); // at once: a resized canvas is empty
  }

  ask() {
    if (this.#asked) return;
    this.#asked = true;
    requestAnimationFrame(() => this.#draw());
  }

  #draw() {
    this.#asked = false;
    const { app, context } = this, { viewport: view, editor, picture } = app;
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
    app.signals.tell("drawn");
  }

  #lay(canvas, box) {
    const { scale, x, y } = this.app.viewport;
    this.context.drawImage(canvas, x + box.left * scale, y + box.top * scale, box.width * scale, box.height * scale);
  }

  #drawGhost() {
    const { ghost } = this.app.clickLine;
    if (!ghost || isEmpty(ghost.crop)) return;
    if (this.#ghost.of !== ghost) this.#ghost = { of: ghost, canvas: this.app.overlay.ghost(ghost) };
    this.#lay(this.#ghost.canvas, ghost.crop);
  }

  #drawWork() {
    const { app } = this, { editor } = app;
    for (const [row, column, positive] of editor.live?.clicks ?? []) this.#mark(row, column, positive, true);
    for (const { row, column, positive } of app.clickLine.waiting) this.#mark(row, column, positive, false);
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
