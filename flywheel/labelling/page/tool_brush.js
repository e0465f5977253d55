// Brush and eraser: a stroke from press to release is one step. With the right button the brush erases.

import { stroke } from "./shapes.js";

export class BrushTool {
  #stroke = null;
  #last = null;
  #down = false; // pen held down from the keyboard
  cursor = "none";

  constructor(app, id) {
    this.app = app;
    this.id = id;
  }

  get drawing() {
    return this.#stroke !== null;
  }

  down(point, { takesAway }) {
    this.up(); // a second press before the first has ended
    const { app } = this, erases = this.id === "eraser" || takesAway;
    if (!erases && !app.klass) return app.toast("no_class");
    app.clickLine.drop();
    this.klass = erases ? 0 : app.klass;
    this.#stroke = app.editor.beginStroke();
    this.#last = point;
    this.#dab(point);
  }

  move(point) {
    if (this.#stroke) this.#dab(point);
    this.app.signals.tell("draw");
  }

  #dab(point) {
    const { app } = this;
    this.#stroke.dab(stroke(app.editor.mask, this.#last, point, app.settings.brush), this.klass);
    this.#last = point;
  }

  // Ends the stroke; returns whether it changed anything.
  up() {
    const changed = Boolean(this.#stroke?.end());
    this.#stroke = null;
    this.#down = false;
    return changed;
  }

  lift() {
    this.up();
  }

  // From the keyboard: Enter puts the pen down and lifts it.
  enter(point) {
    if (this.#down) return this.up();
    this.down(point, { takesAway: false });
    this.#down = this.#stroke !== null;
  }

  back(point) {
    this.up();
    this.down(point, { takesAway: true });
    this.up();
  }

  cancel() {
    if (!this.#stroke) return false;
    if (this.up()) this.app.editor.undo();
    return true;
  }

  leave() {
    this.app.signals.tell("draw");
  }

  draw(context, view) {
    const { app } = this;
    if (!app.cursor.point || !app.cursor.inside) return;
    const { x, y } = view.toScreen(app.cursor.point), radius = Math.max(1, (app.settings.brush * view.scale) / 2);
    for (const [colour, width] of [["rgba(0, 0, 0, 0.7)", 3], [this.id === "eraser" ? "#fff" : app.colour(), 1.5]]) {
      context.beginPath();
      context.arc(x, y, radius, 0, 2 * Math.PI);
      context.lineWidth = width;
      context.strokeStyle = colour;
      context.stroke();
    }
  }
}
