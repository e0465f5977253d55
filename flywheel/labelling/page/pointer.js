// Mouse and pen on the stage: tools, panning (middle button, or Space and drag), the wheel.

const ZOOM = 0.0016; // of a wheel's px
const MOST_WHEEL = 120; // px of one event; some mice send more

export class Pointer {
  #panning = false;
  #lastDown = { time: 0, x: 0, y: 0 };

  constructor(app, canvas) {
    this.app = app;
    this.canvas = canvas;
    this.space = false;
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("pointerdown", (event) => this.#down(event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    canvas.addEventListener("pointerup", (event) => this.#up(event));
    canvas.addEventListener("pointercancel", (event) => this.#up(event));
    canvas.addEventListener("pointerleave", () => this.#leave());
    canvas.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    app.signals.on("tool", () => this.shape());
  }

  shape() {
    this.canvas.style.cursor = this.#panning ? "grabbing" : this.space ? "grab" : this.app.tool.cursor;
  }

  holdSpace(held) {
    this.space = held;
    this.shape();
  }

  #place(event) {
    const box = this.canvas.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  }

  #down(event) {
    const { app } = this;
    this.canvas.focus({ preventScroll: true });
    if (!app.editor || app.busy) return;
    event.preventDefault();
    this.canvas.setPointerCapture(event.pointerId);
    const at = this.#place(event);
    if (event.button === 1 || (event.button === 0 && this.space)) {
      this.#panning = true;
      this.shape();
      return;
    }
    if (event.button !== 0 && event.button !== 2) return;
    const point = app.viewport.toImage(at);
    app.cursor.follow(point);
    const near = Math.hypot(at.x - this.#lastDown.x, at.y - this.#lastDown.y) < 4;
    const twice = near && event.timeStamp - this.#lastDown.time < 350;
    this.#lastDown = { time: event.timeStamp, ...at };
    app.tool.down(point, { takesAway: event.button === 2 || event.shiftKey, twice });
  }

  #move(event) {
    const { app } = this;
    if (!app.editor) return;
    if (this.#panning) return app.viewport.panBy(event.movementX, event.movementY);
    for (const part of event.getCoalescedEvents?.() ?? [event]) {
      const point = app.viewport.toImage(this.#place(part));
      app.cursor.follow(point);
      app.tool.move?.(point, { takesAway: event.shiftKey, held: event.buttons !== 0 });
    }
    app.signals.tell("cursor");
  }

  #up(event) {
    const { app } = this;
    if (this.#panning) {
      this.#panning = false;
      this.shape();
    } else if (app.editor) app.tool.up?.(app.viewport.toImage(this.#place(event)));
  }

  #leave() {
    const { app } = this;
    app.cursor.leave();
    app.tool.leave?.();
    app.signals.tell("cursor");
  }

  #wheel(event) {
    event.preventDefault();
    const { app } = this, unit = event.deltaMode === 1 ? 16 : 1;
    if (!app.editor) return;
    const cut = (value) => Math.max(-MOST_WHEEL, Math.min(MOST_WHEEL, value * unit));
    const along = cut(event.deltaY || event.deltaX);
    if (event.altKey) app.run(along < 0 ? "larger" : "smaller");
    else if (event.shiftKey) app.viewport.panBy(-along, 0);
    else app.viewport.zoomBy(Math.exp(-along * (event.ctrlKey ? 4 : 1) * ZOOM), this.#place(event));
  }
}
