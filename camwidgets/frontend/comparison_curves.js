// Insertion and deletion of one map: two lines, two areas, no library.
import { h, say, show } from "./controls.js";

const SPACE = "http://www.w3.org/2000/svg", WIDE = 240, HIGH = 96, LEFT = 24, BOTTOM = 16, TOP = 6;

function s(tag, properties, ...children) {
  const node = document.createElementNS(SPACE, tag);
  for (const [name, value] of Object.entries(properties)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

const across = (x) => LEFT + x * (WIDE - LEFT - 4), up = (y) => HIGH - BOTTOM - y * (HIGH - BOTTOM - TOP);

function line(curve, kind) {
  const points = curve.x.map((x, i) => `${across(x).toFixed(1)},${up(curve.y[i]).toFixed(1)}`).join(" ");
  return s("polyline", { points, class: `cw-curve-${kind}`, "data-points": curve.x.length });
}

function axes() {
  const text = (x, y, words, anchor) => s("text", { x, y, "text-anchor": anchor }, words);
  return [
    s("path", { d: `M ${LEFT},${TOP} V ${HIGH - BOTTOM} H ${WIDE - 4}`, class: "cw-curve-axis" }),
    text(LEFT - 4, TOP + 8, "1", "end"), text(LEFT - 4, HIGH - BOTTOM, "0", "end"),
    text(LEFT, HIGH - 3, "0 %", "start"), text(WIDE - 4, HIGH - 3, "100 % of pixels", "end"),
  ];
}

/** Below a cell: the plot, its two areas, or how far it is. */
export function curvePlot(act) {
  const drawing = s("svg", { viewBox: `0 0 ${WIDE} ${HIGH}`, class: "cw-curve-plot", role: "img" });
  const areas = h("p", { class: "cw-curve-areas" }), words = h("p", { class: "cw-curve-words cw-muted" });
  const make = h("button", { type: "button", class: "cw-button", onclick: () => act() }, "Make curve");
  const node = h("div", { class: "cw-curve", hidden: true }, drawing, areas, h("div", { class: "cw-curve-told" }, words, make));
  let drawn = "";
  return {
    node,
    /** curve: {state, text, insertion?, deletion?}; told: how far it is; done: whether there is a map. */
    draw(curve, told, done, still) {
      const there = curve.state === "done", key = there ? JSON.stringify(curve) : "";
      node.classList.toggle("cw-curve-there", there);
      show(make, !there && done && !still && ["", "failed"].includes(curve.state));
      say(words, there ? "" : { waiting: "curve: waiting", working: `curve: ${told || "…"}`, failed: curve.text }[curve.state] || "");
      if (key === drawn) return;
      drawn = key;
      if (!there) { drawing.replaceChildren(); say(areas, ""); return; }
      drawing.replaceChildren(...axes(), line(curve.insertion, "insertion"), line(curve.deletion, "deletion"));
      const said = `insertion ↑ ${curve.insertion.auc.toFixed(3)}   deletion ↓ ${curve.deletion.auc.toFixed(3)}`;
      say(areas, said);
      drawing.setAttribute("aria-label", `probability of the class as pixels return or go; areas: ${said}`);
    },
  };
}

/** One legend for all plots. */
export function curveLegend() {
  const mark = (kind) => s("svg", { viewBox: "0 0 24 8", class: "cw-curve-mark" }, s("path", { d: "M 0,4 H 24", class: `cw-curve-${kind}` }));
  return h("p", { class: "cw-legend", hidden: true },
    h("span", {}, mark("insertion"), "insertion: pixels return to a blurred picture; a large area ↑ is good"),
    h("span", {}, mark("deletion"), "deletion: pixels are blurred away; a small area ↓ is good"),
    h("span", { class: "cw-muted" }, "each in the order of the map; height: probability of the class"));
}
