// The hand on the picture: strokes and boxes are drawn here while they are made, and sent when the hand lets go.
import { h } from "../controls.js";

/**
 * act: {look() → {tool, radius, width, height, patch: [w, h] | null}, done(content), moving(content), dropped()}; coordinates are pixels of the
 * network's input, pixel i being centred at i.
 */
export function brushFrame(act) {
  const pixels = h("canvas", { class: "cw-picture", width: 8, height: 8 }), lines = h("canvas", { class: "cw-lines", width: 8, height: 8 });
  const node = h("div", {
    class: "cw-frame cw-fail-frame", tabindex: "0", role: "application",
    "aria-label": "Picture: drag to draw; arrows move the brush, Enter sets a dot",
  }, pixels, lines);
  let stroke = null, hover = null;

  const place = (event) => {
    const box = node.getBoundingClientRect(), { width, height } = act.look();
    return [(event.clientX - box.left) / box.width * width, (event.clientY - box.top) / box.height * height];
  };

  function draw() {
    const box = node.getBoundingClientRect(), density = window.devicePixelRatio || 1, { tool, radius, width, patch } = act.look();
    const [w, t] = [Math.round(box.width * density), Math.round(box.height * density)];
    if (lines.width !== w || lines.height !== t) { lines.width = w; lines.height = t; }
    const context = lines.getContext("2d"), scale = w / width;
    context.clearRect(0, 0, w, t);
    if (stroke && tool === "brush") trail(context, stroke, 2 * radius * scale, scale);
    if (stroke && tool === "box" && stroke.length > 1) outline(context, ...boxOf(stroke).map((one) => one * scale));
    if (!hover) return;
    const [x, y] = hover.map((one) => one * scale);
    if (tool === "brush") ring(context, x, y, radius * scale);
    else if (tool === "paste" && patch) outline(context, x - patch[0] * scale / 2, y - patch[1] * scale / 2, x + patch[0] * scale / 2, y + patch[1] * scale / 2);
  }

  /** What the stroke says, or null where nothing is in it. */
  function content(points) {
    const { tool, radius } = act.look(), last = points[points.length - 1];
    if (tool === "paste") return { x: last[0], y: last[1] };
    if (tool === "brush") return { region: { kind: "brush", points: points.map(([x, y]) => [hundredth(x - 0.5), hundredth(y - 0.5)]), radius } };
    const [x0, y0, x1, y1] = boxOf(points).map(Math.round);
    return x1 > x0 && y1 > y0 ? { region: { kind: "box", points: [[x0, y0], [x1, y1]] } } : null;
  }

  function finish() {
    const found = stroke && content(stroke), was = stroke;
    stroke = null;
    draw();
    if (found) act.done(found);
    else if (was) act.dropped();
  }

  node.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || act.look().tool === "object" || !act.look().width) return;
    node.setPointerCapture(event.pointerId);
    node.focus({ preventScroll: true });
    event.preventDefault();
    stroke = [place(event)];
    draw();
  });
  node.addEventListener("pointermove", (event) => {
    hover = place(event);
    if (stroke) {
      const all = event.getCoalescedEvents ? event.getCoalescedEvents() : [];
      for (const one of all.length ? all : [event]) stroke.push(place(one));
    }
    draw();
    const found = stroke && content(stroke);
    if (found) act.moving(found);
  });
  node.addEventListener("pointerup", finish);
  node.addEventListener("pointercancel", () => { stroke = null; draw(); act.dropped(); });
  node.addEventListener("pointerleave", () => { hover = null; draw(); });
  node.addEventListener("mousedown", (event) => event.stopPropagation()); // JupyterLab would select cells
  node.dataset.lmSuppressShortcuts = "true";

  /** Arrows move the brush, Enter sets a dot. */
  function key(event) {
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }, { tool, width, height } = act.look();
    if (event.key in moves) {
      const step = event.shiftKey ? 16 : 4, [dx, dy] = moves[event.key], [x, y] = hover || [width / 2, height / 2];
      hover = [Math.max(0, Math.min(width, x + step * dx)), Math.max(0, Math.min(height, y + step * dy))];
      draw();
    } else if (event.key === "Enter" && hover && (tool === "brush" || tool === "paste")) {
      stroke = [hover];
      finish();
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }
  node.addEventListener("keydown", key);
  return { node, pixels, draw };
}

const hundredth = (value) => Math.round(100 * value) / 100;

function boxOf(points) {
  const [[ax, ay], [bx, by]] = [points[0], points[points.length - 1]];
  return [Math.min(ax, bx), Math.min(ay, by), Math.max(ax, bx), Math.max(ay, by)];
}

function trail(context, points, width, scale) {
  context.strokeStyle = "rgba(255, 255, 255, 0.7)";
  context.fillStyle = context.strokeStyle;
  context.lineWidth = width;
  context.lineCap = context.lineJoin = "round";
  context.beginPath();
  context.moveTo(points[0][0] * scale, points[0][1] * scale);
  for (const [x, y] of points.length > 1 ? points.slice(1) : points) context.lineTo(x * scale, y * scale + (points.length > 1 ? 0 : 0.01));
  context.stroke();
}

function twice(context, path) {
  for (const [colour, width] of [["rgba(0, 0, 0, 0.72)", 3], ["#ffffff", 1.25]]) {
    context.strokeStyle = colour;
    context.lineWidth = width;
    context.beginPath();
    path();
    context.stroke();
  }
}

function ring(context, x, y, radius) { twice(context, () => context.arc(x, y, Math.max(1, radius), 0, 7)); }

function outline(context, x0, y0, x1, y1) { twice(context, () => context.rect(x0, y0, x1 - x0, y1 - y0)); }
