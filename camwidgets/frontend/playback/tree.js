// The trees of two epochs, or of two runs: on demand, with progress and a way to end it; columns are stages.
import { button, choice, h, percent, say, segmented, show } from "../controls.js";
import { mark } from "./plot.js";

const ROW = 40, HEADS = 56, BOX = 30, FEET = 28;
const SIGNS = { gained: "+ new", lost: "− gone", strengthened: "▲", weakened: "▼", same: "=" };

/** act: {get, put, send, still, dark()} */
export function treePart(act) {
  const since = choice("Epoch to compare with", (value) => act.put({ since: Number(value) }));
  const against = segmented("Compared with", [
    { value: "since", text: "an earlier epoch", describe: "this run, then and now" }, { value: "other", text: "the other run", describe: "both runs at this epoch" },
  ], (value) => act.put({ against: value }));
  const make = button("Compare trees", () => act.make(), { class: "cw-button cw-primary", title: "grow both trees and compare them (key t)" });
  const words = h("p", { class: "cw-pb-tree-words", role: "status" }), bar = h("i", {});
  const track = h("div", { class: "cw-pb-track", role: "progressbar", "aria-valuemin": 0, "aria-valuemax": 100, "aria-label": "trees" }, bar);
  const cancel = button("Cancel", () => act.send({ kind: "cancel" }));
  const shown = segmented("What is shown of the trees", ["diff", "0", "1"].map((value) => ({ value, text: value })), (value) => { view = value; picture(); });
  const board = h("div", { class: "cw-pb-tree-board" }), result = h("div", { class: "cw-pb-tree-result", hidden: true }, shown.node, board);
  const working = h("div", { class: "cw-pb-tree-working", hidden: true }, track, cancel);
  const controls = h("div", { class: "cw-pb-tree-controls" }, h("span", { class: "cw-muted" }, "compared with"), against.node, since.node, make);
  const node = h("section", { class: "cw-pb-part cw-pb-trees", "aria-label": "Trees" }, h("header", { class: "cw-pb-part-head" }, h("h3", {}, "Why: the tree then and now"), controls), words, working, result);
  let tree = null, view = "diff", drawn = "";
  shown.set("diff");
  function picture() {
    const key = JSON.stringify([tree && tree.key, view, board.clientWidth]);
    if (!tree || tree.state !== "done" || key === drawn) return;
    drawn = key;
    if (view === "diff") { board.replaceChildren(difference(tree, Math.max(560, board.clientWidth || 800))); return; }
    const address = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(tree.drawings[Number(view)])}`;
    board.replaceChildren(h("img", { src: address, alt: `tree of ${tree.names[Number(view)]}`, class: tree.dark ? "cw-pb-on-dark" : "cw-pb-on-light" }));
  }
  function title(list) {
    [...shown.node.querySelectorAll("span")].forEach((one, i) => say(one, list[i]));
  }
  return {
    node, resized: picture,
    draw(runs, weights, now) {
      const get = act.get, other = runs.length === 2, key = JSON.stringify(now);
      tree = get("_tree") || { state: "none" };
      const mine = JSON.stringify(tree.key) === key, busy = tree.state === "working", done = tree.state === "done" && mine, failed = tree.state === "failed" && mine;
      since.options(weights.map((epoch) => ({ value: String(epoch), text: epoch ? `epoch ${epoch}` : "epoch 0, untrained" })));
      since.set(String(get("since")));
      against.set(get("against"));
      show(against.node, other);
      show(since.node, get("against") === "since");
      show(controls, !act.still);
      const same = get("against") === "since" && get("since") === get("epoch");
      make.disabled = busy || done || same || !get("picture") || !weights.length;
      show(working, busy);
      bar.style.width = percent(tree.share || 0);
      track.setAttribute("aria-valuenow", Math.round(100 * (tree.share || 0)));
      show(result, done);
      node.classList.toggle("cw-pb-tree-failed", failed);
      say(words, busy || failed ? tree.text : done ? tree.text : told(same, weights, get, tree));
      if (done) { title(["difference", ...tree.names]); picture(); } else drawn = "";
    },
  };
}

/** What to do next, while there is no tree of this view. */
function told(same, weights, get, tree) {
  if (!weights.length) return "No weights were kept: there is no network to take apart.";
  if (same) return "Choose another epoch to compare with, or move on: this one would be compared with itself.";
  const what = get("against") === "other" ? "both runs at this epoch" : `epoch ${get("since")} and epoch ${get("epoch")}`;
  return `${tree.told === "cancelled" ? "Cancelled. " : ""}Which channels decide for “${get("label")}” here: ${what}, compared. Not made yet for this view.`;
}

function difference(tree, width) {
  const { columns } = tree, rows = Math.max(...columns.map(({ channels }) => channels.length), 2), height = HEADS + ROW * rows + FEET;
  const step = width / (columns.length + 1), half = Math.min(84, step / 2 - 20), places = new Map([["class 0", [step / 2, HEADS + (ROW * (rows - 1)) / 2]]]);
  columns.forEach(({ stage, channels }, i) => {
    const first = HEADS + (ROW * (rows - channels.length)) / 2;
    channels.forEach(({ channel }, j) => places.set(`${stage} ${channel}`, [step * (i + 1.5), first + ROW * j]));
  });
  const text = (x, y, words, kind) => mark("text", { x, y, class: kind, "text-anchor": "middle" }, words);
  const heads = columns.flatMap(({ stage, distance, parting, left }, i) => [
    text(step * (i + 1.5), 16, `${stage} · distance ${distance.toFixed(2)}`, "cw-pb-diff-head"), ...(parting ? [text(step * (i + 1.5), 32, "◆ they part here", "cw-pb-diff-part")] : []),
    ...(left ? [text(step * (i + 1.5), height - 8, `… ${left} more changed less`, "cw-pb-diff-quiet")] : []),
  ]);
  const edges = tree.edges.map((edge) => connection(edge, places, half)), boxes = columns.flatMap(({ stage, channels }) => channels.map((one) => channelBox(one, places.get(`${stage} ${one.channel}`), half)));
  const [x, y] = places.get("class 0");
  const roots = tree.roots.flatMap((root, i) => [text(x, y - 22 + 36 * i, tree.names[i], "cw-pb-diff-quiet"), text(x, y - 8 + 36 * i, `${root.label} ${root.probability === null ? "" : percent(root.probability)}`, "cw-pb-diff-root")]);
  return mark("svg", { viewBox: `0 0 ${width} ${height}`, width, height, class: "cw-pb-diff", role: "img", "aria-label": tree.text }, ...edges, ...heads, ...roots, ...boxes);
}

function connection({ from, to, kind, rise, weight }, places, half) {
  const [ax, ay] = places.get(from.join(" ")), [bx, by] = places.get(to.join(" ")), x0 = ax + (from[0] === "class" ? 56 : half), x1 = bx - half, middle = (x0 + x1) / 2;
  return mark("path", { d: `M ${x0},${ay} C ${middle},${ay} ${middle},${by} ${x1},${by}`, "stroke-width": 1 + 4 * weight,
    class: `cw-pb-diff-edge ${kind === "same" ? "" : rise ? "cw-pb-diff-rise" : "cw-pb-diff-fall"}${kind === "lost" ? " cw-pb-diff-lost" : ""}` });
}

function channelBox({ channel, kind, share, colour, light, also }, [x, y], half) {
  const ink = light ? "#1a1a1a" : "#ffffff", words = `${share.map(shareText).join(" → ")} %`;
  return mark("g", { class: `cw-pb-diff-box${kind === "lost" ? " cw-pb-diff-gone" : ""}`, "data-channel": channel },
    mark("title", {}, `channel ${channel}, ${kind}: ${words} of the class score${also === null ? "" : `; #${also} in the second tree: the same place`}`),
    mark("rect", { x: x - half, y: y - BOX / 2, width: 2 * half, height: BOX, rx: 3, fill: colour }),
    mark("text", { x, y: y - 3, "text-anchor": "middle", fill: ink, class: "cw-pb-diff-name" }, `#${channel} ${SIGNS[kind]}`), mark("text", { x, y: y + 10, "text-anchor": "middle", fill: ink }, words));
}

/** Two digits that count. */
function shareText(share) {
  const value = 100 * share, size = Math.abs(value);
  return (size >= 10 ? value.toFixed(0) : size >= 1 ? value.toFixed(1) : size >= 0.001 ? value.toPrecision(1) : "0").replace("-", "−");
}
