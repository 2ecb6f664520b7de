// The grid: one frame per map, what is known of it below, its state over it. All frames look at the same place.
import { h, button, choice, fresh, menu, say, show, tick } from "../controls.js";
import { frame } from "../picture.js";
import { copyText } from "../actions.js";
import { Layer } from "./paint.js";
import { followHand } from "./region.js";
import { curvePlot } from "./curves.js";

const WORDS = { unchecked: "waiting", waiting: "waiting", working: "working …" };
const BUTTONS = { failed: "Run again", cancelled: "Run", costly: "Run now" };

/** One cell. act: {send, hand, drop, code(id), still} */
export function gridCell(id, act) {
  const one = frame("Map. Arrow keys read values in all maps, + and − zoom."), layer = new Layer();
  const title = h("h3", {}), value = h("output", { class: "cw-cell-value", "aria-live": "off" });
  const facts = h("p", { class: "cw-cell-line" }), settings = h("p", { class: "cw-cell-line" });
  const more = cellMenu(id, act), over = overlay(id, act), plot = curvePlot(() => act.send({ kind: "curves", cell: id }));
  one.node.append(over.node);
  followHand(one.node, act.hand);
  const node = h("section", { class: "cw-cell", "data-cell": id },
    h("header", { class: "cw-cell-head" }, title, value, more.node), one.node, facts, settings, plot.node);
  let cell = null;
  return {
    node, layer, plot, menus: more.menus,
    get cell() { return cell; },
    /** Takes the cell's words and map; `told`: {share, text} of what runs for it now. */
    load(next, ground, bytes, told, top) {
      cell = next;
      node.dataset.state = cell.state;
      say(title, cell.title);
      title.append(cell.enhanced ? h("span", { class: "cw-muted" }, " enhanced") : "");
      title.title = cell.enhanced ? `${cell.title}, enhanced by sliding windows` : cell.title;
      one.node.setAttribute("aria-label", `${title.title}. Arrow keys read values in all maps, + and − zoom.`);
      one.node.style.aspectRatio = `${ground.input.width} / ${ground.input.height}`;
      say(facts, cell.facts);
      say(settings, cell.settings);
      for (const line of [facts, settings]) line.title = line.textContent;
      layer.load(ground, cell.map, bytes);
      over.draw(cell, told);
      more.draw(cell);
      plot.draw(cell.curve, told ? told.text : "", cell.state === "done", act.still, top);
    },
    paint(look, seen) {
      layer.compose(look);
      layer.show(one.pixels, seen);
    },
    /** The crosshair, if the seen part has it, and the value there. */
    point(point, seen) {
      const { width, height } = layer.ground.input;
      const place = point && { x: (((point.x + 0.5) / width - seen.left) / seen.side) * width - 0.5, y: (((point.y + 0.5) / height - seen.top) / seen.side) * height - 0.5 };
      one.mark({ point: place }, width);
      const read = layer.value(point);
      say(value, read === null ? "" : read.toFixed(2));
    },
  };
}

/** What lies over the picture while there is no map, or a map that says nothing. */
function overlay(id, act) {
  const words = h("p", { class: "cw-cell-words" }), hint = h("p", { class: "cw-hint" });
  const bar = h("i", {}), track = h("div", { class: "cw-cell-track", role: "progressbar", "aria-valuemin": 0, "aria-valuemax": 100 }, bar);
  const text = h("pre", {}), details = h("details", {}, h("summary", {}, "Details"), text);
  const cancel = button("Cancel", () => act.send({ kind: "cancel", cell: id }));
  const run = button("Run", () => act.send({ kind: "run", cell: id }), { class: "cw-button cw-primary" });
  const node = h("div", { class: "cw-cell-over", role: "status" }, words, track, hint, details, h("div", { class: "cw-row" }, run, cancel));
  return {
    node,
    draw({ state, text: said, hint: advice, details: folded, map, curve }, told) {
      const flat = state === "done" && map.reason, running = state === "working", doing = running || curve.state === "working";
      show(node, state !== "done" || Boolean(flat) || doing);
      node.classList.toggle("cw-cell-aside", state === "done");
      const now = doing ? (told ? told.text : WORDS.working) : WORDS[state];
      const flatWords = flat ? `Why is the map blank? ${map.reason}` : "";
      say(words, state === "unfit" ? `Cannot serve this network: ${said}` : state === "done" && doing ? `curve: ${now}` : now || said || flatWords);
      say(hint, advice || "");
      say(text, folded || "");
      show(hint, Boolean(advice));
      show(details, Boolean(folded));
      show(track, doing);
      bar.style.width = `${100 * (told ? told.share : 0)}%`;
      track.setAttribute("aria-valuenow", Math.round(100 * (told ? told.share : 0)));
      show(cancel, !act.still && (doing || state in WORDS));
      show(run, !act.still && state in BUTTONS);
      say(run, BUTTONS[state] || "");
    },
  };
}

/** Curve, parameters, code, and taking the row away. */
function cellMenu(id, act) {
  const more = menu("More"), title = h("p", { class: "cw-muted" });
  const text = h("pre", { class: "cw-code", tabindex: "0" }), told = h("span", { class: "cw-muted", role: "status" });
  const form = parameterForm(), keep = tick("keep for this network", "later comparisons on this network begin with these", () => {});
  let cell = null;
  const item = (words, does, properties = {}) => button(words, does, { class: "cw-item", ...properties });
  const curve = item("Insertion and deletion curve", () => { more.toggle(false); act.send({ kind: "curves", cell: id }); }, { "data-kind": "curves" });
  const remove = item("Remove this method", () => { more.toggle(false); act.send({ kind: "remove", row: cell.row }); }, { "data-kind": "remove" });
  const apply = button("Apply", () => {
    more.toggle(false);
    act.send({ kind: "set", row: cell.row, parameters: form.values(), keep: keep.node.firstChild.checked });
  }, { class: "cw-button cw-primary" });
  const parameters = h("div", { class: "cw-cell-parameters" }, form.node, h("div", { class: "cw-row" }, apply, keep.node));
  const copy = button("Copy code", () => copyText(text, told), { "data-kind": "code" });
  more.panel.append(title, curve, remove, parameters, h("div", { class: "cw-row" }, copy, told), text);
  more.opener.addEventListener("click", () => {
    say(told, "");
    say(text, act.code(id));
    form.fill(act.parameters(cell));
    show(parameters, !act.still && form.size() > 0);
  });
  if (act.still) { show(curve, false); show(remove, false); }
  return {
    node: more.node, menus: more,
    draw(next) {
      cell = next;
      say(title, cell.enhanced ? `${cell.title}, enhanced` : cell.title);
      more.opener.setAttribute("aria-label", `More about ${title.textContent}`);
      curve.disabled = cell.state !== "done" || cell.curve.state !== "";
    },
  };
}

/** A form from the catalogue's parameters: name, kind, default, range, meaning. */
export function parameterForm() {
  const node = h("div", { class: "cw-parameters" });
  let read = new Map();
  function control({ name, kind, value, low, high, choices, default: usual }) {
    if (kind === "bool") {
      const box = tick(name, "", () => {});
      box.set(value);
      return [box.node, () => box.node.firstChild.checked];
    }
    if (kind === "str") {
      const select = choice(name, () => {});
      select.options(choices.map((one) => ({ value: one, text: one })));
      select.set(value);
      return [select.node, () => select.node.value];
    }
    const input = h("input", {
      type: "number", class: "cw-text", value: String(value), min: low, max: high, step: kind === "int" ? 1 : "any", placeholder: String(usual),
    });
    return [input, () => (input.value === "" ? usual : Number(input.value))];
  }
  const range = ({ low, high }) => (low !== null && high !== null ? ` (${low} … ${high})` : low !== null ? ` (at least ${low})` : high !== null ? ` (at most ${high})` : "");
  return {
    node,
    size: () => read.size,
    fill(parameters) {
      read = new Map();
      node.replaceChildren(...parameters.map((one) => {
        const [input, value] = control(one);
        read.set(one.name, value);
        if (one.kind !== "bool") input.id = fresh("parameter");
        const name = one.kind === "bool" ? h("span", { class: "cw-name" }) : h("label", { class: "cw-name", for: input.id, title: one.name }, one.name);
        return h("div", { class: "cw-parameter" }, h("div", { class: "cw-field" }, name, input), h("p", { class: "cw-muted" }, `${one.meaning}${range(one)}`));
      }));
    },
    values: () => Object.fromEntries([...read].map(([name, value]) => [name, value()])),
  };
}
