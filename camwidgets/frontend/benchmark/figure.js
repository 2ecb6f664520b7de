// One result: a dot and its 95 % interval for each method, best first. SVG, no library.
import { h, choice, say, show } from "../controls.js";
import { curvePart } from "./curve.js";
import { mark, ticks } from "./marks.js";
import { number } from "./table.js";

const ROW = 28, TOP = 8, FOOT = 32, NAMES = 184, VALUES = 64;

export function figurePart() {
  const select = choice("Result that is drawn", () => draw());
  const drawing = mark("svg", { class: "cw-dots", role: "img" }), words = h("p", { class: "cw-muted" }), curve = curvePart();
  const frame = h("div", { class: "cw-dots-frame" }, drawing);
  const node = h("section", { class: "cw-part cw-figure", "aria-label": "Figure" },
    h("header", { class: "cw-part-head" }, h("h3", {}, "One result"), select.node), frame, curve.node, words);
  let report = null;
  function lines(at) {
    const better = report.results[at].better;
    return report.rows.map(({ method, baseline, cells }) => ({ method, baseline, value: cells[at][0], low: cells[at][1], high: cells[at][2] }))
      .filter(({ value }) => value !== null).sort((a, b) => better * (b.value - a.value));
  }
  function draw() {
    if (!report || !report.results.length) return;
    const at = Math.max(0, report.results.findIndex(({ name }) => name === select.node.value)), about = report.results[at], rows = lines(at);
    const width = Math.max(320, frame.clientWidth || 640), height = TOP + ROW * Math.max(rows.length, 1) + FOOT;
    const names = Math.min(NAMES, 0.36 * width);
    drawing.setAttribute("viewBox", `0 0 ${width} ${height}`);
    drawing.setAttribute("height", height);
    drawing.setAttribute("aria-label", rows.map(({ method, value }) => `${method} ${number(value)}`).join(", "));
    const curved = about.curve || [], bars = rows.some(({ low }) => low !== null);
    curve.draw(curved, width);
    say(words, rows.length ? [`${about.title} ${about.arrow} (${about.unit}), ${about.better > 0 ? "more" : "less"} is better.`, bars ? "Line: 95 % interval over pictures." : "",
      "Hollow: baseline.", curved.length ? "Below: its value at each step." : ""].filter(Boolean).join(" ") : "No picture has a number for this result yet.");
    const all = rows.flatMap(({ value, low, high }) => [value, low ?? value, high ?? value]), marks = rows.length ? ticks(Math.min(...all), Math.max(...all)) : [];
    const from = marks[0], to = marks[marks.length - 1], span = width - names - VALUES - 16;
    const x = (value) => names + 8 + (span * (value - from)) / (to - from || 1);
    const foot = TOP + ROW * rows.length;
    drawing.replaceChildren(
      ...marks.flatMap((value) => [mark("line", { class: "cw-dots-grid", x1: x(value), x2: x(value), y1: TOP, y2: foot }),
        mark("text", { class: "cw-dots-tick", x: x(value), y: foot + 20, "text-anchor": "middle" }, String(value).replace("-", "−"))]),
      ...rows.map((row, i) => one(row, TOP + ROW * (i + 0.5), x, names, width)));
  }
  function one({ method, baseline, value, low, high }, y, x, names, width) {
    const most = Math.floor(names / 7), short = method.length > most ? `${method.slice(0, most - 1)}…` : method;
    const parts = [mark("text", { class: "cw-dots-name", x: names - 8, y: y + 4, "text-anchor": "end" }, mark("title", {}, method), short)];
    if (low !== null && high !== null) parts.push(mark("line", { class: "cw-dots-range", x1: x(low), x2: x(high), y1: y, y2: y }));
    parts.push(mark("circle", { class: baseline ? "cw-dots-dot cw-dots-hollow" : "cw-dots-dot", cx: x(value), cy: y, r: 5, "data-method": method, "data-value": value }),
      mark("text", { class: "cw-dots-value", x: width - 4, y: y + 4, "text-anchor": "end" }, number(value)));
    return mark("g", {}, ...parts);
  }
  return {
    node, redraw: draw,
    pick(name) { select.set(name); draw(); },
    draw(words) {
      const chosen = select.node.value;
      report = words;
      select.options(words.results.map(({ name, title, arrow }) => ({ value: name, text: `${name} ${arrow} · ${title}` })));
      if (words.results.some(({ name }) => name === chosen)) select.set(chosen);
      draw();
    },
  };
}
