// Above the tree: what is asked, how it is taken apart, and what can be taken away.
import { h, button, choice, field, fresh, menu, percent, say, search, segmented, show, slider, tick } from "../controls.js";

const CONDITIONING = [
  { value: "node", text: "this node", describe: "each node is decomposed by itself (the paper)" },
  { value: "path", text: "whole path", describe: "the class gradient is passed on along the path: shares are parts of the class score" },
];
const SIGNS = [
  { value: "for", text: "for", describe: "channels that speak for the decision" },
  { value: "against", text: "against", describe: "channels that speak against the decision" },
];
const REMOVALS = [
  { value: "zero", text: "zero", describe: "a removed channel is 0 everywhere" },
  { value: "mean", text: "mean", describe: "a removed channel has its data-set mean everywhere" },
];
const KEYS = [
  ["click", "select a node and show what supports it; again: fold"], ["Shift + click, Delete", "remove the channel; again: put it back"],
  ["← →", "to the parent, to the strongest child"], ["↑ ↓", "to the neighbour of the same stage"],
  ["Enter", "expand or collapse the selected node"], ["Esc", "close what is open"], ["?", "this list"],
];

export function head(model, act) {
  const why = h("h2", {}), sure = h("span", { class: "cw-muted cw-tree-sure" }), busy = h("span", { class: "cw-busy", role: "status" });
  const cancel = button("Cancel", () => act.send({ kind: "cancel" }), { class: "cw-link" });
  const keys = menu("Keys", { title: "what the keys do (key ?)" });
  keys.panel.append(h("dl", { class: "cw-keys" }, ...KEYS.flatMap(([key, words]) => [h("dt", {}, h("kbd", {}, key)), h("dd", {}, words)])));
  const notice = h("div", { class: "cw-notice cw-error cw-tree-notice", role: "alert", hidden: true });
  const what = askRow(model, act), how = howRow(act), foot = footer(act);
  const node = h("div", { class: "cw-root cw-tree-head" },
    h("header", { class: "cw-head" }, why, sure, busy, cancel, keys.node), what.node, how.node, foot.node, notice);
  return {
    node, keys, help: () => keys.toggle(keys.panel.hidden),
    draw(state) {
      say(why, state.why || "camwidgets");
      say(sure, state.sure || "choose a picture");
      what.draw(state);
      how.draw(state);
      foot.draw(state);
    },
    status(status) {
      const working = status.state === "working", problem = working ? status.problem : status.state === "error" ? status : null;
      say(busy, working ? status.text : "");
      show(cancel, working);
      node.classList.toggle("cw-working", working);
      node.setAttribute("aria-busy", String(working));
      show(notice, Boolean(problem));
      if (problem) notice.replaceChildren(...words(problem, () => act.send({ kind: "dismiss" })));
    },
  };
}

function words(status, dismiss) {
  return [h("p", {}, h("b", {}, status.text)), status.hint ? h("p", { class: "cw-hint" }, status.hint) : null,
    h("details", {}, h("summary", {}, "Details"), h("pre", {}, status.details || "")),
    h("div", { class: "cw-row" }, button("Dismiss", dismiss))].filter(Boolean);
}

/** Picture, class, and the second class. */
function askRow(model, act) {
  const picture = choice("Picture", (value) => act.set("picture", value));
  const path = h("input", {
    type: "text", class: "cw-text", placeholder: "or a path, then Enter", "aria-label": "Path of a picture or a folder", spellcheck: "false",
    onkeydown: (event) => { if (event.key === "Enter" && path.value.trim()) act.set("picture", path.value.trim()); },
  });
  const target = choice("Class", (value) => act.set("target", Number(value)));
  const find = (text) => {
    const wanted = text.toLowerCase(), all = model.get("labels") || [];
    return all.map((label, value) => ({ value, text: label })).filter(({ text: one }) => one.toLowerCase().includes(wanted)).slice(0, 40);
  };
  const labels = search("search all classes", find, (index) => act.set("target", index));
  const beside = tick("second class", "take a second class apart below the first", (on) => act.set("beside", on ? second() : null));
  const other = choice("Second class", (value) => act.set("beside", Number(value)));
  let classes = [], now = {};
  const second = () => (classes.find(({ index }) => index !== now.target) || { index: 0 }).index;
  const pictures = h("span", { class: "cw-tree-group cw-tree-picture" }, field("Picture", picture.node), path);
  const besides = h("span", { class: "cw-tree-group" }, beside.node, other.node);
  const node = h("div", { class: "cw-tree-row" }, pictures,
    h("span", { class: "cw-tree-group cw-tree-class" }, field("Class", target.node), labels.node), besides);
  return {
    node,
    draw(state) {
      if (!state.values) return;
      now = state.values;
      classes = state.classes;
      picture.options(state.pictures);
      picture.set(now.picture);
      target.options(listed(classes, now.target, model));
      target.set(String(now.target));
      labels.size((model.get("labels") || []).length);
      beside.set(now.beside !== null);
      other.options(listed(classes, now.beside ?? second(), model));
      other.set(String(now.beside ?? second()));
      other.node.disabled = now.beside === null;
      show(pictures, !state.inner);
      show(besides, !state.inner);
    },
  };
}

function listed(classes, chosen, model) {
  const rows = classes.map(({ index, label, probability }) => ({ value: String(index), text: `${label}  ${percent(probability)}` }));
  if (chosen !== null && !classes.some(({ index }) => index === chosen)) {
    rows.push({ value: String(chosen), text: (model.get("labels") || [])[chosen] || `class ${chosen}` });
  }
  return rows;
}

/** How the decision is taken apart. */
function howRow(act) {
  let later = 0;
  const soon = (name, value) => { clearTimeout(later); later = setTimeout(() => act.set(name, value), 200); };
  const top = slider("N", { min: 1, max: 5, step: 1, format: String, describe: "N: children per node", change: (value) => soon("top", value) });
  const depth = slider("Begin with", {
    min: 1, max: 5, step: 1, format: (value) => `${value} step${value > 1 ? "s" : ""}`, describe: "How many steps the tree begins with",
    change: (value) => soon("depth", value),
  });
  const conditional = segmented("Conditioned on", CONDITIONING, (value) => act.set("conditional", value === "path"));
  const sign = segmented("Evidence", SIGNS, (value) => act.set("sign", value));
  const removal = segmented("Removed means set to", REMOVALS, (value) => act.set("removal", value));
  const merge = tick("merge overlaps", "channels that see the same place (IoU > 0.9) become one node", (on) => act.set("merge", on));
  const named = (name, control) => h("span", { class: "cw-tree-group" }, h("span", { class: "cw-muted" }, name), control);
  const removals = named("remove to", removal.node);
  const node = h("div", { class: "cw-tree-row cw-tree-how" }, top.node, depth.node, named("by", conditional.node),
    named("evidence", sign.node), merge.node, removals);
  return {
    node,
    draw(state) {
      show(node, !state.inner);
      if (!state.values) return;
      const { values } = state;
      depth.limit(state.depths);
      top.set(values.top);
      depth.set(Math.min(values.depth, state.depths));
      conditional.set(values.conditional ? "path" : "node");
      sign.set(values.sign);
      removal.set(values.removal);
      show(removals, state.means);
      merge.set(values.merge);
    },
  };
}

/** One line: how much is drawn, what the removals do; code and files. */
function footer(act) {
  const drawn = h("span", { class: "cw-muted cw-tree-drawn" }), without = h("span", { class: "cw-tree-without", role: "status" });
  const restore = button("Put all back", () => act.send({ kind: "do", what: "restore" }), { class: "cw-link" });
  const text = h("pre", { class: "cw-code", tabindex: "0", id: fresh("code") }), told = h("span", { class: "cw-muted", role: "status" });
  const code = menu("Copy code"), save = menu("Save");
  code.panel.append(h("p", {}, "These lines reproduce the view. ", told), text);
  code.opener.addEventListener("click", () => {
    getSelection().selectAllChildren(text);
    navigator.clipboard?.writeText(text.textContent).then(() => say(told, "Copied."), () => say(told, "Press Ctrl+C to copy."));
  });
  const kinds = [
    ["Picture (PNG)", "png"], ["Drawing (SVG)", "svg"], ["Tree (ZIP: JSON, GraphML, NPZ)", "bundle"], ["Page that works alone (HTML)", "html"],
  ];
  save.panel.append(...kinds.map(([words, kind]) => button(words, () => {
    save.toggle(false);
    if (kind === "png") act.camera();
    else act.send({ kind: "save", what: kind });
  }, { class: "cw-item", "data-kind": kind })));
  const node = h("div", { class: "cw-tree-row cw-tree-foot" }, h("span", { class: "cw-tree-words" }, without, restore, drawn),
    h("span", { class: "cw-pair" }, code.node, save.node));
  return {
    node,
    draw(state) {
      say(drawn, state.drawn || "");
      drawn.title = state.drawn || "";
      say(without, state.without || "");
      without.title = state.without || "";
      show(without, Boolean(state.without));
      show(restore, Boolean(state.without));
      show(drawn, !state.without);
      say(text, state.code || "");
    },
  };
}
