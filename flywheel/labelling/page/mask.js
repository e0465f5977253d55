// The index mask of one image: 0 background, 1..K classes, 255 unclear. A pixel has one class, so nothing overlaps.

import { EMPTY } from "./box.js";

export const IGNORE = 255;

export class Mask {
  constructor(height, width, pixels = new Uint8Array(height * width)) {
    this.height = height;
    this.width = width;
    this.pixels = pixels;
  }

  copy() {
    return new Mask(this.height, this.width, this.pixels.slice());
  }

  has(row, column) {
    return row >= 0 && column >= 0 && row < this.height && column < this.width;
  }

  at(row, column) {
    return this.pixels[row * this.width + column];
  }

  // Pixels of the crop's region take the class; `klass` 0 erases.
  paint(crop, klass) {
    for (let r = 0; r < crop.height; r++) {
      const to = (crop.top + r) * this.width + crop.left, from = r * crop.width;
      for (let c = 0; c < crop.width; c++) if (crop.bits[from + c]) this.pixels[to + c] = klass;
    }
  }

  read(box) {
    const values = new Uint8Array(box.height * box.width);
    for (let r = 0; r < box.height; r++) {
      const from = (box.top + r) * this.width + box.left;
      values.set(this.pixels.subarray(from, from + box.width), r * box.width);
    }
    return values;
  }

  write(box, values) {
    for (let r = 0; r < box.height; r++) {
      this.pixels.set(values.subarray(r * box.width, (r + 1) * box.width), (box.top + r) * this.width + box.left);
    }
  }

  // Smallest box around the pixels in which this mask differs from `other`.
  difference(other) {
    let top = -1, bottom = -1, left = this.width, right = -1;
    for (let r = 0; r < this.height; r++) {
      const start = r * this.width;
      let first = 0;
      while (first < this.width && this.pixels[start + first] === other.pixels[start + first]) first++;
      if (first === this.width) continue;
      let last = this.width - 1;
      while (this.pixels[start + last] === other.pixels[start + last]) last--;
      if (top < 0) top = r;
      bottom = r;
      left = Math.min(left, first);
      right = Math.max(right, last);
    }
    return top < 0 ? EMPTY : { top, left, height: bottom - top + 1, width: right - left + 1 };
  }

  // The connected pixels (8 neighbours) of the same class around a pixel, as a crop.
  regionAt(row, column) {
    const { width, height, pixels } = this;
    const klass = this.at(row, column), seen = new Uint8Array(pixels.length), stack = [row * width + column];
    let top = row, bottom = row, left = column, right = column;
    seen[stack[0]] = 1;
    while (stack.length) {
      const at = stack.pop(), r = (at / width) | 0, c = at - r * width;
      top = Math.min(top, r), bottom = Math.max(bottom, r), left = Math.min(left, c), right = Math.max(right, c);
      for (let dr = -1; dr <= 1; dr++) for (let dc = -1; dc <= 1; dc++) {
        const next = at + dr * width + dc;
        if (c + dc < 0 || c + dc >= width || r + dr < 0 || r + dr >= height) continue;
        if (!seen[next] && pixels[next] === klass) seen[next] = 1, stack.push(next);
      }
    }
    const box = { top, left, height: bottom - top + 1, width: right - left + 1 };
    return { ...box, bits: new Mask(height, width, seen).read(box) };
  }

  counts() {
    const counts = new Uint32Array(256);
    for (const value of this.pixels) counts[value]++;
    return counts;
  }
}
