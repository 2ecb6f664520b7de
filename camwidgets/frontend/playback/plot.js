// Metrics over epochs with a cursor: a click is an epoch. SVG, no library; runs differ by dash, metrics by colour and name.
import { h, say, show } from "../controls.js";

const SVG = "http://www.w3.org/2000/svg";
const LEFT = 40, RIGHT = 12, TOP = 8, FOOT = 20, HEIGHT = 152;

export function mark(tag, properties, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(properties)) if (value !== undefined) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

/** A number with three digits that count. */
export function brief(value) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  return (size >= 1000 || (size > 0 && size < 0.001) ? value.toExponential(1) : value.toFixed(size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3)).replace("-", "−");
}

/** A number beside the axis: without zeros behind the point that say nothing. */
export const axisNumber = (value) => brief(value).replace(/(\.\d*?)0+$/, "$1").replace(/\.$/, "");

/** The range of an axis: 0 … 1 for shares, else a little more than what there is, with 0 where that is near. */
export function span(values) {
  if (!values.length) return [0, 1];
  const least = Math.min(...values), most = Math.max(...values);
  if (least >= 0 && most <= 1 && most > 0.3) return [0, 1];
  if (least >= 0 && least < 0.5 * most) return [0, most];
  return least === most ? [least - 0.5, most + 0.5] : [least, most];
}

/** act: {put} */
export function metricPlot(title, act) {
  const drawing = mark("svg", { class: "cw-pb-plot", role: "img" }), legend = h("ul", { class: "cw-pb-plot-legend" }), note = h("p", { class: "cw-muted" });
  const cursor = mark("line", { class: "cw-pb-plot-cursor", y1: TOP, y2: HEIGHT - FOOT });
  const box = h("div", { class: "cw-pb-plot-box" }, drawing);
  const node = h("section", { class: "cw-pb-plot-part", "aria-label": title }, h("h3", {}, title), box, legend, note);
  let epochs = [], lines = [], rows = 0, x = () => 0, width = 0;
  box.addEventListener("pointerdown", (event) => { if (event.button === 0) { box.setPointerCapture(event.pointerId); go(event); } });
  box.addEventListener("pointermove", (event) => { if (event.buttons & 1) go(event); });
  function go(event) {
    if (!epochs.length) return;
    const at = event.clientX - drawing.getBoundingClientRect().left;
    act.put({ epoch: epochs.reduce((best, one) => (Math.abs(x(one) - at) < Math.abs(x(best) - at) ? one : best)) });
  }
  function grid(low, high, first, last) {
    const y = (value) => TOP + (HEIGHT - TOP - FOOT) * (1 - (value - low) / (high - low));
    const marks = [low, (low + high) / 2, high].flatMap((value) => [mark("line", { class: "cw-pb-plot-grid", x1: LEFT, x2: width - RIGHT, y1: y(value), y2: y(value) }),
      mark("text", { class: "cw-pb-plot-tick", x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, axisNumber(value))]);
    const ends = first === last ? [first] : [first, last];
    const feet = ends.map((epoch, i) => mark("text", { class: "cw-pb-plot-tick", x: x(epoch), y: HEIGHT - 4, "text-anchor": i ? "end" : "start" }, i ? `epoch ${epoch}` : String(epoch)));
    return { y, marks: [...marks, ...feet] };
  }
  return {
    node,
    /** runs: [{name, metrics}], names: which columns. shown: the epochs that can be gone to. */
    load(runs, names, shown) {
      epochs = shown;
      rows = runs.length;
      width = Math.max(240, box.clientWidth || 400);
      lines = runs.flatMap((run, r) => names.map((name, n) => ({ name, n, r, run: run.name, xs: run.metrics.epoch || [], ys: run.metrics[name] || [] }))).filter(({ ys }) => ys.length);
      const all = [...lines.flatMap(({ xs }) => xs), ...shown], first = Math.min(...all, 1), last = Math.max(...all, 1);
      x = (epoch) => LEFT + (width - LEFT - RIGHT) * (last === first ? 0.5 : (epoch - first) / (last - first));
      const [low, high] = span(lines.flatMap(({ ys }) => ys.filter((value) => value !== null)));
      const { y, marks } = grid(low, high, first, last);
      drawing.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
      drawing.setAttribute("height", HEIGHT);
      drawing.replaceChildren(...marks, cursor, ...lines.map((line) => one(line, x, y)));
      const known = runs.some(({ curves }) => curves.length > 0);
      say(note, names.length ? (lines.length ? "" : "No epoch is in the table yet.") : known ? "No metric is chosen." : "The first row comes with the end of the first epoch.");
      show(note, Boolean(note.textContent));
      const key = runs.length > 1 ? [h("li", { class: "cw-muted" }, runs.map(({ name }, r) => `${r ? "dashed" : "solid"}: ${name}`).join(", "))] : [];
      legend.replaceChildren(...names.filter((name) => lines.some((line) => line.name === name)).map((name, n) => h("li", { "data-metric": name },
        mark("svg", { class: "cw-pb-plot-mark", viewBox: "0 0 16 8" }, mark("path", { class: `cw-pb-plot-line cw-pb-plot-${names.indexOf(name) % 4}`, d: "M 0,4 H 16" })), name, h("b", {}))), ...key);
    },
    /** The cursor, and each line's value there. */
    at(epoch) {
      show(cursor, epochs.length > 0);
      cursor.setAttribute("x1", x(epoch));
      cursor.setAttribute("x2", x(epoch));
      const read = (name, run) => { const line = lines.find((one) => one.name === name && one.r === run); return brief(line && line.ys[line.xs.indexOf(epoch)]); };
      for (const item of legend.querySelectorAll("[data-metric]")) say(item.querySelector("b"), Array.from({ length: rows }, (_, run) => read(item.dataset.metric, run)).join(" | "));
      drawing.setAttribute("aria-label", `${title}: ${[...legend.querySelectorAll("[data-metric]")].map((item) => item.textContent).join(", ")} at epoch ${epoch}`);
    },
  };
}

function one({ name, n, r, run, xs, ys }, x, y) {
  const points = xs.map((epoch, i) => (ys[i] === null ? null : `${x(epoch).toFixed(1)},${y(ys[i]).toFixed(1)}`)).filter(Boolean);
  const kind = `cw-pb-plot-line cw-pb-plot-${n % 4}${r ? " cw-pb-plot-other" : ""}`;
  if (points.length === 1) return mark("circle", { class: `cw-pb-plot-dot cw-pb-plot-${n % 4}`, cx: points[0].split(",")[0], cy: points[0].split(",")[1], r: 3 });
  return mark("polyline", { class: kind, points: points.join(" "), "data-metric": name, "data-points": points.length }, mark("title", {}, `${name}, ${run}`));
}
