// Insertion and deletion of one map: two lines, two areas, no library.
import { h, say, show } from "../controls.js";

const SPACE = "http://www.w3.org/2000/svg";

function s(tag, properties, ...children) {
  const node = document.createElementNS(SPACE, tag);
  for (const [name, value] of Object.entries(properties)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

function curveLine(curve, kind, top) {
  const points = curve.x.map((x, i) => `${(100 * x).toFixed(2)},${(100 * (1 - curve.y[i] / top)).toFixed(2)}`).join(" ");
  return s("polyline", { points, class: `cw-curve-${kind}`, "data-points": curve.x.length });
}

/** The top of the axis that all plots share: the greatest score of any, rounded up to 0.05. */
export function topOf(cells) {
  const scores = cells.flatMap(({ curve }) => (curve.insertion ? [...curve.insertion.y, ...curve.deletion.y] : []));
  return Math.max(0.05, Math.ceil(20 * Math.max(0, ...scores) - 1e-9) / 20);
}

/** Below a cell: the plot, its two areas, or how far it is. */
export function curvePlot(act) {
  const drawing = s("svg", { viewBox: "0 0 100 100", preserveAspectRatio: "none", class: "cw-curve-lines", role: "img" }), most = h("span", { class: "cw-curve-most" });
  const plot = h("div", { class: "cw-curve-plot" }, most, h("span", { class: "cw-curve-zero" }, "0"), drawing,
    h("span", { class: "cw-curve-from" }, "0 %"), h("span", { class: "cw-curve-to" }, "100 % of pixels"));
  const areas = h("p", { class: "cw-curve-areas" }), now = h("p", { class: "cw-curve-words cw-muted" });
  const make = h("button", { type: "button", class: "cw-button", onclick: () => act() }, "Make curve");
  const node = h("div", { class: "cw-curve", hidden: true }, plot, areas, h("div", { class: "cw-curve-told" }, now, make));
  let drawn = "";
  return {
    node,
    /** curve: {state, text, insertion?, deletion?}; told: how far it is; done: whether there is a map; top: of the axis. */
    draw(curve, told, done, still, top) {
      const there = curve.state === "done", key = there ? JSON.stringify([curve, top]) : "";
      node.classList.toggle("cw-curve-there", there);
      show(make, !there && done && !still && ["", "failed"].includes(curve.state));
      say(now, there ? "" : { waiting: done ? "curve: waiting" : "", working: `curve: ${told || "…"}`, failed: curve.text }[curve.state] || "");
      if (key === drawn) return;
      drawn = key;
      if (!there) { drawing.replaceChildren(); say(areas, ""); return; }
      drawing.replaceChildren(curveLine(curve.insertion, "insertion", top), curveLine(curve.deletion, "deletion", top));
      say(most, top.toFixed(2));
      const words = ["insertion ↑", "deletion ↓"].map((name, i) => `${name} ${[curve.insertion, curve.deletion][i].auc.toFixed(3)}`);
      areas.replaceChildren(...words.map((one) => h("span", {}, one)));
      drawing.setAttribute("aria-label", `probability of the class as pixels return or go; areas: ${words.join(", ")}`);
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
