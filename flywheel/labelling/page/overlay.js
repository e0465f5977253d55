// The mask as a picture of the image's size: every region tinted in its class's colour, its border in full colour.

import { grown, inCrop, isEmpty } from "./box.js";
import { IGNORE } from "./mask.js";

const UNCLEAR = [150, 150, 150];

export const parse = (colour) => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));

export class Overlay {
  constructor(height, width) {
    this.canvas = new OffscreenCanvas(width, height);
    this.context = this.canvas.getContext("2d");
    this.colours = [];
    this.opacity = 0.4;
  }

  setClasses(classes) {
    this.colours = [];
    for (const { index, colour } of classes) this.colours[index] = parse(colour);
    this.colours[IGNORE] = UNCLEAR;
  }

  // Draw the pixels of a box anew.
  update(editor, box) {
    const { mask, live } = editor;
    const area = grown(box, 1, mask.height, mask.width);
    if (isEmpty(area)) return;
    const edged = grown(area, 1, mask.height, mask.width), around = mask.read(edged), lit = new Uint8Array(around.length);
    if (live && !isEmpty(live.crop)) this.#lay(live, edged, around, lit);
    const picture = new ImageData(area.width, area.height), inner = Math.round(255 * this.opacity);
    const value = (r, c) => {
      const row = Math.min(edged.height - 1, Math.max(0, r)), column = Math.min(edged.width - 1, Math.max(0, c));
      return around[row * edged.width + column];
    };
    for (let r = 0; r < area.height; r++) for (let c = 0; c < area.width; c++) {
      const row = r + area.top - edged.top, column = c + area.left - edged.left, here = value(row, column);
      if (!here) continue;
      const border = value(row - 1, column) !== here || value(row + 1, column) !== here ||
        value(row, column - 1) !== here || value(row, column + 1) !== here;
      const colour = this.colours[here] ?? UNCLEAR, at = 4 * (r * area.width + c);
      const white = lit[row * edged.width + column] && border ? 0.55 : 0; // the live region's border stands out
      for (let i = 0; i < 3; i++) picture.data[at + i] = colour[i] + (255 - colour[i]) * white;
      picture.data[at + 3] = border ? 255 : inner;
    }
    this.context.putImageData(picture, area.left, area.top);
  }

  #lay(live, box, values, lit) {
    const bottom = Math.min(box.top + box.height, live.crop.top + live.crop.height);
    const right = Math.min(box.left + box.width, live.crop.left + live.crop.width);
    for (let r = Math.max(box.top, live.crop.top); r < bottom; r++) {
      for (let c = Math.max(box.left, live.crop.left); c < right; c++) {
        if (!inCrop(live.crop, r, c)) continue;
        const at = (r - box.top) * box.width + c - box.left;
        values[at] = live.klass;
        lit[at] = 1;
      }
    }
  }

  // A crop alone, for the preview of a click.
  ghost({ crop, klass }) {
    const picture = new ImageData(crop.width, crop.height), colour = this.colours[klass] ?? UNCLEAR;
    for (let at = 0; at < crop.bits.length; at++) {
      if (!crop.bits[at]) continue;
      const r = (at / crop.width) | 0, c = at - r * crop.width;
      const border = !inCrop(crop, crop.top + r - 1, crop.left + c) || !inCrop(crop, crop.top + r + 1, crop.left + c) ||
        !inCrop(crop, crop.top + r, crop.left + c - 1) || !inCrop(crop, crop.top + r, crop.left + c + 1);
      picture.data.set([...colour, border ? 220 : 60], 4 * at);
    }
    const canvas = new OffscreenCanvas(crop.width, crop.height);
    canvas.getContext("2d").putImageData(picture, 0, 0);
    return canvas;
  }
}
