// The part of the picture that all cells show: zoom and centre, in shares of the picture. Pure arithmetic and the hand.
import { h } from "../controls.js";

export const MOST_ZOOM = 16;

/** zoom ≥ 1; the left and top edge are kept so that the view never leaves the picture. */
export function region(zoom, [x, y]) {
  const side = 1 / zoom, edge = (centre) => Math.min(1 - side, Math.max(0, centre - side / 2));
  return { zoom, side, left: edge(x), top: edge(y) };
}

/** A place in the frame (0 … 1) as a place in the picture (0 … 1). */
export function inPicture(seen, [fx, fy]) {
  return [seen.left + fx * seen.side, seen.top + fy * seen.side];
}

/** The zoom and centre that keep the picture's place under the same place of the frame. */
export function zoomedAt(seen, zoom, [fx, fy]) {
  const next = Math.min(MOST_ZOOM, Math.max(1, zoom)), [x, y] = inPicture(seen, [fx, fy]), side = 1 / next;
  return settled(next, [x + (0.5 - fx) * side, y + (0.5 - fy) * side]);
}

/** Moved by shares of the frame. */
export function movedBy(seen, dx, dy) {
  return settled(seen.zoom, [seen.left + seen.side / 2 - dx * seen.side, seen.top + seen.side / 2 - dy * seen.side]);
}

function settled(zoom, centre) {
  const { left, top, side } = region(zoom, centre), round = (value) => Math.round(1e4 * value) / 1e4;
  return { zoom: Math.round(100 * zoom) / 100, centre: [round(left + side / 2), round(top + side / 2)] };
}

/**
 * One frame's hand: hover names a pixel, Ctrl + wheel zooms, dragging moves, arrows, + − 0.
 * act: {seen(), size(), point(), moved(point | null), look({zoom, centre})}
 */
export function followHand(node, act) {
  const share = (event) => {
    const box = node.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  };
  const pixel = ([x, y]) => {
    const { width, height } = act.size(), clamp = (value, most) => Math.max(0, Math.min(most - 1, Math.floor(value * most)));
    return { x: clamp(x, width), y: clamp(y, height) };
  };
  let held = null;
  node.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || act.seen().zoom === 1 || event.target.closest("button, a, summary, pre")) return;
    held = share(event);
    node.setPointerCapture(event.pointerId);
    node.classList.add("cw-held");
  });
  const release = () => { held = null; node.classList.remove("cw-held"); };
  for (const name of ["pointerup", "pointercancel"]) node.addEventListener(name, release);
  node.addEventListener("pointermove", (event) => {
    const at = share(event);
    if (held) {
      act.look(movedBy(act.seen(), at[0] - held[0], at[1] - held[1]));
      held = at;
    }
    act.moved(pixel(inPicture(act.seen(), at)));
  });
  node.addEventListener("pointerleave", () => act.moved(null));
  node.addEventListener("blur", () => act.moved(null));
  node.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey) return; // a plain wheel scrolls the notebook
    event.preventDefault();
    act.look(zoomedAt(act.seen(), act.seen().zoom * Math.exp(-event.deltaY / 300), share(event)));
  }, { passive: false });
  node.addEventListener("keydown", (event) => { if (event.target === node && key(event)) { event.preventDefault(); event.stopPropagation(); } });
  function key(event) {
    const { width, height } = act.size(), by = event.shiftKey ? 16 : 1, seen = act.seen();
    const step = { ArrowLeft: [-by, 0], ArrowRight: [by, 0], ArrowUp: [0, -by], ArrowDown: [0, by] }[event.key];
    const from = act.point() || pixel([seen.left + seen.side / 2, seen.top + seen.side / 2]);
    if (step) { act.moved(pixel([(from.x + step[0] + 0.5) / width, (from.y + step[1] + 0.5) / height])); return true; }
    const factor = { "+": 1.25, "=": 1.25, "-": 0.8, 0: 0 }[event.key];
    if (factor === undefined) return false;
    const about = [((from.x + 0.5) / width - seen.left) / seen.side, ((from.y + 0.5) / height - seen.top) / seen.side];
    act.look(factor ? zoomedAt(seen, seen.zoom * factor, about) : { zoom: 1, centre: [0.5, 0.5] });
    return true;
  }
}

export function comparisonKeys() {
  const rows = [
    ["arrows", "move the reading point in all maps"], ["Shift + arrows", "by 16 pixels"], ["+  −  0", "zoom in, out, whole picture"],
    ["Ctrl + wheel", "zoom where the pointer is"], ["drag", "move the zoomed part"], ["c", "cut out, or colours again"],
    ["[  ]", "previous, next picture"], ["Esc", "close what is open"], ["?", "this list"],
  ];
  return h("dl", { class: "cw-keys" }, ...rows.flatMap(([key, words]) => [h("dt", {}, h("kbd", {}, key)), h("dd", {}, words)]));
}
