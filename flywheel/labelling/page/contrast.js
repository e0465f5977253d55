// How the image is shown: as it is, stretched (darkest and brightest percent become black and white), or with uneven
// light and shade taken out, which brings faint defects up. The label is not touched by it.

export const MODES = ["plain", "stretched", "flat"];
const TAIL = 0.01; // of the pixels at either end that the stretch gives up
const WIDE = 24; // px, half the side of the surroundings that `flat` compares a pixel with
const GAIN = 48; // grey levels that one standard deviation gets in `flat`

export function shown(pixels, width, height, mode) {
  if (mode === "stretched") return stretched(pixels, width, height);
  if (mode === "flat") return flat(pixels, width, height);
  return new ImageData(new Uint8ClampedArray(pixels), width, height);
}

const grey = (pixels, at) => 0.299 * pixels[at] + 0.587 * pixels[at + 1] + 0.114 * pixels[at + 2];

function stretched(pixels, width, height) {
  const counts = new Uint32Array(256), total = width * height;
  for (let at = 0; at < pixels.length; at += 4) counts[Math.round(grey(pixels, at))]++;
  const level = (share) => {
    let sum = 0, value = 0;
    while (value < 255 && sum + counts[value] <= share * total) sum += counts[value++];
    return value;
  };
  const low = level(TAIL), high = Math.max(low + 1, level(1 - TAIL)), picture = new ImageData(width, height);
  for (let at = 0; at < pixels.length; at += 4) {
    for (let i = 0; i < 3; i++) picture.data[at + i] = (255 * (pixels[at + i] - low)) / (high - low);
    picture.data[at + 3] = 255;
  }
  return picture;
}

function flat(pixels, width, height) {
  const values = new Float32Array(width * height);
  for (let i = 0; i < values.length; i++) values[i] = grey(pixels, 4 * i);
  const mean = boxMean(values, width, height, WIDE), picture = new ImageData(width, height);
  let squares = 0;
  for (let i = 0; i < values.length; i++) squares += (values[i] - mean[i]) ** 2;
  const gain = GAIN / Math.max(1, Math.sqrt(squares / values.length));
  for (let i = 0; i < values.length; i++) {
    const value = 128 + gain * (values[i] - mean[i]);
    picture.data.fill(value, 4 * i, 4 * i + 3);
    picture.data[4 * i + 3] = 255;
  }
  return picture;
}

// Mean over squares, by running sums along rows and then columns.
function boxMean(values, width, height, reach) {
  const across = new Float32Array(values.length), mean = new Float32Array(values.length);
  run(values, across, width, 1, height, width, reach);
  run(across, mean, height, width, width, 1, reach);
  return mean;
}

function run(from, to, length, step, lines, lineStep, reach) {
  for (let line = 0; line < lines; line++) {
    const start = line * lineStep;
    let sum = 0, count = 0;
    for (let i = 0; i < Math.min(reach, length); i++) sum += from[start + i * step], count++;
    for (let i = 0; i < length; i++) {
      if (i + reach < length) sum += from[start + (i + reach) * step], count++;
      if (i - reach - 1 >= 0) sum -= from[start + (i - reach - 1) * step], count--;
      to[start + i * step] = sum / count;
    }
  }
}
