// One cell's pixels: colours over the picture, or the strongest pixels cut out. Arithmetic, and one canvas to another.
import { upsample } from "../fusion.js";
import { blend, floatsOf } from "../painting.js";

const DIM = 0.2; // what is left of the light outside a cut-out

/** Place of each pixel in the order of the map, 0 = the strongest; equal values in reading order. */
export function ranked(map) {
  const order = Uint32Array.from(map, (_, i) => i).sort((a, b) => map[b] - map[a] || a - b), ranks = new Uint32Array(map.length);
  order.forEach((pixel, rank) => { ranks[pixel] = rank; });
  return ranks;
}

/** RGB bytes blurred by three box means, which is nearly a Gaussian; edges are held. */
export function blurred(picture, width, height, radius) {
  let from = Float32Array.from(picture), to = new Float32Array(picture.length);
  for (let pass = 0; pass < 3; pass++) {
    boxMean(from, to, height, width, 3 * width, 3, radius);
    boxMean(to, from, width, height, 3, 3 * width, radius);
  }
  return Uint8ClampedArray.from(from);
}

function boxMean(from, to, lines, length, lineStep, step, radius) {
  const at = (line, i, c) => line * lineStep + Math.min(length - 1, Math.max(0, i)) * step + c;
  for (let line = 0; line < lines; line++) {
    for (let c = 0; c < 3; c++) {
      let sum = 0;
      for (let i = -radius; i <= radius; i++) sum += from[at(line, i, c)];
      for (let i = 0; i < length; i++) {
        to[at(line, i, c)] = sum / (2 * radius + 1);
        sum += from[at(line, i + radius + 1, c)] - from[at(line, i - radius, c)];
      }
    }
  }
}

/** Pixels that are kept show the picture, all others `rest` (RGB bytes); `ranks` has the input's size. */
export function cutOut(out, ground, ranks, keep, rest) {
  const { picture, width, height, input } = ground;
  for (let y = 0, p = 0, q = 0; y < height; y++) {
    const row = Math.floor((y * input.height) / height) * input.width;
    for (let x = 0; x < width; x++, p += 3, q += 4) {
      const from = ranks[row + Math.floor((x * input.width) / width)] < keep ? picture : rest;
      out[q] = from[p];
      out[q + 1] = from[p + 1];
      out[q + 2] = from[p + 2];
      out[q + 3] = 255;
    }
  }
  return out;
}

/** The picture of one ground in the forms that cells draw it in. */
export class Ground {
  constructor(scene, picture) {
    this.id = scene.id;
    this.picture = picture;
    this.width = scene.picture.width;
    this.height = scene.picture.height;
    this.input = scene.input;
    this.rests = {};
  }

  rest(kind) {
    if (!this.rests[kind]) {
      this.rests[kind] = kind === "dim" ? Uint8ClampedArray.from(this.picture, (value) => DIM * value)
        : blurred(this.picture, this.width, this.height, Math.max(1, Math.round(Math.max(this.width, this.height) / 28)));
    }
    return this.rests[kind];
  }
}

/** A map and its pixels; composed only when something that they depend on has changed. */
export class Layer {
  constructor() {
    this.sheet = document.createElement("canvas");
    this.key = this.mapKey = "";
  }

  /** map: {number, height, width} and bytes, or null for the picture alone. */
  load(ground, map, bytes) {
    const key = `${ground.id} ${map ? map.number : ""}`;
    if (key === this.mapKey) return;
    this.mapKey = key;
    this.ground = ground;
    this.map = map ? floatsOf(bytes) : null;
    this.large = this.ranks = null;
  }

  /** look: {opacity, byValue, colormap, table, cut, share, rest} */
  compose(look) {
    const { ground } = this, { width, height } = ground;
    const key = this.map ? [this.mapKey, look.opacity, look.byValue, look.colormap, look.cut, look.share, look.rest].join() : this.mapKey;
    if (key === this.key) return false;
    this.key = key;
    if (this.sheet.width !== width || this.sheet.height !== height) Object.assign(this.sheet, { width, height });
    const context = this.sheet.getContext("2d"), pixels = context.createImageData(width, height);
    if (!this.map) cutOut(pixels.data, ground, NOTHING, 1, ground.picture);
    else if (look.cut) cutOut(pixels.data, ground, this.rank(), this.keep(look.share), ground.rest(look.rest));
    else blend(pixels.data, ground.picture, this.enlarged(), look.table, look.opacity, look.byValue);
    context.putImageData(pixels, 0, 0);
    return true;
  }

  keep(share) { return Math.round(share * this.map.length); }

  rank() { return (this.ranks = this.ranks || ranked(this.map)); }

  enlarged() {
    const { ground } = this, { width, height } = ground.input;
    this.large = this.large || upsample(this.map, height, width, ground.height, ground.width);
    return this.large;
  }

  value(point) { return this.map && point ? this.map[point.y * this.ground.input.width + point.x] : null; }

  /** Draws the seen part of the sheet over the whole canvas. */
  show(canvas, seen) {
    const { width, height } = this.sheet;
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.imageSmoothingEnabled = seen.zoom > 1;
    context.drawImage(this.sheet, seen.left * width, seen.top * height, seen.side * width, seen.side * height, 0, 0, width, height);
  }
}

const NOTHING = [];
