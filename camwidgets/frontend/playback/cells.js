// One run's row: a frame for the picture and for each layer of its maps; what is to be known of each below it.
import { h, percent, say, show } from "../controls.js";
import { frame, readPointer } from "../picture.js";
import { drawBlend } from "../painting.js";
import { blanked } from "./reel.js";

export const TITLES = { picture: "Picture", current: "Current map", cumulative: "Cumulative map", dropped: "Dropped" };
export const titleOf = (name) => TITLES[name] || name;

const WORDS = {
  picture: "as the network is given it", current: "what the network answers to at this epoch",
  cumulative: "the maps of all epochs so far, gathered", dropped: "striped: what would be blanked at the next pass, for the map was strong there",
};

/** act: {size(), point(), moved(point)} */
function cell(name, act) {
  const one = frame(`${titleOf(name)}. Arrow keys read values.`), value = h("output", { class: "cw-pb-cell-value", "aria-live": "off" });
  const facts = h("p", { class: "cw-pb-cell-line" }), missing = h("p", { class: "cw-pb-missing", hidden: true });
  one.node.append(missing);
  readPointer(one.node, act.size, act.moved);
  const node = h("section", { class: "cw-pb-cell", "data-layer": name, "aria-label": titleOf(name) },
    h("header", { class: "cw-pb-cell-head" }, h("h3", { title: WORDS[name] || "" }, titleOf(name)), value), one.node, facts);
  return {
    node, name, pixels: one.pixels, facts,
    /** scene: {ground, film, shot, place, look, label, epoch} */
    paint(scene, point) {
      const { ground, film, shot } = scene, there = name === "picture" || Boolean(film && shot);
      one.node.style.aspectRatio = `${ground.width} / ${ground.height}`;
      say(missing, there ? "" : this.why(scene));
      show(missing, !there);
      one.node.classList.toggle("cw-pb-absent", !there);
      const gone = this.pixelsOf(scene, there);
      one.mark({ contour: scene.look.outline ? ground.outline(scene.index) : null, point }, ground.width);
      say(facts, there ? this.words(scene, gone) : "");
      facts.title = facts.textContent;
      const read = there && film && point && name !== "dropped" ? film.value(shot.at, scene.place, point.x, point.y, ground.height, ground.width) : null;
      say(value, read === null || read === undefined ? "" : read.toFixed(2));
    },
    pixelsOf({ ground, film, shot, place, look }, there) {
      const { width, height, picture } = ground;
      if (name === "dropped" && there) return drop(one.pixels, ground, film, shot, place);
      const plain = name === "picture" || !there;
      drawBlend(one.pixels, picture, width, height, plain ? ground.nothing : film.large(shot.at, place, look.own, height, width), look.table,
        plain ? 0 : look.opacity, look.byValue);
      return 0;
    },
    why({ film, epoch, waiting, kept }) {
      if (waiting) return "reading …";
      if (film) return `none yet at epoch ${epoch}: the first is of epoch ${film.epochs[0]}`;
      return kept ? "none for this picture" : "this run keeps none";
    },
    words({ ground, film, shot, place, label, epoch }, gone) {
      if (name === "picture") return ground.id;
      const when = shot.epoch === epoch ? "" : `epoch ${shot.epoch}: `; // its last: first, so that it is not what is cut off
      if (name === "dropped") return when + (gone > 0 ? `${percent(gone, gone < 0.1 ? 1 : 0)} blanked` : "nothing blanked");
      if (film.most(shot.at, place) <= 0) return when + (name === "cumulative" ? "nothing gathered yet" : `empty: nothing speaks for ${label}`);
      const inside = film.inside[shot.at][place];
      const where = inside === null ? `at most ${film.most(shot.at, place).toFixed(2)}` : `${percent(inside)} of it on ${label}`;
      return when + where;
    },
  };
}

function drop(canvas, ground, film, shot, place) {
  const { width, height, picture } = ground;
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d", { willReadFrequently: true }), pixels = context.createImageData(width, height);
  const gone = blanked(pixels.data, picture, film, shot.at, height, width, [place]);
  context.putImageData(pixels, 0, 0);
  return gone;
}

/** One run: its name, and a grid of cells as many as layers are shown. */
export function runRow(act) {
  const title = h("h3", {}), text = h("span", { class: "cw-muted" });
  const head = h("header", { class: "cw-pb-run-head" }, title, text), grid = h("div", { class: "cw-pb-grid" });
  const node = h("section", { class: "cw-pb-run" }, head, grid), cells = new Map();
  return {
    node, cells,
    load(run, several) {
      say(title, run.name);
      say(text, run.text);
      head.title = run.folder;
      show(head, several);
      node.setAttribute("aria-label", `run ${run.name}`);
    },
    /** names: layers in order; scene(name) → what `paint` of a cell needs. */
    paint(names, scene, point) {
      for (const name of [...cells.keys()]) if (!names.includes(name)) { cells.get(name).node.remove(); cells.delete(name); }
      names.forEach((name, at) => {
        if (!cells.has(name)) cells.set(name, cell(name, act));
        const one = cells.get(name);
        if (grid.children[at] !== one.node) grid.insertBefore(one.node, grid.children[at] || null);
        one.paint(scene(name), point);
      });
      grid.dataset.columns = Math.max(1, Math.min(4, names.length));
    },
  };
}
