// Which pixels a brush, a polygon and a box cover: crops of the image, cut at its borders.

import { EMPTY } from "./box.js";

function clipped(top, left, bottom, right, mask) {
  top = Math.max(0, top), left = Math.max(0, left);
  bottom = Math.min(mask.height, bottom), right = Math.min(mask.width, right);
  if (bottom <= top || right <= left) return { ...EMPTY, bits: new Uint8Array(0) };
  const height = bottom - top, width = right - left;
  return { top, left, height, width, bits: new Uint8Array(height * width) };
}

// Disks of `diameter` px along the line between two points {x, y} (image px, not rounded).
export function stroke(mask, from, to, diameter) {
  const radius = Math.max(0.5, diameter / 2), reach = Math.ceil(radius) + 1;
  const crop = clipped(
    Math.floor(Math.min(from.y, to.y)) - reach, Math.floor(Math.min(from.x, to.x)) - reach,
    Math.ceil(Math.max(from.y, to.y)) + reach, Math.ceil(Math.max(from.x, to.x)) + reach, mask,
  );
  const dx = to.x - from.x, dy = to.y - from.y, length = dx * dx + dy * dy;
  for (let r = 0; r < crop.height; r++) for (let c = 0; c < crop.width; c++) {
    const x = crop.left + c + 0.5 - from.x, y = crop.top + r + 0.5 - from.y;
    const along = length ? Math.min(1, Math.max(0, (x * dx + y * dy) / length)) : 0;
    const far = (x - along * dx) ** 2 + (y - along * dy) ** 2;
    if (far <= radius * radius) crop.bits[r * crop.width + c] = 1;
  }
  if (diameter <= 1.5) dot(crop, to);
  return crop;
}

// A brush of one pixel always hits the pixel under the pointer.
function dot(crop, point) {
  const r = Math.floor(point.y) - crop.top, c = Math.floor(point.x) - crop.left;
  if (r >= 0 && c >= 0 && r < crop.height && c < crop.width) crop.bits[r * crop.width + c] = 1;
}

// Pixels whose centres lie inside the polygon (even-odd rule).
export function polygon(mask, points) {
  const xs = points.map((p) => p.x), ys = points.map((p) => p.y);
  const crop = clipped(
    Math.floor(Math.min(...ys)), Math.floor(Math.min(...xs)), Math.ceil(Math.max(...ys)), Math.ceil(Math.max(...xs)), mask,
  );
  for (let r = 0; r < crop.height; r++) {
    const y = crop.top + r + 0.5, crossings = [];
    for (let i = 0; i < points.length; i++) {
      const a = points[i], b = points[(i + 1) % points.length];
      if ((a.y <= y) !== (b.y <= y)) crossings.push(a.x + ((y - a.y) / (b.y - a.y)) * (b.x - a.x));
    }
    crossings.sort((a, b) => a - b);
    for (let i = 0; i + 1 < crossings.length; i += 2) {
      const first = Math.max(0, Math.ceil(crossings[i] - 0.5) - crop.left);
      const last = Math.min(crop.width, Math.ceil(crossings[i + 1] - 0.5) - crop.left);
      if (last > first) crop.bits.fill(1, r * crop.width + first, r * crop.width + last);
    }
  }
  return crop;
}

// All pixels that the box between two corners touches.
export function rectangle(mask, one, other) {
  const crop = clipped(
    Math.floor(Math.min(one.y, other.y)), Math.floor(Math.min(one.x, other.x)),
    Math.floor(Math.max(one.y, other.y)) + 1, Math.floor(Math.max(one.x, other.x)) + 1, mask,
  );
  crop.bits.fill(1);
  return crop;
}
