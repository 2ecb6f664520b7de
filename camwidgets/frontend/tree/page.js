// The page that works alone: the whole tree lies in it, decomposed; clicks fold and unfold.
import { h } from "../controls.js";
import { described } from "./side.js";
import { sight } from "./sight.js";
import { arrange } from "./layout.js";

const tree = JSON.parse(document.getElementById("tree").textContent);
const opened = new Set(tree.opened), SPACE = "http://www.w3.org/2000/svg";
let selected = tree.selected;
const canvas = document.getElementById("canvas"), facts = document.getElementById("facts"), told = document.getElementById("told");

function s(tag, properties, ...children) {
  const node = document.createElementNS(SPACE, tag);
  for (const [name, value] of Object.entries(properties)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

function pathTo(id) {
  const path = new Set();
  for (let at = id; at !== null; at = tree.nodes[at].parent) path.add(at);
  return path;
}

function draw() {
  const { places, height, cut } = arrange(tree, opened), path = pathTo(selected), half = tree.thumb / 2;
  canvas.setAttribute("viewBox", `0 0 ${tree.width} ${height}`);
  canvas.setAttribute("height", height);
  const edges = tree.edges.filter(([a, b]) => places.has(a) && places.has(b) && !places.get(a).folded).map(([from, to, share]) => {
    const a = places.get(from), b = places.get(to), x0 = a.x + half + 3, x1 = b.x - half - 3, middle = (x0 + x1) / 2;
    return s("path", {
      d: `M ${x0},${a.y} C ${middle},${a.y} ${middle},${b.y} ${x1},${b.y}`, "stroke-width": 1 + 13 * Math.min(1, Math.abs(share)),
      class: path.has(from) && path.has(to) ? "edge lit" : "edge",
    });
  });
  const step = tree.width / tree.columns.length;
  const heads = tree.headings.map((text, i) => s("text", { x: step * (i + 0.5), y: 20, class: "quiet" }, text));
  canvas.replaceChildren(...edges, ...heads, ...others(places), ...[...places.values()].map((place) => drawn(place, path, half)));
  told.textContent = `${places.size} of ${Object.keys(tree.nodes).length} nodes drawn${cut ? `, ${cut} folded: collapse others first` : ""}`;
  const node = tree.nodes[selected];
  const none = "What this channel sees was not looked up for this page: only for the nodes on screen when it was saved.";
  const sees = node.parent === null ? [] : node.seen ? sight(node.crop, node.seen) : [h("p", { class: "cw-muted" }, none)];
  facts.replaceChildren(...described({ ...node, picture: node.image, size: tree.size, removal: [] }, null, sees));
}

function others(places) {
  return [...places.values()].filter((place) => !place.folded).flatMap((place) => {
    const shown = tree.nodes[place.id].children.filter((id) => places.has(id)).map((id) => places.get(id));
    if (!shown.length) return [];
    const last = shown.reduce((a, b) => (b.y > a.y ? b : a));
    const words = tree.nodes[place.id].others;
    return [s("text", { x: last.x - 46 - 2.9 * words.length, y: last.y + (shown.length > 1 ? 26 : 64), class: "quiet" }, words)];
  });
}

function drawn({ id, x, y, folded }, path, half) {
  const node = tree.nodes[id], edge = half + (id === selected ? 5 : 3);
  const group = s("g", {
    class: path.has(id) ? "node lit" : "node", tabindex: 0, role: "treeitem", "data-id": id, "aria-label": node.words,
    "aria-expanded": opened.has(id), "aria-selected": id === selected,
  }, s("title", {}, node.words), s("rect", { x: x - edge, y: y - edge, width: 2 * edge, height: 2 * edge }),
    s("image", { x: x - half, y: y - half, width: tree.thumb, height: tree.thumb, href: node.image, preserveAspectRatio: "none" }),
    s("text", { x, y: y + half + 16 }, folded ? `${node.label} ▸ ${folded}` : node.label),
    s("text", { x, y: y + half + 29 }, node.called));
  group.addEventListener("click", () => click(id));
  group.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    click(id);
    canvas.querySelector(`[data-id="${id}"]`).focus();
  });
  return group;
}

function click(id) {
  if (!opened.has(id) && tree.nodes[id].children.length) opened.add(id);
  else if (opened.has(id) && id === selected) opened.delete(id);
  selected = id;
  draw();
}

draw();
