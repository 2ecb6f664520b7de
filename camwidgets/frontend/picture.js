// The picture side: live view, pinned view, pointer, drop target, readout, colour bar.
import { h, say, show, button } from "./controls.js";
import { drawMarks } from "./painting.js";

/** One framed picture: blended pixels below, crisp lines above. */
export function frame(label) {
  const pixels = h("canvas", { class: "cw-picture", width: 8, height: 8 });
  const lines = h("canvas", { class: "cw-lines", width: 8, height: 8 });
  const node = h("div", { class: "cw-frame", tabindex: "0", role: "application", "aria-label": label }, pixels, lines);
  return {
    node, pixels, lines,
    /** marks in input pixels; the line canvas follows the size on screen and its pixel density. */
    mark(marks, inputWidth) {
      const box = pixels.getBoundingClientRect(), density = window.devicePixelRatio || 1;
      const width = Math.max(1, Math.round(box.width * density)), height = Math.max(1, Math.round(box.height * density));
      if (lines.width !== width || lines.height !== height) { lines.width = width; lines.height = height; }
      const context = lines.getContext("2d");
      context.setTransform(1, 0, 0, 1, 0, 0);
      context.clearRect(0, 0, width, height);
      context.scale(density, density);
      drawMarks(context, box.width / inputWidth, marks);
    },
  };
}

/** Pointer or arrow keys name one input pixel; `moved(point | null)` is called with it. */
export function readPointer(node, size, moved) {
  let point = null;
  const put = (next) => { point = next; moved(point); };
  const clamp = (value, most) => Math.max(0, Math.min(most - 1, Math.floor(value)));
  const fromEvent = (event) => {
    const box = node.getBoundingClientRect(), { width, height } = size();
    put({
      x: clamp(((event.clientX - box.left) / box.width) * width, width),
      y: clamp(((event.clientY - box.top) / box.height) * height, height),
    });
  };
  node.addEventListener("pointermove", fromEvent);
  node.addEventListener("pointerleave", () => put(null));
  node.addEventListener("blur", () => put(null));
  node.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!step) return;
    const { width, height } = size(), by = event.shiftKey ? 16 : 1;
    const from = point || { x: width >> 1, y: height >> 1 };
    put({ x: clamp(from.x + by * step[0], width), y: clamp(from.y + by * step[1], height) });
    event.preventDefault();
    event.stopPropagation();
  });
}

/** Files dropped on the picture. */
export function acceptDrop(node, take) {
  const hint = h("div", { class: "cw-drop", hidden: true }, "Drop a picture to look at it");
  let depth = 0;
  const hasFiles = (event) => [...(event.dataTransfer ? event.dataTransfer.types : [])].includes("Files");
  node.append(hint);
  node.addEventListener("dragenter", (event) => { if (hasFiles(event)) { depth++; show(hint, true); } });
  node.addEventListener("dragleave", () => { depth = Math.max(0, depth - 1); if (!depth) show(hint, false); });
  node.addEventListener("dragover", (event) => { if (hasFiles(event)) { event.preventDefault(); event.stopPropagation(); } });
  node.addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    event.stopPropagation();
    depth = 0;
    show(hint, false);
    if (event.dataTransfer.files.length) take(event.dataTransfer.files[0]);
  });
}

/** Value line and colour bar; room is kept for the longest text. */
export function readout() {
  const words = h("div", { class: "cw-words", role: "status", "aria-live": "off" });
  const bar = h("canvas", { class: "cw-bar", width: 256, height: 1 });
  const level = h("i", { class: "cw-level", hidden: true });
  const least = h("span", {}, "0"), most = h("span", {}, "1"), unit = h("span", { class: "cw-muted" }, "of the maximum");
  const scale = h("div", { class: "cw-scale", role: "img" }, least, h("span", { class: "cw-barbox" }, bar, level), most, unit);
  return {
    node: h("div", { class: "cw-readout" }, words, scale), bar,
    tell(text) { say(words, text); },
    range(top, unitText, threshold) {
      say(most, top);
      say(unit, unitText);
      show(level, threshold !== null);
      if (threshold !== null) level.style.left = `${100 * threshold}%`;
      scale.setAttribute("aria-label", `colour bar from 0 to ${top} ${unitText}`);
    },
  };
}

/** One sentence, what to do, details folded, and a way out; drawn over the picture so that nothing moves. */
export function notice(act, dismiss) {
  const sentence = h("p", { class: "cw-sentence" }), hint = h("p", { class: "cw-hint" });
  const text = h("pre", {}), details = h("details", {}, h("summary", {}, "Details"), text);
  const title = h("strong", {}), offer = button("", () => act(), { class: "cw-button cw-primary" });
  const node = h("div", { class: "cw-notice", role: "alert", hidden: true }, title, sentence, hint, details,
    h("div", { class: "cw-row" }, offer, button("Dismiss", () => dismiss())));
  return {
    node,
    tell(status) {
      show(node, Boolean(status));
      if (!status) return;
      node.classList.toggle("cw-error", status.state === "error");
      say(title, status.state === "error" ? "That did not work" : "One step is left");
      say(sentence, status.text || "");
      say(hint, status.hint || "");
      say(text, status.details || "");
      show(hint, Boolean(status.hint));
      show(details, Boolean(status.details));
      show(offer, Boolean(status.offer));
      say(offer, status.offer || "");
    },
  };
}
