// The label of one image while a person works on it: the mask, and the live region that clicks are shaping.
//
// The live region lies above the mask until it is finished; then it takes its pixels over. Every change is one step of
// the history. Live regions are never changed in place, so that steps can keep them.

import { inCrop, isEmpty, union } from "./box.js";
import { History } from "./history.js";
import { Mask } from "./mask.js";

export class Editor {
  // tell(box): what of the image changed, or null when only the live region's clicks did.
  constructor(height, width, pixels, tell) {
    this.mask = new Mask(height, width, pixels);
    this.live = null; // {klass, start: crop | null, clicks: [[row, column, positive]], crop, version, proposed}
    this.history = new History();
    this.clicks = 0;
    this.corrections = 0;
    this.touched = false;
    this.tell = tell;
  }

  // What the image shows at a pixel: the live region over the mask.
  at(row, column) {
    return inCrop(this.live?.crop, row, column) ? this.live.klass : this.mask.at(row, column);
  }

  composite() {
    if (!this.live || isEmpty(this.live.crop)) return this.mask;
    const all = this.mask.copy();
    all.paint(this.live.crop, this.live.klass);
    return all;
  }

  get isClean() {
    return this.composite().pixels.every((value) => value === 0);
  }

  // Change mask and live region by `work(mask)`, which returns the new live region, as one step.
  step(work, { correction = true } = {}) {
    const before = this.mask.copy(), live = this.live;
    this.live = work(this.mask);
    this.record(before, live, correction);
  }

  // Returns whether there was a step to record.
  record(before, live, correction) {
    const box = this.mask.difference(before);
    if (isEmpty(box) && live === this.live) return false;
    this.history.push({ box, before: before.read(box), after: this.mask.read(box), from: live, to: this.live });
    if (correction) this.corrections++;
    this.#changed(box, live);
    return true;
  }

  #changed(box, live) {
    this.touched = true;
    this.tell(union(union(box, live?.crop), this.live?.crop));
  }

  undo() {
    const step = this.history.undo();
    if (step) this.#goTo(step, step.before, step.from);
    return Boolean(step);
  }

  redo() {
    const step = this.history.redo();
    if (step) this.#goTo(step, step.after, step.to);
    return Boolean(step);
  }

  #goTo(step, values, live) {
    const was = this.live;
    if (!isEmpty(step.box)) this.mask.write(step.box, values);
    this.live = live;
    this.corrections++;
    this.#changed(step.box, was);
  }

  // The live region takes its pixels over and is live no more.
  finish() {
    if (!this.live) return;
    this.step((mask) => this.#settle(mask), { correction: false });
  }

  #settle(mask) {
    if (this.live && !isEmpty(this.live.crop)) mask.paint(this.live.crop, this.live.klass);
    return null;
  }

  // Paint crops with a class (0 erases); the live region is finished first.
  paint(crops, klass) {
    this.step((mask) => {
      this.#settle(mask);
      for (const crop of crops) mask.paint(crop, klass);
      return null;
    });
  }

  // A stroke is shown while it is drawn and recorded once, when it ends.
  beginStroke() {
    const before = this.mask.copy(), live = this.live;
    this.live = this.#settle(this.mask);
    return {
      dab: (crop, klass) => {
        this.mask.paint(crop, klass);
        this.#changed(crop, live);
      },
      end: () => this.record(before, live, true),
    };
  }

  // The region under a pixel becomes the live one. Returns false where there is none.
  grab(row, column) {
    if (inCrop(this.live?.crop, row, column)) return true;
    const klass = this.at(row, column);
    if (!klass) return false;
    this.step((mask) => {
      this.#settle(mask);
      return this.lifted(mask, row, column);
    });
    return true;
  }

  // A live region of the mask's region at a pixel, which leaves the mask.
  lifted(mask, row, column) {
    const klass = mask.at(row, column), crop = mask.regionAt(row, column);
    mask.paint(crop, 0);
    return { klass, start: crop, clicks: [], crop, version: "", proposed: [] };
  }

  remove(row, column) {
    if (inCrop(this.live?.crop, row, column)) {
      this.step(() => null);
      return true;
    }
    if (!this.mask.at(row, column)) return false;
    this.step((mask) => (mask.paint(mask.regionAt(row, column), 0), this.live));
    return true;
  }

  recolour(row, column, klass) {
    if (inCrop(this.live?.crop, row, column)) return this.recolourLive(klass);
    const known = this.mask.at(row, column);
    if (!known || known === klass) return false;
    this.step((mask) => (mask.paint(mask.regionAt(row, column), klass), this.live));
    return true;
  }

  recolourLive(klass) {
    if (!this.live || this.live.klass === klass) return false;
    this.step(() => ({ ...this.live, klass }));
    return true;
  }

  clear() {
    this.step((mask) => (mask.pixels.fill(0), null));
  }

  replace(pixels, { correction = false } = {}) {
    this.step((mask) => (mask.pixels.set(pixels), null), { correction });
  }

  cost() {
    return { clicks: this.clicks, corrections: this.corrections };
  }
}
