// Polygon (corner by corner) and box (drag, or corner by corner from the keyboard). With Shift or the right button at
// the first corner the shape takes away.

import { polygon, rectangle } from "./shapes.js";

const NEAR = 9; // CSS px from the first corner within which a click closes the polygon

class ShapeTool {
  corners = [];
  cursor = "crosshair";

  constructor(app, id) {
    this.app = app;
    this.id = id;
  }

  begin(point, takesAway) {
    if (!takesAway && !this.app.klass) return void this.app.toast("no_class");
    this.app.clickLine.drop();
    this.takesAway = takesAway;
    this.corners = [point];
    this.app.signals.tell("draw");
  }

  close(crop) {
    this.corners = [];
    this.app.editor.paint([crop], this.takesAway ? 0 : this.app.klass);
  }

  move() {
    if (this.corners.length) this.app.signals.tell("draw");
  }

  leave() {}

  cancel() {
    const had = this.corners.length > 0;
    this.corners = [];
    this.app.signals.tell("draw");
    return had;
  }

  outline(context, view, points) {
    context.beginPath();
    points.forEach((point, number) => {
      const { x, y } = view.toScreen(point);
      if (number) context.lineTo(x, y);
      else context.moveTo(x, y);
    });
    context.closePath();
    context.fillStyle = this.takesAway ? "rgba(255, 255, 255, 0.15)" : `${this.app.colour()}44`;
    context.fill();
    for (const [colour, width] of [["rgba(0, 0, 0, 0.7)", 3], [this.takesAway ? "#fff" : this.app.colour(), 1.5]]) {
      context.lineWidth = width;
      context.strokeStyle = colour;
      context.stroke();
    }
  }
}

export class PolygonTool extends ShapeTool {
  down(point, { takesAway, twice }) {
    if (!this.corners.length) return this.begin(point, takesAway);
    const { viewport } = this.app, first = viewport.toScreen(this.corners[0]), here = viewport.toScreen(point);
    if (twice || Math.hypot(first.x - here.x, first.y - here.y) < NEAR) return this.finish();
    this.corners.push(point);
    this.app.signals.tell("draw");
  }

  // Close the polygon; with fewer than three corners there is none. Returns whether one was in the making.
  finish() {
    if (!this.corners.length) return false;
    if (this.corners.length < 3) return this.cancel();
    this.close(polygon(this.app.editor.mask, this.corners));
    return true;
  }

  enter(point) {
    this.down(point, { takesAway: false, twice: false });
  }

  back() {
    this.corners.pop();
    this.app.signals.tell("draw");
  }

  draw(context, view) {
    if (!this.corners.length) return;
    this.outline(context, view, [...this.corners, this.app.cursor.point]);
    for (const corner of this.corners) {
      const { x, y } = view.toScreen(corner);
      context.fillStyle = "#fff";
      context.fillRect(x - 2.5, y - 2.5, 5, 5);
    }
  }
}

export class BoxTool extends ShapeTool {
  down(point, { takesAway }) {
    this.begin(point, takesAway);
  }

  up(point) {
    if (this.corners.length) this.close(rectangle(this.app.editor.mask, this.corners[0], point));
  }

  enter(point) {
    if (this.corners.length) this.up(point);
    else this.begin(point, false);
  }

  back() {
    this.cancel();
  }

  draw(context, view) {
    if (!this.corners.length) return;
    const [one] = this.corners, other = this.app.cursor.point;
    this.outline(context, view, [one, { x: other.x, y: one.y }, other, { x: one.x, y: other.y }]);
  }
}
