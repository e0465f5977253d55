// The image on the stage: fetched once, shown in a contrast mode.

import { ApiError } from "./api.js";
import { shown } from "./contrast.js";

export class Picture {
  static async load(sample) {
    let content;
    try {
      const answer = await fetch(`/api/samples/${sample}/image`, { credentials: "same-origin" });
      if (!answer.ok) throw new ApiError("failed", `image ${sample}: status ${answer.status}`, answer.status);
      content = await answer.blob();
    } catch (error) {
      throw error instanceof ApiError ? error : new ApiError("offline", String(error));
    }
    const bitmap = await createImageBitmap(content, { colorSpaceConversion: "none" });
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
