// Clicks: left adds, right or Shift + left takes away.

export class ClickTool {
  id = "click";
  cursor = "crosshair";

  constructor(app) {
    this.app = app;
  }

  down(point, { takesAway }) {
    this.#click(point, !takesAway);
  }

  move(point, { takesAway, held }) {
    if (!held) this.app.clickLine.hover(Math.floor(point.y), Math.floor(point.x), !takesAway);
  }

  leave() {
    this.app.clickLine.leave();
  }

  // From the keyboard: Enter adds, Backspace takes away.
  enter(point) {
    this.#click(point, true);
  }

  back(point) {
    this.#click(point, false);
  }

  #click(point, positive) {
    const row = Math.floor(point.y), column = Math.floor(point.x), { app } = this;
    if (!app.editor.mask.has(row, column)) return;
    if (positive && !app.klass) return app.toast("no_class");
    if (!app.clickLine.add(row, column, positive)) app.toast("nothing_here");
  }

  cancel() {
    if (this.app.clickLine.drop()) return true;
    if (!this.app.editor?.live) return false;
    this.app.editor.step(() => null, { correction: false });
    return true;
  }
}
