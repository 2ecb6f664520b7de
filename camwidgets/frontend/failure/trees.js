// Below FailureExplorer's picture: two trees side by side, each channel framed in the colour of its change.
import { h, percent, say, segmented, show } from "../controls.js";

const SVG = "http://www.w3.org/2000/svg", THUMB = 40, ROW = 58, TOP = 44, WIDE = 600;
const SIGNS = { gained: "+ new", lost: "− gone", strengthened: "▲", weakened: "▼", same: "=" };

function s(tag, properties, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(properties)) if (value !== null && value !== undefined) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

export function treesPart(act) {
  const what = segmented("Trees", [
    { value: "classes", text: "true | taken for", describe: "why the one class, why the other, of the picture as it was" },
    { value: "change", text: "before | after", describe: "what the changes made of the tree of the class it was taken for" },
  ], (value) => act.send({ kind: "trees", what: value }));
  const about = h("span", { class: "cw-muted" }), said = h("p", { class: "cw-fail-wait" });
  const legend = h("p", { class: "cw-muted cw-fail-legend" }, h("i", { class: "cw-fail-red" }), "red: new or stronger at the right", h("i", { class: "cw-fail-blue" }), "blue: gone or weaker",
    " · per cent: part of its parent's decision");
  const place = h("div", { class: "cw-fail-pair" });
  const node = h("section", { class: "cw-fail-trees", "aria-label": "Trees" }, h("header", { class: "cw-row" }, h("h3", {}, "Why the one, why the other"), what.node, about), said, place, legend);
  let drawn = null;
  return {
    node,
    draw(get) {
      const words = get("_trees") || {}, changed = (get("_log") || []).findIndex(({ state }) => state === "now") > 0, there = words.state === "done";
      show(node, (get("_case") || {}).state === "done");
      what.set(words.what || "classes");
      what.allow(changed ? ["classes", "change"] : ["classes"]);
      show(said, !there);
      show(place, there);
      show(legend, there);
      said.classList.toggle("cw-fail-bad", words.state === "failed");
      say(said, words.state === "failed" ? words.text : "taking the decisions apart …");
      say(about, there ? `${words.parting} · distance ${words.distance.toFixed(2)} (0 the same, 1 nothing in common)` : "");
      if (drawn !== words) {
        drawn = words;
        const titles = words.same ? ["before", "after"] : ["why", "why"];
        place.replaceChildren(...(there ? words.trees.map((tree, i) => figure(tree, titles[i], act)) : []));
      }
      const [stage, channel] = get("channel") || [];
      for (const one of place.querySelectorAll("[data-node]")) one.classList.toggle("cw-fail-now", one.dataset.node === `${stage} ${channel}`);
    },
  };
}

function figure(tree, title, act) {
  const sure = tree.probability === null ? "" : ` ${percent(tree.probability)}`, score = `logit ${tree.score.toFixed(2).replace("-", "−")}`;
  const rest = tree.others === null ? "" : ` · not shown: ${percent(tree.others).replace("-", "−")}`;
  return h("figure", { class: "cw-fail-tree" }, h("figcaption", {}, h("b", {}, `${title} ${tree.label}`), h("span", { class: "cw-muted" }, `${sure} · ${score}${rest}`)), drawing(tree, act));
}

/** Columns are stages, leaves are rows, a parent stands in the middle of its children. */
function drawing(tree, act) {
  const children = new Map(tree.nodes.map(({ id }) => [id, []]));
  for (const one of tree.nodes) if (one.parent !== null && children.has(one.parent)) children.get(one.parent).push(one.id);
  const known = new Map(tree.nodes.map((one) => [one.id, one])), columns = ["class", ...tree.stages], rows = new Map();
  let next = 0;
  const set = (id) => {
    const below = children.get(id).map(set);
    rows.set(id, below.length ? (below[0] + below[below.length - 1]) / 2 : next++);
    return rows.get(id);
  };
  set(0);
  const step = WIDE / columns.length, height = TOP + ROW * next, middle = (column) => step * (column + 0.5) - 22; // words stand at the right
  const at = ({ id, parent, stage }) => [middle(parent === null ? 0 : columns.indexOf(stage)), TOP + ROW * (rows.get(id) + 0.5) - 10];
  const edges = tree.nodes.filter(({ parent }) => parent !== null && known.has(parent)).map((one) => {
    const [ax, ay] = at(known.get(one.parent)), [bx, by] = at(one), x0 = ax + THUMB / 2, x1 = bx - THUMB / 2, bend = (x0 + x1) / 2;
    return s("path", { d: `M ${x0},${ay} C ${bend},${ay} ${bend},${by} ${x1},${by}`, class: "cw-fail-edge", "stroke-width": 1 + 11 * Math.min(1, Math.abs(one.share)) });
  });
  const heads = columns.map((name, i) => s("text", { x: middle(i), y: 14, class: "cw-fail-column" }, name));
  return s("svg", { viewBox: `0 0 ${WIDE} ${height}`, role: "group", "aria-label": `tree of ${tree.label}` }, ...heads, ...edges, ...tree.nodes.map((one) => nodeOf(one, at(one), tree, act, children.get(one.id).length > 0)));
}

function nodeOf(one, [x, y], tree, act, leads) {
  const root = one.parent === null, half = THUMB / 2, share = percent(one.share).replace("-", "−");
  const said = root ? tree.label : `#${one.channel} · ${share}`, change = SIGNS[one.kind] || "";
  const words = root ? tree.label : `${one.stage} #${one.channel}${one.name ? ` “${one.name}”` : ""}: ${share} of its parent; part of the class ${one.shares.map((v) => percent(v)).join(" → ")} (${one.kind})`;
  const click = root ? {} : { tabindex: 0, role: "button", "data-node": `${one.stage} ${one.channel}` };
  // Where edges leave at the right, words stand below; a leaf has them beside it.
  const below = root || leads, lines = root ? [said] : below ? [said, [change, one.name].filter(Boolean).join(" ")] : [said, change, one.name].filter(Boolean);
  const node = s("g", { class: "cw-fail-node", "data-kind": one.kind, "aria-label": words, ...click }, s("title", {}, words),
    s("rect", { x: x - half - 4, y: y - half - 4, width: THUMB + 8, height: THUMB + 8, rx: 4, fill: one.colour || "var(--cw-line)", "stroke-dasharray": one.kind === "lost" ? "4 3" : null }),
    s("image", { href: one.thumb, x: x - half, y: y - half, width: THUMB, height: THUMB, preserveAspectRatio: "none" }),
    ...lines.map((text, i) => s("text", { x: below ? x : x + half + 8, y: (below ? y + half + 18 : y + 4 - 7 * (lines.length - 1)) + 14 * i, class: `${below ? "cw-fail-below" : ""}${i ? " cw-fail-kind" : ""}` }, short(text, below ? 24 : 16))));
  if (!root) {
    node.addEventListener("click", () => act.look(one.stage, one.channel));
    node.addEventListener("keydown", (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); act.look(one.stage, one.channel); } });
  }
  return node;
}

const short = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);
