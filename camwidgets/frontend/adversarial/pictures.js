// What the eye compares: clean, attacked and perturbation; what they are taken for; stage maps clean above attacked.
import { upsample } from "../fusion.js";
import { h, say, segmented, sharePercent } from "../controls.js";
import { bytesOf, drawBlend } from "../painting.js";

const THUMB = 112; // pixels that a map is drawn in, about

/** RGB bytes of one of several pictures onto a canvas. */
export function drawRgb(canvas, bytes, at, width, height) {
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d", { willReadFrequently: true }), pixels = context.createImageData(width, height);
  for (let i = 0, p = 3 * width * height * at, q = 0; i < width * height; i++, p += 3, q += 4) {
    pixels.data[q] = bytes[p];
    pixels.data[q + 1] = bytes[p + 1];
    pixels.data[q + 2] = bytes[p + 2];
    pixels.data[q + 3] = 255;
  }
  context.putImageData(pixels, 0, 0);
}

function picture(name) {
  const canvas = h("canvas", { class: "cw-adv-canvas", width: 8, height: 8, role: "img", "aria-label": name });
  const head = h("b", {}, name), words = h("span", { class: "cw-adv-under" }), note = h("span", { class: "cw-adv-under cw-muted" });
  return { canvas, head, words, note, node: h("figure", { class: "cw-adv-picture" }, canvas, h("figcaption", {}, head, words, note)) };
}

/** Clean, attacked, perturbation, and the classes at this ε. */
export function picturesPart() {
  const clean = picture("clean"), attacked = picture("attacked"), noise = picture("perturbation"), bars = predictions();
  const node = h("section", { class: "cw-adv-pictures", "aria-label": "Pictures" }, clean.node, attacked.node, noise.node, bars.node);
  return {
    node,
    draw(data, i) {
      const { sweep } = data, { width, height } = sweep, here = sweep.frames[i], first = sweep.frames[0];
      if (data.fresh) drawRgb(clean.canvas, data.attacked, 0, width, height);
      drawRgb(attacked.canvas, data.attacked, i, width, height);
      drawRgb(noise.canvas, data.noise, i, width, height);
      say(clean.words, `${first.top[0].label} ${sharePercent(first.top[0].p)}`);
      say(attacked.words, `${here.top[0].label} ${sharePercent(here.top[0].p)}`);
      attacked.words.classList.toggle("cw-flipped", here.success);
      say(attacked.note, !i ? "no attack" : here.seen ? "" : "in 8 bits the same as the clean one");
      say(noise.words, i ? `× ${Number(here.factor.toPrecision(2))}` : "none");
      say(noise.note, i ? `grey: 0, ends: ±${Number((255 * here.most).toPrecision(2))}/255` : "grey: 0");
      bars.draw(sweep, here);
    },
  };
}

/** The five likeliest, and the true and the wrong class where they are not among them. */
function predictions() {
  const rows = Array.from({ length: 7 }, () => {
    const bar = h("i", { class: "cw-adv-bar" }), label = h("span", { class: "cw-label" }), number = h("span", { class: "cw-number" });
    return { bar, label, number, node: h("li", { class: "cw-adv-class" }, bar, label, number) };
  });
  const node = h("div", { class: "cw-adv-classes" }, h("p", { class: "cw-adv-title" }, "Taken for"), h("ol", {}, ...rows.map((row) => row.node)),
    h("p", { class: "cw-adv-legend" }, h("i", { "data-of": "true" }), "true class", h("i", { "data-of": "wrong" }), "wrong class"));
  return {
    node,
    draw(sweep, here) {
      const listed = here.top.map((one) => ({ ...one })), { true: own, wrong } = sweep;
      for (const [of, p] of [[own, here.true], [wrong, here.wrong]]) {
        if (!listed.some(({ index }) => index === of.index)) listed.push({ ...of, p, below: true });
      }
      rows.forEach((row, i) => {
        const one = listed[i];
        row.node.style.visibility = one ? "visible" : "hidden";
        if (!one) return;
        row.node.dataset.of = one.index === own.index ? "true" : one.index === wrong.index ? "wrong" : "other";
        row.node.classList.toggle("cw-below", Boolean(one.below));
        row.node.title = `${one.label}: ${one.p.toPrecision(3)} · class ${one.index}`;
        row.bar.style.width = `${Math.max(0.5, 100 * one.p)}%`;
        say(row.label, one.label);
        say(row.number, sharePercent(one.p));
      });
    },
  };
}

/** Pictures in fewer pixels: boxes of f×f averaged. */
function reduced(bytes, at, width, height, f) {
  const w = Math.floor(width / f), hh = Math.floor(height / f), out = new Uint8ClampedArray(3 * w * hh), from = 3 * width * height * at;
  for (let y = 0, q = 0; y < hh; y++) {
    for (let x = 0; x < w; x++) {
      for (let c = 0; c < 3; c++, q++) {
        let sum = 0;
        for (let dy = 0; dy < f; dy++) for (let dx = 0; dx < f; dx++) sum += bytes[from + 3 * ((y * f + dy) * width + x * f + dx) + c];
        out[q] = sum / (f * f);
      }
    }
  }
  return out;
}

/** A sweep with its bytes, and small copies of its pictures made when they are needed. */
export class SweepData {
  constructor(sweep, get) {
    this.sweep = sweep;
    this.attacked = bytesOf(get("_attacked"));
    this.noise = bytesOf(get("_noise"));
    this.maps = bytesOf(get("_maps"));
    this.responses = bytesOf(get("_responses"));
    this.f = Math.max(1, Math.round(sweep.height / THUMB));
    this.width = Math.floor(sweep.width / this.f);
    this.height = Math.floor(sweep.height / this.f);
    this.small = new Map();
    this.fresh = true;
    this.each = sweep.stages.reduce((sum, one) => sum + one.width * one.height, 0); // bytes of one class at one ε
  }

  picture(i) {
    if (!this.small.has(i)) this.small.set(i, reduced(this.attacked, i, this.sweep.width, this.sweep.height, this.f));
    return this.small.get(i);
  }

  /** h×w values in 0 … 1 at a place of some bytes, enlarged to the small picture's size. */
  enlarged(bytes, start, height, width) {
    return upsample(Float32Array.from(bytes.subarray(start, start + height * width), (v) => v / 255), height, width, this.height, this.width);
  }

  map(of, i, stage) {
    const { stages, frames } = this.sweep, at = ["true", "wrong", "top"].indexOf(of) * frames.length + i;
    const before = stages.slice(0, stage).reduce((sum, one) => sum + one.width * one.height, 0);
    return this.enlarged(this.maps, at * this.each + before, stages[stage].height, stages[stage].width);
  }

  paint(canvas, i, map, look) { drawBlend(canvas, this.picture(i), this.width, this.height, map, look.table, look.opacity, true); }
}

export function mapsPart(act) {
  const of = segmented("Class of the maps", [
    { value: "true", text: "true class", describe: "where the true class is seen" },
    { value: "wrong", text: "wrong class", describe: "where the wrong class is seen" },
    { value: "top", text: "top class", describe: "where the class is seen that the picture is taken for, clean and attacked" },
  ], (value) => act.put({ maps_of: value }));
  const grid = h("div", { class: "cw-adv-grid" }), told = h("span", { class: "cw-muted cw-adv-told" });
  const node = h("section", { class: "cw-adv-part", "aria-label": "Stage maps" },
    h("header", { class: "cw-adv-part-head" }, h("h3", {}, "Where it is seen, stage by stage"), told, of.node), grid);
  let cells = [], drawn = ["", ""];
  return {
    node,
    load({ sweep }) {
      drawn = ["", ""];
      cells = ["clean", "attacked"].map((row) => sweep.stages.map(({ name, width, height }) => {
        const canvas = h("canvas", { class: "cw-adv-canvas", width: 8, height: 8, role: "img", "aria-label": `${name}, ${row}`, title: `${name}: ${height} × ${width}, ${row}` });
        const words = h("span", { class: "cw-adv-under cw-muted" });
        return { canvas, words, node: h("figure", {}, canvas, words) };
      }));
      grid.style.gridTemplateColumns = `auto repeat(${sweep.stages.length}, minmax(0, 1fr))`;
      grid.replaceChildren(h("span"), ...sweep.stages.map(({ name, width, height }) => h("span", { class: "cw-adv-stage" }, h("b", {}, name), ` ${height} × ${width}`)),
        ...["clean", "attacked"].flatMap((row, r) => [h("span", { class: "cw-adv-row" }, row), ...cells[r].map((cell) => cell.node)]));
    },
    draw(data, i, which, look) {
      of.set(which);
      const { sweep } = data, here = sweep.frames[i].top[0].label, first = sweep.frames[0].top[0].label;
      say(told, which === "top" ? `${first} above, ${here} below` : sweep[which].label);
      [0, i].forEach((at, r) => {
        const key = [sweep.id, which, at, look.name, look.opacity].join();
        if (key === drawn[r]) return;
        drawn[r] = key;
        cells[r].forEach(({ canvas, words }, s) => {
          data.paint(canvas, at, data.map(which, at, s), look);
          say(words, `max ${Number(sweep.most[which][at][s].toPrecision(2))}`);
        });
      });
    },
  };
}
