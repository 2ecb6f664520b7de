// Beside the pictures: what is attacked, how, where to, what is followed, and how it is drawn.
import { h, button, choice, field, group, menu, percent, say, search, segmented, show, slider } from "../controls.js";
import { copyText } from "../actions.js";
import { subject } from "../column.js";

export function subjectGroup(act) {
  const { fields, picture, network } = subject(act);
  const node = group("What", null, ...fields);
  return {
    node, picture, network,
    still() {
      [...node.querySelectorAll(".cw-needs-kernel, .cw-pair")].forEach((part) => show(part, false));
      [...node.querySelectorAll("select")].forEach((part) => { part.disabled = true; });
    },
  };
}

/** A number that is taken when it is left or Enter is pressed. */
function number(name, properties, change) {
  const input = h("input", { type: "number", class: "cw-text cw-adv-number", "aria-label": name, ...properties,
    onchange: () => { if (input.value !== "" && Number.isFinite(Number(input.value))) change(Number(input.value)); else input.value = last; } });
  let last = "";
  return { input, set(value) { last = String(value); if (document.activeElement !== input) input.value = last; }, limit(most) { input.max = most; } };
}

export function attackGroup(act) {
  const method = choice("Attack", (value) => act.put({ attack: value }));
  const norm = segmented("Norm", [
    { value: "linf", text: "L∞", describe: "every pixel's channel may change by at most ε" },
    { value: "l2", text: "L2", describe: "the Euclidean norm of the whole perturbation is at most ε" },
  ], (value) => act.put({ norm: value }));
  const strongest = number("Strongest ε", { min: 0, step: "any" }, (value) => act.put({ strongest: act.get("norm") === "linf" ? value / 255 : value }));
  const unit = h("span", { class: "cw-muted cw-unit" });
  const count = slider("How many", { min: 1, max: 24, step: 1, format: (value) => `${value}`, describe: "How many ε the sweep has, beside the clean picture", change: (value) => act.put({ count: value }) });
  const steps = number("Steps of PGD", { min: 1, max: 1000, step: 1 }, (value) => act.put({ steps: Math.round(value) }));
  const seed = number("Seed", { min: 0, step: 1 }, (value) => act.put({ seed: Math.round(value) }));
  const about = h("p", { class: "cw-muted cw-about-attack" });
  const node = group("Attack", act.reset, field("Attack", method.node), h("div", { class: "cw-field" }, h("span", { class: "cw-name" }, "Norm"), norm.node),
    field("ε up to", strongest.input, unit), count.node, field("Steps", steps.input, h("span", { class: "cw-pair cw-seed" }, h("label", { class: "cw-muted", for: seed.input.id || (seed.input.id = "cw-seed-" + Math.random().toString(36).slice(2)) }, "seed"), seed.input)), about);
  const texts = { pgd: "Steps along the gradient of the loss, from a random start, each back into the ball.", fgsm: "One step of length ε along the gradient's sign; the same direction for all ε." };
  return {
    node, method,
    draw() {
      const kind = act.get("norm"), eps = act.get("strongest"), name = act.get("attack");
      method.set(name);
      norm.set(kind);
      strongest.set(Number((kind === "linf" ? 255 * eps : eps).toPrecision(4)));
      say(unit, kind === "linf" ? `/255 = ${Number(eps.toPrecision(3))}` : "of full range, all pixels");
      count.set(act.get("count"));
      steps.set(act.get("steps"));
      seed.set(act.get("seed"));
      steps.input.disabled = name !== "pgd";
      seed.input.disabled = name !== "pgd";
      say(about, texts[name] || "Yours: checked for shape, NaN, box and ball at every ε.");
    },
  };
}

export function aimGroup(act) {
  const aim = segmented("Aim", [
    { value: "away", text: "away from a class", describe: "any other class will do" }, { value: "towards", text: "towards a class", describe: "only the class chosen below counts as success" },
  ], (value) => act.put({ targeted: value === "towards" }));
  const now = h("b", { class: "cw-label" }), clear = button("Top class", () => act.put({ target: null }), { class: "cw-link" });
  const labels = search("search all classes", (text) => act.findLabels(text), (index) => act.put({ target: index }));
  const node = group("Aim", null, aim.node, h("div", { class: "cw-field cw-aim-now" }, now, clear), labels.node);
  let top = "";
  return {
    node, labels,
    name(label) { top = label; },
    draw() {
      const towards = Boolean(act.get("targeted")), target = act.get("target"), all = act.get("_labels") || [];
      aim.set(towards ? "towards" : "away");
      const name = target === null || target === undefined ? null : typeof target === "number" ? all[target] || `class ${target}` : target;
      say(now, name || (towards ? "no class chosen yet: search one" : `the top class${top ? `: ${top}` : ""}`));
      now.title = name || "";
      now.classList.toggle("cw-muted", !name);
      show(clear, !towards && name !== null);
    },
  };
}

export function followGroup(act) {
  const stage = choice("Stage", (value) => act.put({ stage: value }));
  const top = slider("Channels", { min: 1, max: 8, step: 1, format: (value) => `${value}`, describe: "How many top channels of each class are followed", change: (value) => act.put({ top: value }) });
  const depth = segmented("Depth of the trees", ["0", "1", "2", "3"].map((value) => ({ value, text: value === "0" ? "none" : value, describe: value === "0" ? "no trees" : `trees of ${value} stage${value === "1" ? "" : "s"}` })),
    (value) => act.put({ depth: Number(value) }));
  const node = group("Follow", null, field("Stage", stage.node), top.node, h("div", { class: "cw-field" }, h("span", { class: "cw-name" }, "Trees"), depth.node));
  return {
    node,
    draw(stages) {
      const chosen = act.get("stage"), listed = chosen && !stages.includes(chosen) ? [...stages, chosen] : stages;
      stage.options([{ value: "", text: "the deepest" }, ...listed.map((value) => ({ value, text: value }))]);
      stage.set(chosen);
      top.set(act.get("top"));
      depth.set(String(act.get("depth")));
    },
  };
}

export function lookGroup(act) {
  const opacity = slider("Opacity", { min: 0, max: 1, step: 0.01, format: (value) => percent(value), describe: "Opacity of the maps over the picture", change: (value) => act.put({ opacity: value }) });
  const colormap = choice("Colours", (value) => act.put({ colormap: value }));
  const node = group("Show", null, opacity.node, field("Colours", colormap.node));
  return { node, opacity, colormap };
}

export function adversarialFoot(act) {
  const made = h("div", { class: "cw-made", role: "status" });
  const code = menu("Copy code"), text = h("pre", { class: "cw-code", tabindex: "0" }), told = h("span", { class: "cw-muted", role: "status" });
  code.panel.append(h("p", {}, "These lines make the sweep and the picture on screen. ", told), text);
  code.opener.addEventListener("click", () => copyText(text, told));
  const save = menu("Save"), kinds = [
    ["This ε as a sheet (PNG)", "sheet"], ["Bundle: pictures, maps, trees (ZIP)", "bundle"], ["Page that works alone (HTML)", "html"], ["Table over ε (CSV)", "csv"],
  ];
  save.panel.append(...kinds.map(([words, kind]) => button(words, () => { save.toggle(false); act.save(kind); }, { class: "cw-item", "data-kind": kind })));
  const node = h("footer", { class: "cw-foot" }, made, h("div", { class: "cw-pair" }, code.node, save.node));
  return { node, made, code, save, text, allow(there) { save.opener.disabled = !there; }, still() { show(save.node, false); } };
}
