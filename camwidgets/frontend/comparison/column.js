// Beside the grid: which methods, how they are drawn, what is cut out, and what can be taken away.
import { h, button, choice, field, group, menu, percent, say, segmented, show, slider, tick } from "../controls.js";
import { copyText } from "../actions.js";
import { parameterForm } from "./cells.js";
import { MOST_ZOOM } from "./region.js";

/** Add a method: the catalogue, one method's formula and needs, its parameters. */
export function methodsGroup(act) {
  const enhanced = tick("enhanced beside plain", "also the sliding-window enhancement of every method; many more passes",
    (on) => act.put({ enhanced: on }));
  const select = choice("Method to add", () => describe());
  const formula = h("p", { class: "cw-formula" }), facts = h("p", { class: "cw-muted" }), why = h("p", { class: "cw-why" });
  const form = parameterForm();
  const add = button("Add", () => act.send({ kind: "add", method: select.node.value, parameters: form.values() }), { class: "cw-button" });
  const node = group("Methods", null, enhanced.node, h("div", { class: "cw-field" }, select.node, add),
    h("div", { class: "cw-method" }, formula, facts, why, form.node));
  let known = [];
  function describe() {
    const method = known.find(({ value }) => value === select.node.value);
    if (!method) return;
    say(formula, method.formula);
    say(facts, `${method.source} · needs ${method.needs}${method.many ? " (says how long before it goes on)" : ""}`);
    say(why, method.why ? `Cannot serve this network: ${method.why}` : "");
    show(why, Boolean(method.why));
    form.fill(method.parameters);
  }
  return {
    node, enhanced,
    options(methods) {
      const chosen = select.node.value;
      known = methods;
      select.options(methods.map(({ value, text, why: reason }) => ({ value, text: reason ? `${text} (not for this network)` : text })));
      if (methods.some(({ value }) => value === chosen)) select.set(chosen);
      describe();
    },
    parameters: (name) => (known.find(({ value }) => value === name) || { parameters: [] }).parameters,
    still() { show(node, false); },
  };
}

export function showGroup(act) {
  const opacity = slider("Opacity", {
    min: 0, max: 1, step: 0.01, format: (value) => percent(value), describe: "Opacity of the maps over the picture",
    change: (value) => act.put({ opacity: value }),
  });
  const mix = segmented("Blend", [
    { value: "even", text: "even", describe: "the same opacity everywhere" },
    { value: "by value", text: "by value", describe: "strong values cover, weak values let the picture through" },
  ], (value) => act.put({ blend: value }));
  const colormap = choice("Colours", (value) => act.put({ colormap: value }));
  const columns = segmented("Maps in a row", ["2", "3", "4"].map((value) => ({ value, text: value, describe: `${value} maps in a row` })),
    (value) => act.put({ columns: Number(value) }));
  const node = group("Show", act.reset("show"), opacity.node,
    h("div", { class: "cw-field" }, h("span", { class: "cw-name" }, "Blend"), mix.node, colormap.node),
    h("div", { class: "cw-field" }, h("span", { class: "cw-name" }, "In a row"), columns.node));
  return { node, opacity, mix, colormap, columns };
}

export function cutGroup(act) {
  const cut = tick("cut out", "keep the strongest pixels of each map (key c)", (on) => act.put({ cut: on }));
  const share = slider("Keep top", {
    min: 0.01, max: 1, step: 0.01, format: (value) => percent(value), describe: "Share of pixels that each map keeps",
    change: (value) => act.put({ share: value, cut: true }),
  });
  const rest = segmented("Rest of the picture", [
    { value: "dim", text: "dimmed", describe: "all other pixels are darkened" }, { value: "blur", text: "blurred", describe: "all other pixels are blurred" },
  ], (value) => act.put({ rest: value, cut: true }));
  const zoom = slider("Zoom", {
    min: 1, max: MOST_ZOOM, step: 0.1, format: (value) => `${value.toFixed(1)} ×`, describe: "Zoom of all maps",
    change: (value) => act.zoom(value),
  });
  const node = group("Look", act.reset("cut", "zoom"), h("div", { class: "cw-field" }, h("span", { class: "cw-name" }, "Pixels"), cut.node),
    share.node, h("div", { class: "cw-field" }, h("span", { class: "cw-name" }, "Rest"), rest.node), zoom.node);
  return { node, cut, share, rest, zoom };
}

/** Bottom line: how far it is, curves, code and files. */
export function comparisonFoot(act) {
  const made = h("div", { class: "cw-made", role: "status" });
  const curves = button("Curves for all", () => act.send({ kind: "curves" }), { title: "insertion and deletion curve of every map: about 226 passes each" });
  const code = menu("Copy code"), text = h("pre", { class: "cw-code", tabindex: "0" }), told = h("span", { class: "cw-muted", role: "status" });
  code.panel.append(h("p", {}, "These lines make all maps. One map's are under its More. ", told), text);
  code.opener.addEventListener("click", () => copyText(text, told));
  const save = menu("Save"), kinds = [
    ["Sheet of pictures (PNG)", "sheet"], ["All maps (ZIP: JSON, NPZ, PNG, page)", "bundle"], ["Page that works alone (HTML)", "html"],
  ];
  save.panel.append(...kinds.map(([words, kind]) => button(words, () => { save.toggle(false); act.save(kind); }, { class: "cw-item", "data-kind": kind })));
  const node = h("footer", { class: "cw-foot" }, made, h("div", { class: "cw-pair" }, curves, code.node, save.node));
  return { node, made, curves, code, save, text, still() { show(curves, false); show(save.node, false); } };
}
