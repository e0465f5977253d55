// The place that commands refer to: it follows the pointer, and the arrow keys move it.

const STEP = 8, LEAP = 80; // CSS px

export class Cursor {
  constructor(app) {
    this.app = app;
    this.point = null; // image px, not rounded
    this.inside = false; // pointer over the stage, or moved by keys
    this.byKeys = false;
  }

  follow(point) {
    this.point = point;
    this.inside = true;
    this.byKeys = false;
  }

  leave() {
    if (!this.byKeys) this.inside = false;
  }

  centre() {
    const { width, height } = this.app.viewport.image;
    this.point = { x: Math.floor(width / 2) + 0.5, y: Math.floor(height / 2) + 0.5 };
  }

  // how: "step", "pixel" or "leap".
  moveBy(dx, dy, how) {
    const { viewport, signals } = this.app, { width, height } = viewport.image;
    if (!this.point) this.centre();
    const far = how === "pixel" ? 1 : Math.max(1, Math.round((how === "leap" ? LEAP : STEP) / viewport.scale));
    const within = (value, end) => Math.min(end - 0.5, Math.max(0.5, Math.floor(value) + 0.5));
    this.point = { x: within(this.point.x + dx * far, width), y: within(this.point.y + dy * far, height) };
    this.byKeys = this.inside = true;
    viewport.show(this.point);
    this.app.tool.move?.(this.point, { takesAway: false, held: false });
    signals.tell("cursor");
    signals.tell("draw");
  }

  get row() {
    return this.point ? Math.floor(this.point.y) : -1;
  }

  get column() {
    return this.point ? Math.floor(this.point.x) : -1;
  }

  draw(context) {
    if (!this.byKeys || !this.point) return;
    const { x, y } = this.app.viewport.toScreen(this.point);
    for (const [colour, width] of [["#000", 4], ["#ffd43b", 2]]) {
      context.beginPath();
      for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
        context.moveTo(x + 5 * dx, y + 5 * dy), context.lineTo(x + 16 * dx, y + 16 * dy);
      }
      context.lineWidth = width;
      context.strokeStyle = colour;
      context.stroke();
    }
    context.fillStyle = "#ffd43b";
    context.fillRect(x - 1, y - 1, 2, 2);
  }
}
