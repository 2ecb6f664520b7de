// Probabilities and peak responses over ε, with a cursor at the present one. A click goes there.
import { h, say, segmented } from "../controls.js";
import { epsText } from "./bar.js";

const SPACE = "http://www.w3.org/2000/svg";
const [W, H, LEFT, RIGHT, TOP, BOTTOM] = [440, 176, 40, 8, 10, 24];
const DASHES = ["", "7 3", "3 3", "9 3 2 3", "1 3", "12 3", "6 2 1 2 1 2", "2 6"];

export function svg(tag, properties = {}, ...children) {
  const node = document.createElementNS(SPACE, tag);
  for (const [name, value] of Object.entries(properties)) if (value !== null && value !== undefined) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

/** lines: [{of: "true" | "wrong", dash, values, out: [bool], name}] */
function plot(label, go) {
  const lines = svg("g"), axes = svg("g"), dots = svg("g"), cursor = svg("line", { class: "cw-adv-cursor", y1: TOP, y2: H - BOTTOM });
  const drawing = svg("svg", { viewBox: `0 0 ${W} ${H}`, class: "cw-adv-plot", role: "img", "aria-label": label }, axes, cursor, lines, dots);
  let count = 1, top = 1, shown = [];
  const x = (i) => LEFT + ((W - LEFT - RIGHT) * i) / Math.max(1, count - 1), y = (v) => H - BOTTOM - ((H - TOP - BOTTOM) * v) / top;
  drawing.addEventListener("pointerdown", (event) => {
    const box = drawing.getBoundingClientRect(), place = ((event.clientX - box.left) / box.width) * W;
    go(Math.max(0, Math.min(count - 1, Math.round(((place - LEFT) / (W - LEFT - RIGHT)) * (count - 1)))));
  });
  return {
    node: drawing,
    load(sweep, given, most, format) {
      shown = given;
      top = most;
      count = sweep.frames.length;
      const every = Math.ceil(count / 9), { norm } = sweep.asked;
      axes.replaceChildren(
        ...[0, 0.5, 1].flatMap((part) => [svg("line", { class: "cw-adv-axis", x1: LEFT, x2: W - RIGHT, y1: y(part * top), y2: y(part * top) }),
          svg("text", { x: LEFT - 6, y: y(part * top) + 4, "text-anchor": "end" }, format(part * top))]),
        ...sweep.frames.map(({ eps }, i) => (i % every ? "" : svg("text", { x: x(i), y: H - 8, "text-anchor": i ? "middle" : "start" }, i ? epsText(eps, norm, false) : "ε 0"))),
        sweep.flip === null ? "" : svg("line", { class: "cw-flip-line", x1: x(sweep.flip), x2: x(sweep.flip), y1: TOP, y2: H - BOTTOM }));
      lines.replaceChildren(...given.flatMap((one) => [
        svg("polyline", { points: one.values.map((v, i) => `${x(i).toFixed(1)},${y(v).toFixed(1)}`).join(" "), class: "cw-adv-line", "data-of": one.of, "stroke-dasharray": one.dash, "data-name": one.name }),
        ...one.values.map((v, i) => (one.out && one.out[i] ? svg("path", { d: `M ${x(i) - 3},${y(v) - 3} l 6,6 m 0,-6 l -6,6`, class: "cw-adv-out", "data-of": one.of }) : "")),
      ]));
    },
    draw(i) {
      cursor.setAttribute("x1", x(i));
      cursor.setAttribute("x2", x(i));
      dots.replaceChildren(...shown.map((one) => svg("circle", { cx: x(i), cy: y(one.values[i]), r: 4, class: "cw-adv-dot", "data-of": one.of })));
    },
  };
}

/** A sample of each line, its name, and its value here. */
function legend() {
  const node = h("ul", { class: "cw-adv-lines" });
  let values = [];
  return {
    node,
    load(lines) {
      values = lines.map(() => h("span", { class: "cw-number" }));
      node.replaceChildren(...lines.map((one, i) => h("li", { title: one.about || one.name },
        svg("svg", { viewBox: "0 0 24 8", class: "cw-adv-sample" }, svg("line", { x1: 0, x2: 24, y1: 4, y2: 4, class: "cw-adv-line", "data-of": one.of, "stroke-dasharray": one.dash })),
        h("span", { class: "cw-label" }, one.name), values[i])));
    },
    draw(lines, i) { lines.forEach((one, at) => say(values[at], one.format(one.values[i]) + (one.out && one.out[i] ? " ×" : ""))); },
  };
}

export function curvesPart(act) {
  const probability = plot("Probability of the true and the wrong class over ε", act.go), words = legend();
  const response = plot("Peak responses of the followed channels over ε", act.go), channels = legend();
  const chosen = segmented("Wrong class' channels chosen in", [
    { value: "attacked", text: "chosen in attacked", describe: "the wrong class' strongest channels of the picture attacked hardest: part of their rise is that choice" },
    { value: "clean", text: "in clean", describe: "the wrong class' strongest channels of the clean picture: chosen before the attack" },
  ], (value) => act.put({ chosen: value }));
  const title = h("h3", {}), note = h("p", { class: "cw-muted cw-adv-note" });
  const node = h("div", { class: "cw-adv-curves" },
    h("section", { class: "cw-adv-part", "aria-label": "Probability" }, h("header", { class: "cw-adv-part-head" }, h("h3", {}, "Probability over ε")), probability.node, words.node),
    h("section", { class: "cw-adv-part", "aria-label": "Peak responses" }, h("header", { class: "cw-adv-part-head" }, title, chosen.node), response.node, channels.node, note));
  let sure = [], followed = [], key = "";

  function load(sweep, which) {
    const share = (v) => (v >= 0.1 ? `${(100 * v).toFixed(0)} %` : `${Number((100 * v).toPrecision(2))} %`), number = (v) => v.toFixed(1);
    sure = ["true", "wrong"].map((of) => ({ of, dash: of === "wrong" ? "7 3" : "", name: sweep[of].label, values: sweep.frames.map((frame) => frame[of]), format: share }));
    followed = ["true", "wrong"].flatMap((of) => {
      const { channels: ks, peaks } = sweep.peaks[of === "true" ? "true" : which];
      return ks.map((k, j) => ({
        of, dash: DASHES[j % DASHES.length], name: `#${k}`, values: peaks.map((at) => at[j]), format: number,
        out: of === "true" ? sweep.frames.map(({ ranks }) => ranks[j] > sweep.top) : null, about: `${sweep.stage} #${k}, ${j + 1}. of ${sweep[of].label}`,
      }));
    });
    probability.load(sweep, sure, 1, (v) => `${100 * v} %`);
    const most = Math.max(1e-9, ...followed.flatMap(({ values }) => values));
    response.load(sweep, followed, most, (v) => (most < 10 ? v.toFixed(1) : v.toFixed(0)));
    words.load(sure);
    channels.load(followed);
    say(title, `Peak responses at ${sweep.stage}`);
    say(note, which === "attacked" ? "× out of the true class' top. The wrong class' channels were looked for in the attacked picture: part of their rise is that choice."
      : "× out of the true class' top. The wrong class' channels were looked for in the clean picture, before the attack.");
  }
  return {
    node,
    draw(sweep, i, which) {
      chosen.set(which);
      if (key !== `${sweep.id} ${which}`) { key = `${sweep.id} ${which}`; load(sweep, which); }
      probability.draw(i);
      response.draw(i);
      words.draw(sure, i);
      channels.draw(followed, i);
    },
  };
}
