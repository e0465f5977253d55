// Masks as run lengths [value, length, ...] in row order; the server's side is runs.py.

export function toRuns(pixels) {
  const runs = [];
  let start = 0;
  for (let at = 1; at <= pixels.length; at++) {
    if (at === pixels.length || pixels[at] !== pixels[start]) {
      runs.push(pixels[start], at - start);
      start = at;
    }
  }
  return runs;
}

export function fromRuns(runs, length) {
  const pixels = new Uint8Array(length);
  let at = 0;
  for (let i = 0; i < runs.length; i += 2) {
    if (runs[i]) pixels.fill(runs[i], at, at + runs[i + 1]);
    at += runs[i + 1];
  }
  return pixels;
}
