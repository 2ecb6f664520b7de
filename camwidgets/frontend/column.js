// The column beside the picture: what → where → how → show. Each control writes one trait.
import { h, button, choice, field, group, menu, percent, say, search, segmented, show, slider, tick } from "./controls.js";
import { classList } from "./stages.js";

const SIGNS = [
  { value: "positive", text: "positive", describe: "ReLU(g): what speaks for the class (the paper)" },
  { value: "signed", text: "signed", describe: "g: for and against are summed before the ReLU" },
  { value: "absolute", text: "absolute", describe: "|g|: what matters either way" },
  { value: "negative", text: "negative", describe: "ReLU(−g): what speaks against the class" },
];

/** Picture and network: choose, open by path, upload. */
export function subject(act) {
  const picture = choice("Picture", (value) => act.ask({ picture: value }));
  const network = choice("Network", (value) => act.ask({ network: value }));
  const path = h("input", {
    type: "text", class: "cw-text", placeholder: "path of picture or folder", "aria-label": "Path of a picture or a folder",
    spellcheck: "false", onkeydown: (event) => { if (event.key === "Enter") open(); },
  });
  const file = h("input", {
    type: "file", accept: "image/*", class: "cw-file", tabindex: "-1", "aria-label": "Picture file",
    onchange: () => { if (file.files.length) act.upload(file.files[0]); file.value = ""; },
  });
  const open = () => { if (path.value.trim()) act.send({ kind: "open", path: path.value.trim() }); };
  const fields = [
    field("Picture", picture.node, h("span", { class: "cw-pair" },
      button("‹ Prev", () => act.turn(-1), { title: "previous picture (key [)" }),
      button("Next ›", () => act.turn(1), { title: "next picture (key ])" }))),
    h("div", { class: "cw-field cw-needs-kernel" }, h("span", { class: "cw-name" }), path,
      h("span", { class: "cw-pair" }, button("Open", open), button("Upload…", () => file.click()), file)),
    field("Network", network.node),
  ];
  return { fields, picture, network };
}

export function what(act) {
  const { fields, picture, network } = subject(act);
  const classes = classList((index) => act.ask({ target: index }));
  const labels = search("search all classes", (text) => act.findLabels(text), (index) => act.ask({ target: index }));
  const node = group("What", act.reset("what"), ...fields,
    h("div", { class: "cw-field cw-top" }, h("span", { class: "cw-name" }, "Class"),
      h("div", { class: "cw-grow" }, classes.node, labels.node)));
  const still = () => [...node.querySelectorAll(".cw-needs-kernel, .cw-pair, .cw-searchbox, header button")].forEach((part) => show(part, false));
  return {
    node, picture, network, classes, labels,
    still() {
      still();
      for (const part of node.querySelectorAll("select, .cw-class")) part.disabled = true;
    },
  };
}

export function where(act) {
  const method = choice("Method", (value) => act.ask({ method: value }));
  const quick = (text, pick, describe) => button(text, () => act.put({ stages: pick(act.stageNames()) }), { title: describe });
  const sets = h("span", { class: "cw-pair" },
    quick("deepest", (all) => all.slice(-1), "the last stage only, as Grad-CAM does"),
    quick("deepest 3", (all) => all.slice(-3), "the three deepest stages"),
    quick("all", (all) => all, "every stage"));
  const channel = tick("one channel", "show a single channel instead of the fused map",
    (on) => act.put({ channel_stage: on ? act.deepestChosen() : "" }));
  const stage = choice("Stage of the channel", (value) => act.put({ channel_stage: value, channel_rank: 0 }));
  const rank = slider("Rank", {
    min: 1, max: 1, step: 1, format: (value) => `${value}`, describe: "Channel by rank of its contribution to the class",
    change: (value) => act.put({ channel_rank: value - 1 }),
  });
  const fact = h("div", { class: "cw-fact cw-muted" });
  const single = h("div", { class: "cw-needs-kernel" }, rank.node,
    h("div", { class: "cw-field" }, h("span", { class: "cw-name" }), fact));
  const node = group("Where", act.reset("where"),
    field("Method", method.node),
    h("div", { class: "cw-field" }, h("span", { class: "cw-name" }, "Stages"), sets),
    h("div", { class: "cw-field cw-needs-kernel" }, h("span", { class: "cw-name" }, "Channel"), channel.node, stage.node),
    single);
  return {
    node, method,
    draw(scene, on, at, drawn) {
      channel.set(Boolean(on));
      single.classList.toggle("cw-off", !on);
      stage.node.disabled = rank.input.disabled = !on;
      const of = scene.stages.find(({ name }) => name === on) || scene.stages[scene.stages.length - 1];
      stage.options(scene.stages.map(({ name }) => ({ value: name, text: name })));
      stage.set(of.name);
      rank.limit(of.channels);
      rank.set(at + 1);
      say(fact, !on ? "off: all channels take part" : drawn ? drawn.fact : "asking the kernel …");
    },
    still() {
      for (const part of node.querySelectorAll(".cw-needs-kernel")) show(part, false);
      method.node.disabled = true;
    },
  };
}

export function how(act) {
  const gradient = segmented("Gradient sign", SIGNS, (value) => act.put({ gradient: value }));
  const gamma = slider("γ", {
    min: 0.1, max: 10, step: 0.1, format: (value) => value.toFixed(1), describe: "Gamma: strength of the tanh scale",
    change: (value) => act.put({ gamma: value }),
  });
  const scale = choice("Scale function", (value) => act.put({ scale: value, preset: null }));
  scale.options(["tanh", "none", "cbrt", "tan"].map((value) => ({ value, text: value })));
  const reduce = choice("Reduction over stages", (value) => act.put({ reduce: value, preset: null }));
  reduce.options(["max", "mean", "product"].map((value) => ({ value, text: value })));
  const preset = choice("Preset", (value) => act.preset(value || null));
  const node = group("How", act.reset("how"),
    h("div", { class: "cw-field" }, h("span", { class: "cw-name" }, "Gradient"), gradient.node),
    field("Preset", preset.node), gamma.node,
    h("div", { class: "cw-field" }, h("label", { class: "cw-name" }, "Scale"), scale.node,
      h("span", { class: "cw-name cw-second" }, "join by"), reduce.node));
  return {
    node, gradient, preset,
    /** scaled: the chosen stages that the scale function acts on. */
    draw(plan, off, scaled) {
      gamma.set(plan.gamma);
      gamma.enable(plan.scale === "tanh" && scaled.length > 0 && !off);
      gamma.input.title = scaled.length ? `acts on ${scaled.join(", ")}` : "acts on no stage that is on: the two deepest are not scaled";
      scale.set(plan.scale);
      reduce.set(plan.reduce);
      for (const select of [scale, reduce, preset]) select.node.disabled = off;
    },
  };
}

export function display(act) {
  const opacity = slider("Opacity", {
    min: 0, max: 1, step: 0.01, format: (value) => percent(value), describe: "Opacity of the map over the picture",
    change: (value) => act.put({ opacity: value }),
  });
  const blend = segmented("Blend", [
    { value: "even", text: "even", describe: "the same opacity everywhere" },
    { value: "by value", text: "by value", describe: "strong values cover, weak values let the picture through" },
  ], (value) => act.put({ blend: value }));
  const colormap = choice("Colours", (value) => act.put({ colormap: value }));
  const threshold = slider("Threshold", {
    min: 0.01, max: 0.99, step: 0.01, format: (value) => percent(value), describe: "Threshold in per cent of the maximum",
    change: (value) => act.put({ threshold: value }),
  });
  const contour = tick("contour", "outline where the map reaches the threshold", (on) => act.put({ contour: on }));
  const box = tick("box", "bounding box of the largest connected part above the threshold", (on) => act.put({ box: on }));
  const node = group("Show", act.reset("show"), opacity.node,
    h("div", { class: "cw-field" }, h("span", { class: "cw-name" }, "Blend"), blend.node, colormap.node),
    threshold.node,
    h("div", { class: "cw-field" }, h("span", { class: "cw-name" }), contour.node, box.node));
  return { node, opacity, blend, colormap, threshold, contour, box };
}

/** Bottom line: how the view was made, and what can be taken away. */
export function footer(act, made) {
  const pin = button("Pin", () => act.pin(), { "aria-pressed": "false", title: "keep this view beside the live one (key p)" });
  const code = menu("Copy code");
  const text = h("pre", { class: "cw-code", tabindex: "0" }), told = h("span", { class: "cw-muted" });
  code.panel.append(h("p", {}, "These lines reproduce the map. ", told), text);
  code.opener.addEventListener("click", () => act.copy(text, told));
  const save = menu("Save");
  const items = [
    ["Picture (PNG)", "png"], ["Explanation (ZIP: JSON + NPZ)", "bundle"], ["Page that works alone (HTML)", "html"],
  ].map(([words, kind]) => {
    const item = button(words, () => { save.toggle(false); act.save(kind); }, { class: "cw-item", "data-kind": kind });
    return item;
  });
  save.panel.append(...items);
  const node = h("footer", { class: "cw-foot" }, made, h("div", { class: "cw-pair" }, pin, code.node, save.node));
  return { node, pin, code, save, text, still() { show(code.node, false); items.slice(1).forEach((item) => show(item, false)); } };
}
