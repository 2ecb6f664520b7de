// The middle of FailureExplorer: the picture, what can be done to it, and the prediction before and after.
import { button, choice, field, h, percent, say, segmented, sharePercent, show, slider, tick } from "../controls.js";
import { drawBlend } from "../painting.js";
import { brushFrame } from "./brush.js";

const TOOLS = [
  { value: "brush", text: "Brush", describe: "draw with a round brush (key b)" }, { value: "box", text: "Box", describe: "drag a box (key x)" },
  { value: "object", text: "Object", describe: "the data set's mask of the object" }, { value: "paste", text: "Patch", describe: "set a patch of the channel on the right" },
];
const ACTIONS = [
  { value: "paint", text: "Paint", describe: "cover it with one colour (key p)" }, { value: "blur", text: "Blur", describe: "a Gaussian (key l)" },
  { value: "inpaint", text: "Fill", describe: "fill it smoothly from its surroundings (key f)" }, { value: "background", text: "Background", describe: "keep it, and put another background behind it" },
];

export function casePart(act) {
  const title = h("h3", { class: "cw-fail-title" }), about = h("span", { class: "cw-muted" });
  const frame = brushFrame({
    look: () => ({ tool: act.get("tool"), radius: act.get("radius"), width: state.width, height: state.height, patch: (act.get("_patches") || {}).size || null }),
    done: (content) => act.edit(content), moving: (content) => act.preview(content), dropped: () => act.dropped(),
  });
  const tools = toolbar(act), verdict = h("p", { class: "cw-fail-verdict", role: "status", "aria-live": "polite" }), bars = h("div", { class: "cw-fail-bars" });
  const caption = h("p", { class: "cw-fail-caption cw-muted" });
  const opacity = slider("Map", { min: 0, max: 1, step: 0.01, format: (value) => percent(value), describe: "Opacity of the channel's map", change: (value) => act.put({ opacity: value }) });
  const original = tick("as it was", "show the picture without the changes (key o)", (on) => { state.original = on; act.redraw(); });
  const working = h("p", { class: "cw-fail-wait" });
  const why = h("pre", { class: "cw-fail-details" }), retry = h("div", { class: "cw-fail-retry" },
    button("Try again", () => act.choose(act.get("chosen"))), h("details", {}, h("summary", {}, "Details"), why));
  const node = h("section", { class: "cw-fail-case", "aria-label": "One failure" }, h("header", { class: "cw-fail-head" }, title, about, tools.undo), tools.node,
    frame.node, h("div", { class: "cw-row cw-fail-under" }, caption, original.node, opacity.node), verdict, bars, working, retry);
  const state = { width: 0, height: 0, original: false, painted: null };

  /** picture, now, map: Uint8Array; table: 256×3 bytes. */
  function paint(data) {
    const { width, height } = state, n = width * height;
    if (!n || data.picture.length !== 3 * n) return;
    const shown = data.now.length === 3 * n && !state.original ? data.now : data.picture;
    const over = data.map.length === n && shown === data.picture; // the map is of the picture as it was: it lies over no other
    const key = [shown, over ? data.map : null, over ? act.get("opacity") : 0];
    if (state.painted && key.every((one, i) => one === state.painted[i])) return;
    state.painted = key;
    const map = new Float32Array(n);
    if (over) for (let i = 0; i < n; i++) map[i] = data.map[i] / 255;
    drawBlend(frame.pixels, shown, width, height, map, data.table, over ? act.get("opacity") : 0, true);
  }

  return {
    node, frame, tools, paint,
    flip() { state.original = !state.original; original.set(state.original); act.redraw(); },
    draw(get) {
      const words = get("_case") || {}, there = words.state === "done", effect = get("_effect") || {};
      for (const one of [tools.node, tools.undo, frame.node, verdict, bars, caption.parentElement]) show(one, there);
      show(working, Boolean(words.state) && !there);
      show(retry, words.state === "failed");
      say(why, words.details || "");
      working.classList.toggle("cw-fail-bad", words.state === "failed");
      say(working, words.state === "failed" ? words.text : "opening the picture …");
      say(title, there ? (words.right ? `${words.label}, rightly` : `${words.label} taken for ${words.predicted}`) : words.state ? "" : "Choose a picture");
      say(about, there ? `${sharePercent(words.confidence)} · picture ${words.id}${words.stale ? " · as the table says; the network has other weights by now" : ""}` : words.state ? "" : "Click one in the gallery: it is taken apart here.");
      if (!there) { state.width = state.height = 0; return; }
      Object.assign(state, { width: words.width, height: words.height });
      frame.node.style.aspectRatio = `${words.width} / ${words.height}`;
      frame.node.dataset.tool = get("tool");
      const now = get("_now"), changed = Boolean(now && now.byteLength);
      if (!changed && state.original) state.original = false;
      original.set(state.original);
      original.enable(changed);
      const channel = get("_channel") || {};
      const seen = channel.stage && (!changed || state.original);
      say(caption, seen ? `${channel.stage} #${channel.channel}: ${channel.text}` : changed ? `changed by hand${channel.stage ? "; the channel's map is of the picture as it was" : ""}` : "as the network sees it");
      caption.title = caption.textContent;
      show(opacity.node, Boolean(seen));
      opacity.set(get("opacity"));
      tools.draw(get, words);
      drawVerdict(verdict, effect, words);
      drawBars(bars, effect, words);
      frame.draw();
    },
  };
}

function drawVerdict(node, effect, words) {
  const working = effect.state === "working", so = effect.state === "preview" ? "While you draw: " : "", changed = effect.step > 0;
  node.dataset.kind = working ? "working" : effect.state === "failed" ? "none" : effect.back ? "back" : effect.flipped ? "flipped" : changed ? "same" : "none";
  say(node, working ? "asking the network …" : effect.state === "failed" ? "No prediction: the network could not be asked. Draw or undo, and it is asked again." : !changed ? "Draw, or switch a channel off: the new prediction appears here."
    : so + (effect.back ? `Now right: ${effect.after}. What you changed was decisive.` : effect.flipped ? `Flipped: ${effect.before} → ${effect.after}` : `Still ${effect.after}. ${lead(effect, words)}`));
  node.title = effect.text || "";
}

/** What probabilities near 0 and 1 hide. */
function lead(effect, words) {
  const [before, after] = effect.leads.map((value) => value.toFixed(1).replace("-", "−"));
  return `Its logit's lead over ${words.own.label}: ${before} → ${after}`;
}

/** Before above, after below, in one row a class. */
function drawBars(node, effect, words) {
  const list = effect.bars || [], step = effect.step > 0;
  node.classList.toggle("cw-fail-stale", ["working", "failed"].includes(effect.state));
  node.replaceChildren(...list.map((one) => {
    const role = one.index === words.own.index ? "own" : one.index === words.taken.index ? "taken" : "other";
    const tag = role === "own" ? (words.right ? "it" : "true") : role === "taken" ? (words.right ? "next" : "taken for") : "";
    const moved = one.after - one.before, arrow = !step || Math.abs(moved) < 0.0005 ? "" : moved > 0 ? " ▲" : " ▼";
    return h("div", { class: "cw-fail-bar", "data-role": role, "data-index": one.index, "data-after": one.after },
      h("span", { class: "cw-fail-name", title: one.label }, one.label), h("span", { class: "cw-fail-tag" }, tag),
      h("span", { class: "cw-fail-tracks" }, h("i", { class: "cw-fail-was", style: `width: ${percent(one.before, 2).replace(" ", "")}` }), h("i", { class: "cw-fail-is", style: `width: ${percent(step ? one.after : one.before, 2).replace(" ", "")}` })),
      h("span", { class: "cw-fail-number" }, step ? `${sharePercent(one.before)} → ${sharePercent(one.after)}${arrow}` : sharePercent(one.before)));
  }));
}

function toolbar(act) {
  const tool = segmented("Where", TOOLS, (value) => act.put({ tool: value })), action = segmented("What is done there", ACTIONS, (value) => act.put({ action: value }));
  const radius = slider("Size", { min: 1, max: 64, step: 1, format: (value) => `${value} px`, describe: "Radius of the brush in pixels of the network's input", change: (value) => act.put({ radius: value }) });
  const sigma = slider("Blur", { min: 1, max: 32, step: 1, format: (value) => `σ ${value}`, describe: "Sigma of the blur in pixels", change: (value) => act.put({ sigma: value }) });
  const mean = tick("mean colour", "the mean colour of the rest of the picture", (on) => act.put({ colour: on ? "" : swatch.value }));
  const swatch = h("input", { type: "color", class: "cw-fail-swatch", value: "#808080", "aria-label": "Colour", oninput: () => act.put({ colour: swatch.value }) });
  const outside = tick("everything else", "everything but what is drawn", (on) => act.put({ outside: on }));
  const backdrop = choice("Background taken from", () => {}), whose = field("Taken from", backdrop.node);
  const apply = button("Apply to the object", () => act.edit({ region: { kind: "object" } }));
  const hint = h("span", { class: "cw-muted cw-fail-hint" });
  const undo = button("Undo", () => act.send({ kind: "undo" }), { title: "take the last change back (key u)" }), redo = button("Redo", () => act.send({ kind: "redo" }), { title: "key r" });
  const reset = button("As it was", () => act.send({ kind: "go", step: 0 }), { title: "take every change back" });
  const colour = h("span", { class: "cw-row cw-fail-colour" }, mean.node, swatch);
  const node = h("div", { class: "cw-fail-tools" }, h("div", { class: "cw-row" }, tool.node, h("span", { class: "cw-fail-acts" }, action.node)),
    h("div", { class: "cw-row cw-fail-second" }, radius.node, sigma.node, colour, whose, outside.node, apply, hint));
  return {
    node, backdrop, undo: h("span", { class: "cw-pair cw-fail-undo" }, undo, redo, reset),
    draw(get, words) {
      const which = get("tool"), what = get("action"), log = get("_log") || [], now = log.findIndex(({ state }) => state === "now"), patch = (get("_patches") || {}).size;
      tool.set(which);
      tool.allow(TOOLS.map(({ value }) => value).filter((value) => value !== "object" || words.object));
      action.set(what);
      const paste = which === "paste";
      show(action.node, !paste);
      for (const [part, on] of [[radius.node, which === "brush"], [sigma.node, what === "blur" && !paste], [colour, what === "paint" && !paste],
        [whose, what === "background" && !paste], [outside.node, !paste && what !== "background"], [apply, which === "object"]]) show(part, on);
      radius.set(get("radius"));
      sigma.set(get("sigma"));
      outside.set(get("outside"));
      mean.set(!get("colour"));
      if (get("colour")) swatch.value = get("colour");
      backdrop.options(get("_backdrops") || []);
      say(hint, paste ? (patch ? `click on the picture to set the patch (${patch[0]} × ${patch[1]})` : "choose a patch of a channel on the right first")
        : what === "background" && which !== "object" ? "draw the object that stays" : "");
      undo.disabled = reset.disabled = now <= 0;
      redo.disabled = now < 0 || now >= log.length - 1;
    },
  };
}
