// The image on the stage: fetched once, shown in a contrast mode.

import { shown } from "./contrast.js";

export class Picture {
  static async load(sample) {
    const answer = await fetch(`/api/samples/${sample}/image`, { credentials: "same-origin" });
    if (!answer.ok) throw new Error(`image ${sample}: status ${answer.status}`);
    const bitmap = await createImageBitmap(await answer.blob(), { colorSpaceConversion: "none" });
    return new Picture(bitmap);
  }

  constructor(bitmap) {
    this.width = bitmap.width;
    this.height = bitmap.height;
    this.canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
    this.context = this.canvas.getContext("2d", { willReadFrequently: true });
    this.context.drawImage(bitmap, 0, 0);
    this.original = this.context.getImageData(0, 0, bitmap.width, bitmap.height).data;
    this.mode = "plain";
  }

  show(mode) {
    if (mode === this.mode) return;
    this.context.putImageData(shown(this.original, this.width, this.height, mode), 0, 0);
    this.mode = mode;
  }

  at(row, column) {
    const at = 4 * (row * this.width + column);
    return [...this.original.subarray(at, at + 3)];
  }
}
