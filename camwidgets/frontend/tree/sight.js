// What the selected channel sees: window and guided view, responses, exciting patches, and the index they come from.
import { h, button, show, say } from "../controls.js";

const WIDE = 272, HIGH = 44; // px

/** crop: {picture, words} of the node; seen: what was found out about the channel, null while it is being found out. */
export function sight(crop, seen) {
  const parts = [h("h4", {}, "What it sees")];
  const tiles = [crop && crop.picture ? tile(crop) : null, seen && seen.guided ? tile(seen.guided) : blank(seen)].filter(Boolean);
  parts.push(h("div", { class: "cw-tree-tiles" }, ...tiles));
  if (crop && !crop.picture) parts.push(h("p", { class: "cw-muted" }, crop.words));
  if (!seen || seen.problem) return parts;
  if (seen.here) parts.push(bars(seen.here));
  if (seen.there) parts.push(bars(seen.there));
  if (seen.patches && seen.patches.length) parts.push(patches(seen));
  return parts;
}

function tile({ picture, words }) {
  return h("figure", { class: "cw-tree-tile" }, h("img", { src: picture, alt: words }), h("figcaption", { class: "cw-muted" }, words));
}

function blank(seen) {
  const words = seen && seen.problem ? seen.problem : "looking …";
  return h("figure", { class: "cw-tree-tile" }, h("div", { class: "cw-tree-blank", role: "status" }, words));
}

/** A histogram: bars in 0 … 1, and a mark where the unit's own value lies. */
function bars({ bars: heights, own, low, high, value, words }) {
  const step = WIDE / heights.length, at = 1 + own * (WIDE - 2);
  const picture = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const add = (tag, properties) => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, number] of Object.entries(properties)) node.setAttribute(name, number);
    picture.append(node);
  };
  for (const [name, text] of Object.entries({ viewBox: `0 0 ${WIDE} ${HIGH}`, role: "img", "aria-label": `${words}; its value is ${value}` })) picture.setAttribute(name, text);
  heights.forEach((height, i) => {
    const tall = height > 0 ? Math.max(1.5, height * (HIGH - 8)) : 0;
    add("rect", { x: i * step + 0.5, y: HIGH - tall, width: step - 1, height: tall, class: "cw-tree-count" });
  });
  add("path", { d: `M ${at - 4},0 h 8 l -4,6 z M ${at},4 V ${HIGH}`, class: "cw-tree-own" });
  const ends = h("p", { class: "cw-tree-ends cw-muted" }, h("span", {}, low), h("b", {}, `here ${value}`), h("span", {}, high));
  return h("figure", { class: "cw-tree-bars" }, picture, ends, h("figcaption", { class: "cw-muted" }, words));
}

function patches({ patches: found, index }) {
  const one = ({ picture, words, value }) => h("figure", { title: words },
    picture ? h("img", { src: picture, alt: words }) : h("div", { class: "cw-tree-blank" }, "gone"), h("figcaption", { class: "cw-muted" }, value));
  return h("figure", { class: "cw-tree-patches" }, h("figcaption", { class: "cw-muted" }, `excite it most, of ${index}:`), h("div", {}, ...found.map(one)));
}

/** Below it all: which pictures are indexed, and how to index some. */
export function indexer(send) {
  const text = h("p", { class: "cw-muted", role: "status" });
  const bar = h("div", { class: "cw-tree-progress", role: "progressbar", "aria-label": "index", "aria-valuemin": 0, "aria-valuemax": 100 }, h("span", {}));
  const cancel = button("Cancel", () => send({ kind: "index", what: "cancel" }), { class: "cw-button cw-tree-cancel" });
  const again = button("Go on", () => send({ kind: "index", what: "again" }));
  const own = button("Index the built-in pictures", () => send({ kind: "index", what: "built-in" }), { class: "cw-button cw-tree-built-in" });
  const path = h("input", {
    type: "text", class: "cw-text", placeholder: "or a folder of yours, then Enter", "aria-label": "Folder of pictures to index", spellcheck: "false",
    onkeydown: (event) => { if (event.key === "Enter" && path.value.trim()) send({ kind: "index", what: "folder", path: path.value.trim() }); },
  });
  const offer = h("div", { class: "cw-tree-offer" }, own, path);
  const change = h("details", {}, h("summary", { class: "cw-muted" }, "other pictures"));
  const node = h("div", { class: "cw-tree-index" }, text, bar, h("div", { class: "cw-row" }, cancel, again), offer, change);
  return {
    node,
    draw({ state, text: words, done }) {
      const none = "Which pictures excite a channel most? Build the index of a folder: it is kept on disk.";
      say(text, state === "none" ? [words, none].filter(Boolean).join(" ") : words);
      text.classList.toggle("cw-bad", state === "error");
      show(bar, state === "building");
      bar.firstChild.style.width = `${100 * (done || 0)}%`;
      bar.setAttribute("aria-valuenow", Math.round(100 * (done || 0)));
      show(cancel, state === "building");
      show(again, state === "paused");
      const home = state === "ready" ? change : node;
      if (offer.parentNode !== home) home.append(offer);
      show(change, state === "ready");
      show(offer, state !== "building");
    },
  };
}
