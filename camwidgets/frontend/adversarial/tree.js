// The clean decision's tree and the one at this ε, laid over each other. Rows stay where they are while ε moves.
import { h, say, show } from "../controls.js";
import { svg } from "./curves.js";

const [COLUMN, BOX, ROW, HIGH, ABOVE, ROOT] = [196, 148, 36, 30, 48, 140];

const shareText = (share) => {
  const value = 100 * share, size = Math.abs(value);
  return (size >= 10 ? value.toFixed(0) : size >= 0.001 ? String(Number(value.toPrecision(2))) : "0").replace("-", "−");
};
const short = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);
const ink = ([r, g, b]) => (0.299 * r + 0.587 * g + 0.114 * b > 140 ? "#1a1a1a" : "#ffffff");

export function treePart(act) {
  const drawing = svg("svg", { class: "cw-adv-tree", role: "group", "aria-label": "Change of the tree" });
  const none = h("p", { class: "cw-muted" }), told = h("p", { class: "cw-muted cw-adv-told" });
  const cells = ["clean", "attacked"].map((name) => ({ name, canvas: h("canvas", { class: "cw-adv-canvas", width: 8, height: 8, role: "img", "aria-label": `channel, ${name}` }), under: h("span", { class: "cw-adv-under" }) }));
  const title = h("h4", {}), peaks = h("p", { class: "cw-muted" });
  const side = h("div", { class: "cw-adv-channel" }, title, h("div", { class: "cw-adv-two" }, ...cells.map(({ canvas, under }) => h("figure", {}, canvas, under))), peaks);
  const scroll = h("div", { class: "cw-adv-scroll" }, drawing), body = h("div", { class: "cw-adv-why" }, scroll, side);
  const node = h("section", { class: "cw-adv-part", "aria-label": "Tree" }, h("header", { class: "cw-adv-part-head" }, h("h3", {}, "Why: the clean tree → the tree at this ε"), told), none, body);
  let places = [], drawn = "", painted = "", sweep = null;

  function layout({ tree }) {
    const counts = tree.stages.map((stage) => tree.rows.filter((row) => row.stage === stage).length), high = Math.max(3, ...counts);
    const next = tree.stages.map(() => 0);
    places = tree.rows.map((row) => {
      const column = tree.stages.indexOf(row.stage);
      return { x: ROOT + 32 + column * COLUMN, y: ABOVE + ROW * next[column]++ };
    });
    const width = ROOT + 32 + tree.stages.length * COLUMN - (COLUMN - BOX) + 8, height = ABOVE + ROW * high + 24;
    drawing.setAttribute("viewBox", `0 0 ${width} ${height}`);
    drawing.style.maxWidth = `${1.1 * width}px`;
    drawing.style.minWidth = `${Math.min(width, 480)}px`;
    return { height, counts };
  }

  /** From the class, or from a channel, to a channel. */
  function edge([from, to, kind, change], most, middle) {
    const a = from < 0 ? { x: ROOT, y: middle } : { x: places[from].x + BOX, y: places[from].y + HIGH / 2 };
    const b = { x: places[to].x, y: places[to].y + HIGH / 2 }, half = (a.x + b.x) / 2;
    return svg("path", {
      d: `M ${a.x},${a.y} C ${half},${a.y} ${half},${b.y} ${b.x},${b.y}`, class: "cw-adv-edge", "data-kind": kind,
      "data-sign": kind === "same" ? "same" : change > 0 ? "up" : "down", "stroke-width": (1 + (3 * Math.abs(change)) / most).toFixed(2),
    });
  }

  function box(row, cell, at, chosen, signs) {
    const { x, y } = places[at], fill = cell ? `rgb(${cell.colour.join()})` : null, colour = cell ? ink(cell.colour) : null;
    const sign = cell ? signs[cell.kind] : "", share = cell ? `${shareText(cell.share[0])} → ${shareText(cell.share[1])} %` : "in neither tree";
    const node = svg("g", {
      class: "cw-adv-box", tabindex: "0", role: "button", "data-name": row.name, "data-kind": cell ? cell.kind : "none", "aria-pressed": String(chosen),
      "aria-label": `${row.name}: ${cell ? `${cell.kind}, share ${share}` : share}`,
    }, svg("rect", { x, y, width: BOX, height: HIGH, rx: 4, style: fill ? `fill: ${fill}` : null }),
    svg("text", { x: x + 8, y: y + 13, class: "cw-adv-name", style: colour ? `fill: ${colour}` : null }, `#${row.channel} ${sign}`),
    svg("text", { x: x + 8, y: y + 25, style: colour ? `fill: ${colour}` : null }, share));
    const pick = () => act.put({ channel: row.name });
    node.addEventListener("click", pick);
    node.addEventListener("keydown", (event) => { if (event.key === "Enter" || event.key === " ") { pick(); event.preventDefault(); event.stopPropagation(); } });
    return node;
  }

  function root(frame, first, middle) {
    const one = (words, y) => [svg("text", { x: 8, y, class: "cw-adv-name" }, short(words.label, 19)),
      svg("text", { x: 8, y: y + 14 }, `${(100 * words.p).toFixed(0)} % · logit ${words.score.toFixed(2).replace("-", "−")}`)];
    return svg("g", {}, ...one(first, middle - 26), svg("text", { x: 8, y: middle + 6 }, "↓"), ...one(frame, middle + 24));
  }

  function tree(i, channel) {
    const { tree: words } = sweep, { height, counts } = layout(sweep), frame = words.frames[i], middle = (ABOVE + height - 24) / 2;
    const most = Math.max(1e-9, ...frame.edges.map(([, , , change]) => Math.abs(change)));
    const heads = words.stages.flatMap((stage, c) => {
      const x = ROOT + 32 + c * COLUMN, [left, size] = frame.left[c], parts = frame.parting === stage;
      return [svg("text", { x, y: 16, class: "cw-adv-name" }, `${stage}${parts ? " ◆ part here" : ""}`),
        svg("text", { x, y: 32 }, frame.distances[c] === null ? "" : `distance ${frame.distances[c].toFixed(2)}`),
        svg("text", { x, y: ABOVE + ROW * counts[c] + 12 }, left ? `… ${left} more within ±${shareText(size)} %` : "")];
    });
    const focus = drawing.contains(document.activeElement) ? document.activeElement.dataset.name : null;
    drawing.replaceChildren(...[...frame.edges].reverse().map((one) => edge(one, most, middle)), root(frame.root, words.frames[0].root, middle), ...heads,
      ...words.rows.map((row, at) => box(row, frame.cells[at], at, row.name === channel, words.signs)));
    if (focus) [...drawing.querySelectorAll("[data-name]")].find((one) => one.dataset.name === focus)?.focus();
    say(told, i ? `distance ${frame.distance.toFixed(2)}${frame.parting ? `, part at ${frame.parting}` : ", the same channels"}` : "the clean tree itself: move ε");
  }

  function map(data, i, channel, look) {
    const { rows } = sweep.tree, at = rows.findIndex(({ name }) => name === channel);
    side.style.visibility = at < 0 ? "hidden" : "visible";
    if (at < 0) return;
    const row = rows[at], count = sweep.frames.length, each = (one) => one.width * one.height;
    const start = rows.slice(0, at).reduce((sum, one) => sum + count * each(one), 0);
    [0, i].forEach((frame, j) => {
      data.paint(cells[j].canvas, frame, data.enlarged(data.responses, start + frame * each(row), row.height, row.width), look);
      say(cells[j].under, `${cells[j].name}: ${row.peaks[frame].toFixed(2)}`);
    });
    say(title, `What ${row.name} answers to`);
    say(peaks, `Its response, ${row.height} × ${row.width}, both in units of its largest in the sweep, ${Math.max(...row.peaks).toFixed(2)}.`);
  }
  return {
    node,
    draw(data, i, channel, look) {
      sweep = data.sweep;
      show(body, Boolean(sweep.tree));
      show(none, !sweep.tree);
      if (!sweep.tree) { say(none, sweep.no_tree); say(told, ""); return; }
      const key = [sweep.id, i, channel].join();
      if (key !== drawn) { drawn = key; tree(i, channel); }
      if (painted !== `${key} ${look.name} ${look.opacity}`) { painted = `${key} ${look.name} ${look.opacity}`; map(data, i, channel, look); }
    },
  };
}
