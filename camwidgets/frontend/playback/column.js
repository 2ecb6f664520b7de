// Beside the frames: which picture, which class, how it is drawn; and the foot.
import { h, button, choice, field, group, menu, percent, say, segmented, show, slider, tick } from "../controls.js";
import { copyText } from "../actions.js";
import { drawBlend } from "../painting.js";
import { titleOf } from "./cells.js";

/** Thumbnails of the watched pictures. act: {choose(id)} */
export function pictureStrip(act) {
  const strip = h("div", { class: "cw-pb-strip", role: "group", "aria-label": "Watched pictures" }), buttons = new Map();
  const node = group("Watched pictures", null, strip);
  return {
    node,
    /** pictures: words; ground(id) → {picture, width, height, nothing}; there(id): whether it can be chosen. */
    load(pictures, ground, table, there) {
      buttons.clear();
      strip.replaceChildren(...pictures.map(({ id, classes, none }) => {
        const canvas = h("canvas", {}), { picture, width, height, nothing } = ground(id);
        drawBlend(canvas, picture, width, height, nothing, table, 0, false);
        const words = `${id}: ${none ? "no class" : classes.map(({ label }) => label).join(", ")}`;
        const one = h("button", { type: "button", class: "cw-pb-shot", title: words, "aria-label": words, disabled: !there(id), onclick: () => act.choose(id) }, canvas);
        buttons.set(id, one);
        return one;
      }));
    },
    mark(id) { for (const [key, one] of buttons) one.setAttribute("aria-pressed", String(key === id)); },
  };
}

/** The classes in the picture. */
export function classSwitch(act) {
  const row = h("div", { class: "cw-pb-labels", role: "group", "aria-label": "Class" }), node = group("Which class", null, row), note = h("p", { class: "cw-muted" });
  node.append(note);
  let built = "";
  return {
    node,
    draw(words, label) {
      const key = words ? words.id : "";
      if (key !== built) {
        built = key;
        row.replaceChildren(...(words ? words.classes : []).map((one) => button(one.label, () => act.put({ label: one.label }), { "data-label": one.label })));
        say(note, words && words.none ? "No class is in this picture: all are shown." : "");
        show(note, Boolean(note.textContent));
      }
      for (const one of row.children) one.setAttribute("aria-pressed", String(one.dataset.label === label));
    },
  };
}

export function lookGroup(act) {
  const layers = h("div", { class: "cw-pb-wrap-row" }), ticks = new Map();
  const outline = tick("outline of the true mask", "where the class really is (key o)", (on) => act.put({ outline: on }));
  const scale = segmented("Range of the colours", [
    { value: "fixed", text: "all epochs alike", describe: "a pale map is a weak one" }, { value: "own", text: "each its own", describe: "each map divided by its maximum" },
  ], (value) => act.put({ scale: value }));
  const opacity = slider("Opacity", {
    min: 0, max: 1, step: 0.01, format: (value) => percent(value), describe: "Opacity of the maps over the picture", change: (value) => act.put({ opacity: value }),
  });
  const mix = segmented("Blend", [
    { value: "even", text: "even", describe: "the same opacity everywhere" }, { value: "by value", text: "by value", describe: "strong values cover, weak values let the picture through" },
  ], (value) => act.put({ blend: value }));
  const colormap = choice("Colours", (value) => act.put({ colormap: value }));
  const node = group("Show", act.reset, layers, outline.node, h("div", { class: "cw-field" }, h("span", { class: "cw-name" }, "Range"), scale.node), opacity.node,
    h("div", { class: "cw-field" }, h("span", { class: "cw-name" }, "Blend"), mix.node), field("Colours", colormap.node));
  let built = "";
  return {
    node, colormap,
    options(known) {
      if (known.join() === built) return;
      built = known.join();
      ticks.clear();
      layers.replaceChildren(...known.map((name) => {
        const one = tick(titleOf(name).toLowerCase(), titleOf(name), (on) => act.layers(name, on));
        ticks.set(name, one);
        return one.node;
      }));
    },
    draw(get, mask) {
      for (const [name, one] of ticks) one.set(get("layers").includes(name));
      outline.set(Boolean(get("outline")) && mask);
      outline.enable(mask);
      outline.node.title = mask ? "where the class really is (key o)" : "this picture has no mask";
      scale.set(get("scale"));
      opacity.set(get("opacity"));
      mix.set(get("blend"));
      colormap.set(get("colormap"));
    },
  };
}

/** Which metrics are drawn in the left plot. */
export function curveMenu(act) {
  const chooser = menu("Choose curves", { class: "cw-button" }), ticks = new Map();
  let built = "";
  return {
    node: chooser.node, toggle: chooser.toggle, close: chooser.close,
    draw(known, chosen) {
      if (known.join() !== built) {
        built = known.join();
        ticks.clear();
        chooser.panel.replaceChildren(...known.map((name) => {
          const one = tick(name, name, (on) => act.curves(name, on));
          ticks.set(name, one);
          return one.node;
        }));
      }
      for (const [name, one] of ticks) one.set(chosen.includes(name));
      show(chooser.node, known.length > 1);
    },
  };
}

/** Bottom line: what is in the browser, code and file. */
export function playbackFoot(act) {
  const made = h("div", { class: "cw-made" }), code = menu("Copy code"), text = h("pre", { class: "cw-code", tabindex: "0" }), told = h("span", { class: "cw-muted", role: "status" });
  code.panel.append(h("p", {}, "These lines show this view. ", told), text);
  code.opener.addEventListener("click", () => copyText(text, told));
  const save = button("Save page", () => act.send({ kind: "save" }), { title: "one HTML page that plays without a kernel" });
  const node = h("footer", { class: "cw-foot" }, made, h("div", { class: "cw-pair" }, code.node, save));
  return { node, made, code, text, still() { show(save, false); } };
}
