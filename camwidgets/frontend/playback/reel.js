// Maps over epochs as the kernel packed them: which bytes are whose, and their values. Pure arithmetic.
import { upsample } from "../fusion.js";
import { contour } from "../painting.js";

/** epochs rising; the epoch, or the last before it, or the first: its place in the list. */
export function lastBefore(epochs, epoch) {
  let at = 0;
  for (let i = 0; i < epochs.length; i++) if (epochs[i] <= epoch) at = i;
  return at;
}

/** Bytes of one map → values in 0 … 1 of `top`; top 0 = of its own maximum. scale: the value of 255. */
export function levels(bytes, scale, top) {
  const out = new Float32Array(bytes.length);
  let most = 0;
  for (let i = 0; i < bytes.length; i++) if (bytes[i] > most) most = bytes[i];
  const gain = top > 0 ? scale / (255 * top) : most > 0 ? 1 / most : 0;
  for (let i = 0; i < bytes.length; i++) out[i] = Math.min(1, bytes[i] * gain);
  return out;
}

/** One layer of one picture of one run. words: {name, height, width, at, epochs, scales, inside} */
export class Film {
  constructor(words, bytes, classes) {
    Object.assign(this, words);
    this.bytes = bytes;
    this.classes = classes;
    this.top = Math.max(...words.scales, 0);
  }

  /** The shot of an epoch: where it is in the list, and whether it is that epoch's. None before the first. */
  shot(epoch) {
    if (!this.epochs.length || epoch < this.epochs[0]) return null;
    const at = lastBefore(this.epochs, epoch);
    return { at, epoch: this.epochs[at] };
  }

  raw(at, place) {
    const size = this.height * this.width, from = this.at + (at * this.classes + place) * size;
    return this.bytes.subarray(from, from + size);
  }

  /** In 0 … 1 of the film's range, or of the map's own maximum. */
  levels(at, place, own) { return levels(this.raw(at, place), this.scales[at], own ? 0 : this.top); }

  /** The value of the run there (to 8 bits); x and y in pixels of a picture of H×W. */
  value(at, place, x, y, H, W) {
    const row = Math.floor((y * this.height) / H), column = Math.floor((x * this.width) / W);
    return (this.raw(at, place)[row * this.width + column] * this.scales[at]) / 255;
  }

  most(at, place) {
    let most = 0;
    for (const value of this.raw(at, place)) if (value > most) most = value;
    return (most * this.scales[at]) / 255;
  }

  large(at, place, own, H, W) { return upsample(this.levels(at, place, own), this.height, this.width, H, W); }
}

/** Blanked where the map is: two greys in stripes, which no picture has. Nearest, for what was dropped was whole. */
export function blanked(out, picture, film, at, H, W, places) {
  let gone = 0;
  const maps = places.map((place) => film.raw(at, place)), gain = film.scales[at] / 255;
  for (let y = 0, p = 0, q = 0; y < H; y++) {
    const row = Math.floor((y * film.height) / H) * film.width;
    for (let x = 0; x < W; x++, p += 3, q += 4) {
      const from = row + Math.floor((x * film.width) / W);
      let share = 0;
      for (const map of maps) share = Math.max(share, Math.min(1, map[from] * gain));
      const grey = ((x + y) * 64) / W % 4 < 2 ? 112 : 144;
      gone += share;
      for (let c = 0; c < 3; c++) out[q + c] = (1 - share) * picture[p + c] + share * grey;
      out[q + 3] = 255;
    }
  }
  return gone / (H * W);
}

/** The outline of a class in a mask (c + 1), as segments in pixels. */
export function outline(mask, index, H, W) {
  return contour(Float32Array.from(mask, (value) => (value === index + 1 ? 1 : 0)), H, W, 0.5);
}
