// Boxes {top, left, height, width} in image px, and crops: a box with its bits (1 inside the region).

export const EMPTY = Object.freeze({ top: 0, left: 0, height: 0, width: 0 });

export const isEmpty = (box) => !box || box.height <= 0 || box.width <= 0;

export function union(one, other) {
  if (isEmpty(one)) return other ?? EMPTY;
  if (isEmpty(other)) return one;
  const top = Math.min(one.top, other.top), left = Math.min(one.left, other.left);
  const bottom = Math.max(one.top + one.height, other.top + other.height);
  const right = Math.max(one.left + one.width, other.left + other.width);
  return { top, left, height: bottom - top, width: right - left };
}

export function grown(box, by, height, width) {
  const top = Math.max(0, box.top - by), left = Math.max(0, box.left - by);
  const bottom = Math.min(height, box.top + box.height + by), right = Math.min(width, box.left + box.width + by);
  return { top, left, height: Math.max(0, bottom - top), width: Math.max(0, right - left) };
}

export function inCrop(crop, row, column) {
  if (isEmpty(crop)) return false;
  const r = row - crop.top, c = column - crop.left;
  return r >= 0 && c >= 0 && r < crop.height && c < crop.width && crop.bits[r * crop.width + c] > 0;
}

// The crop with the pixels of `patch` (a crop of its own box) in place of its own.
export function patched(crop, patch) {
  if (isEmpty(patch)) return crop;
  const box = union(crop, patch);
  const bits = new Uint8Array(box.height * box.width);
  for (const part of [crop, patch]) {
    if (isEmpty(part)) continue;
    for (let r = 0; r < part.height; r++) {
      const from = r * part.width;
      bits.set(part.bits.subarray(from, from + part.width), (r + part.top - box.top) * box.width + part.left - box.left);
    }
  }
  return { ...box, bits };
}
