// Which part of the image the stage shows, and how large. Screen: CSS px of the stage; image: px of the image.

const LARGEST = 48; // CSS px for one image px
const MARGIN = 24; // CSS px around the image when it is fitted
const KEPT = 60; // CSS px of the image that panning leaves in sight
export const STRIP = 3; // width over height from which an image is a strip, which has its minimap below it
const STRIP_MAP = 64; // CSS px for that

export class Viewport {
  constructor(signals) {
    this.signals = signals;
    this.stage = { width: 1, height: 1 };
    this.image = { width: 1, height: 1 };
    this.scale = 1;
    this.x = 0; // screen place of the image's upper left corner
    this.y = 0;
  }

  setStage(width, height) {
    const fitted = this.isFitted();
    this.stage = { width, height };
    if (fitted) this.fit();
    else this.#settle();
  }

  setImage(width, height) {
    this.image = { width, height };
    this.fit();
  }

  // Height of the stage without the minimap of a strip.
  get #height() {
    return this.stage.height - (this.image.width > STRIP * this.image.height ? STRIP_MAP : 0);
  }

  #fitScale() {
    const across = (this.stage.width - 2 * MARGIN) / this.image.width;
    const down = (this.#height - 2 * MARGIN) / this.image.height;
    return Math.max(0.01, Math.min(across, down, LARGEST / 4));
  }

  isFitted() {
    return Math.abs(this.scale / this.#fitScale() - 1) < 0.01;
  }

  fit() {
    this.scale = this.#fitScale();
    this.x = (this.stage.width - this.image.width * this.scale) / 2;
    this.y = (this.#height - this.image.height * this.scale) / 2;
    this.#settle();
  }

  // The shorter side fills the stage; for long strips.
  fill(around) {
    const across = this.stage.width / this.image.width, down = (this.#height - 2 * MARGIN) / this.image.height;
    this.zoomTo(Math.min(LARGEST / 4, Math.max(across, down)), around);
    if (across < down) this.panBy(0, (this.#height - this.image.height * this.scale) / 2 - this.y);
  }

  zoomTo(scale, at = { x: this.stage.width / 2, y: this.stage.height / 2 }) {
    const wanted = Math.min(LARGEST, Math.max(this.#fitScale() / 2, scale));
    const point = this.toImage(at);
    this.scale = wanted;
    this.x = at.x - point.x * wanted;
    this.y = at.y - point.y * wanted;
    this.#settle();
  }

  zoomBy(factor, at) {
    this.zoomTo(this.scale * factor, at);
  }

  panBy(dx, dy) {
    this.x += dx;
    this.y += dy;
    this.#settle();
  }

  // Move by most of a screen along the image's longer side.
  turnPage(forward) {
    const step = forward ? -0.85 : 0.85;
    if (this.image.width >= this.image.height) this.panBy(step * this.stage.width, 0);
    else this.panBy(0, step * this.stage.height);
  }

  centreOn(point) {
    this.x = this.stage.width / 2 - point.x * this.scale;
    this.y = this.stage.height / 2 - point.y * this.scale;
    this.#settle();
  }

  // Move no further than needed to see the point.
  show(point) {
    const at = this.toScreen(point), inset = Math.min(60, this.stage.width / 4, this.stage.height / 4);
    const dx = Math.max(inset - at.x, 0) + Math.min(this.stage.width - inset - at.x, 0);
    const dy = Math.max(inset - at.y, 0) + Math.min(this.stage.height - inset - at.y, 0);
    if (dx || dy) this.panBy(dx, dy);
  }

  #settle() {
    const width = this.image.width * this.scale, height = this.image.height * this.scale;
    this.x = Math.min(this.stage.width - KEPT, Math.max(KEPT - width, this.x));
    this.y = Math.min(this.stage.height - KEPT, Math.max(KEPT - height, this.y));
    this.signals.tell("draw");
    this.signals.tell("zoom");
  }

  toImage(at) {
    return { x: (at.x - this.x) / this.scale, y: (at.y - this.y) / this.scale };
  }

  toScreen(point) {
    return { x: point.x * this.scale + this.x, y: point.y * this.scale + this.y };
  }

  // The part of the image in sight, in image px.
  seen() {
    const from = this.toImage({ x: 0, y: 0 }), to = this.toImage({ x: this.stage.width, y: this.stage.height });
    const x = Math.max(0, from.x), y = Math.max(0, from.y);
    return { x, y, width: Math.min(this.image.width, to.x) - x, height: Math.min(this.image.height, to.y) - y };
  }

  get seesAll() {
    const seen = this.seen();
    return seen.width >= this.image.width - 1 && seen.height >= this.image.height - 1;
  }
}
