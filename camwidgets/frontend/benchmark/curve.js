// A result that has a value a step (a group of layers, say): one line a method, its name at the line's end. SVG, no library.
import { h, show } from "../controls.js";
import { mark, ticks } from "./marks.js";

const CURVE = { height: 232, top: 12, foot: 32, left: 44, label: 16 };
const DASHES = ["", "6 3", "2 3", "8 3 2 3"], SHAPES = ["M-4,0a4,4 0 1,0 8,0a4,4 0 1,0 -8,0", "M-4,-4h8v8h-8z", "M0,-5l5,5l-5,5l-5,-5z", "M0,-5l5,9h-10z"];

/** Places of labels, at least `gap` apart, as near to what is wanted as can be, in their order, within from … to. */
export function spread(wanted, gap, from, to) {
  const order = wanted.map((_, i) => i).sort((a, b) => wanted[a] - wanted[b]), found = [...wanted];
  order.forEach((i, n) => { found[i] = Math.max(found[i], n ? found[order[n - 1]] + gap : from); });
  for (let n = order.length - 1; n >= 0; n -= 1) found[order[n]] = Math.min(found[order[n]], n === order.length - 1 ? to : found[order[n + 1]] - gap);
  return found;
}

export function curvePart() {
  const drawing = mark("svg", { class: "cw-dots", role: "img" }), node = h("div", { class: "cw-curves" }, drawing);
  return {
    node,
    draw(curve, width) {
      show(node, curve.length > 0);
      if (!curve.length) return drawing.replaceChildren();
      const height = Math.max(CURVE.height, CURVE.top + CURVE.foot + CURVE.label * curve.length), names = Math.min(184, 0.32 * width), foot = height - CURVE.foot, right = width - names;
      drawing.setAttribute("viewBox", `0 0 ${width} ${height}`);
      drawing.setAttribute("height", height);
      drawing.setAttribute("aria-label", curve.map(({ method, steps, value }) => `${method}: ${steps.map((step, i) => `${step} ${value[i].toFixed(2)}`).join(", ")}`).join("; "));
      const all = curve.flatMap(({ value, low, high }) => [...value, ...low, ...high]), marks = ticks(Math.min(0, ...all), Math.max(...all), 8), steps = curve[0].steps;
      const [least, most] = [marks[0], marks[marks.length - 1]];
      const x = (i) => CURVE.left + 8 + ((right - CURVE.left - 24) * (steps.length > 1 ? i / (steps.length - 1) : 0.5)), y = (value) => foot - ((foot - CURVE.top) * (value - least)) / (most - least || 1);
      const places = spread(curve.map(({ value }) => y(value[value.length - 1])), CURVE.label, CURVE.top, foot);
      return drawing.replaceChildren(
        ...marks.flatMap((value) => [mark("line", { class: "cw-dots-grid", x1: CURVE.left, x2: right - 8, y1: y(value), y2: y(value) }),
          mark("text", { class: "cw-dots-tick", x: CURVE.left - 8, y: y(value) + 4, "text-anchor": "end" }, String(value).replace("-", "−"))]),
        ...steps.map((step, i) => mark("text", { class: "cw-dots-tick", x: x(i), y: foot + 20, "text-anchor": "middle" }, step)),
        ...curve.map((one, n) => line(one, n, x, y, right, places[n], Math.floor((names - 16) / 7))));
    },
  };
  function line({ method, steps, value, low, high }, n, x, y, right, place, most) {
    const last = value.length - 1, short = method.length > most ? `${method.slice(0, most - 1)}…` : method;
    return mark("g", { class: "cw-curve", "data-method": method }, mark("title", {}, method),
      ...value.map((_, i) => mark("line", { class: "cw-curve-range", x1: x(i), x2: x(i), y1: y(low[i]), y2: y(high[i]) })),
      mark("path", { class: "cw-curve-line", d: value.map((one, i) => `${i ? "L" : "M"}${x(i)},${y(one)}`).join(""), "stroke-dasharray": DASHES[n % DASHES.length] }),
      ...value.map((one, i) => mark("path", { class: "cw-curve-dot", d: SHAPES[n % SHAPES.length], transform: `translate(${x(i)},${y(one)})`, "data-step": steps[i], "data-value": one })),
      mark("path", { class: "cw-curve-leader", d: `M${x(last) + 6},${y(value[last])}L${right - 4},${place}` }),
      mark("text", { class: "cw-dots-name", x: right, y: place + 4 }, short));
  }
}
