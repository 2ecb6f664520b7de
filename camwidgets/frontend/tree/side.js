// Beside the tree: the picture under the selected path, the node's facts, and what can be done with it.
import { h, button, show } from "../controls.js";
import { indexer, sight } from "./sight.js";

const SVG = "http://www.w3.org/2000/svg";

/** act.send: where the buttons' acts go. */
export function side(act) {
  const body = h("div", { class: "cw-tree-facts" });
  const open = button("Expand", () => act.send({ kind: "do", what: open.dataset.act }), { class: "cw-button cw-tree-open" });
  const remove = button("Remove channel", () => act.send({ kind: "do", what: remove.dataset.act }), { class: "cw-button cw-tree-remove" });
  const bar = h("div", { class: "cw-row cw-tree-bar" }, open, remove);
  const pictures = indexer(act.send);
  const node = h("aside", { class: "cw-root cw-tree-side", "aria-label": "Selected node" }, body);
  let shown = null;
  return {
    node,
    draw(state, seen, index) {
      if (!state.facts) { body.replaceChildren(h("p", { class: "cw-muted" }, "The selected node is described here.")); return; }
      open.dataset.act = state.open || "expand";
      open.textContent = state.open === "collapse" ? "Collapse" : "Expand";
      open.disabled = !state.open;
      remove.dataset.act = state.remove || "remove";
      remove.textContent = state.remove === "undo" ? "Undo removal" : "Remove channel";
      remove.disabled = !state.remove;
      show(bar, !act.still);
      const mine = seen && seen.id === state.id ? seen : null; // that of another node is never shown
      pictures.draw(index);
      const top = body.scrollTop, same = shown === state.id;
      body.replaceChildren(...described(state, bar, state.root ? [] : [...sight(state.crop, mine), pictures.node]));
      shown = state.id;
      if (same) body.scrollTop = top;
    },
  };
}

/** The panel's parts; also used by the page that works alone. */
export function described(state, bar, sees) {
  const where = h("div", { class: "cw-tree-where" }, picture(state), h("p", { class: "cw-muted cw-tree-caption" }, state.caption));
  const parts = [h("h3", {}, state.title), bar];
  if (state.removal.length) parts.push(removalTable(state.removal));
  parts.push(h("div", { class: "cw-tree-list" }, ...state.facts.map(([name, value]) => h("p", {}, h("span", { class: "cw-muted" }, name), h("span", {}, value)))));
  if (sees.length) parts.push(h("section", { class: "cw-tree-sees" }, ...sees));
  return [where, h("div", { class: "cw-tree-said" }, ...parts.filter(Boolean))];
}

function picture({ picture: address, size, boxes, caption }) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${size[0]} ${size[1]}`);
  for (const [x0, y0, x1, y1] of boxes) {
    for (const kind of ["under", "over"]) {
      const rect = document.createElementNS(SVG, "rect");
      for (const [name, value] of Object.entries({ x: x0, y: y0, width: x1 - x0, height: y1 - y0, class: `cw-tree-${kind}` })) rect.setAttribute(name, value);
      svg.append(rect);
    }
  }
  return h("figure", { class: "cw-tree-view" }, h("img", { src: address, alt: caption }), svg);
}

function removalTable(rows) {
  const row = (tag, cells) => h("tr", {}, ...cells.map((text) => h(tag, {}, text)));
  return h("table", { class: "cw-tree-removal" }, h("caption", {}, "Removed: what changes"),
    h("thead", {}, row("th", ["", "predicted", "real"])), h("tbody", {}, ...rows.map((cells) => row("td", cells))));
}
