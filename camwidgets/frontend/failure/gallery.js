// The left of FailureExplorer: what failed, who is taken for whom, which channels the failures share.
import { button, choice, h, percent, say, segmented, sharePercent, show } from "../controls.js";

const SORTS = [["most confident", "surest first"], ["least confident", "least sure first"], ["data set", "data set's order"]].map(([value, text]) => ({ value, text }));

/** A long job: how far, time left, Cancel. */
export function jobBar(what, words, act) {
  const text = h("span", { class: "cw-muted" }), fill = h("i"), track = h("div", { class: "cw-job-track", role: "progressbar", "aria-label": words }, fill);
  const cancel = button("Cancel", () => act.send({ kind: "cancel", what }), { class: "cw-button" });
  const node = h("div", { class: "cw-job" }, track, h("div", { class: "cw-row" }, text, cancel));
  return {
    node, cancel,
    draw(progress) {
      const job = (progress || {})[what] || {}, busy = ["running", "stopping"].includes(job.state);
      show(node, busy);
      if (!busy) return false;
      const share = job.total ? job.done / job.total : 0;
      fill.style.width = `${100 * share}%`;
      track.setAttribute("aria-valuenow", Math.round(100 * share));
      cancel.disabled = job.state === "stopping";
      say(text, job.state === "stopping" ? "stopping …" : `${words}: ${job.done} of ${job.total}${job.left === null || job.left === undefined ? "" : ` · ${duration(job.left)} left`}`);
      return true;
    },
  };
}

export function duration(seconds) {
  if (seconds < 1) return "under 1 s";
  return seconds < 90 ? `${Math.round(seconds)} s` : `${Math.round(seconds / 60)} min`;
}

export function galleryPart(act) {
  const headline = h("p", { class: "cw-fail-headline" }), broken = h("details", { class: "cw-fail-broken", hidden: true });
  const by = segmented("Filter by", [
    { value: "confusion", text: "confusion", describe: "who is taken for whom" },
    { value: "shared", text: "shared channels", describe: "failures by the tree channels they share" },
  ], (value) => { state.by = value; draw(); });
  const state = { by: "confusion", get: null };
  const matrix = h("div", { class: "cw-fail-matrix" }), shared = sharedPart(act);
  const filter = h("p", { class: "cw-fail-filter" }), sort = choice("Sort by", (value) => act.ask({ sort: value, page: 0 }));
  sort.options(SORTS);
  const cards = h("div", { class: "cw-fail-cards", role: "group", "aria-label": "Pictures" });
  const before = button("‹", () => turn(-1), { "aria-label": "previous page" }), after = button("›", () => turn(1), { "aria-label": "next page" });
  const where = h("span", { class: "cw-muted" }), pages = h("div", { class: "cw-row cw-fail-pages" }, before, where, after);
  const node = h("section", { class: "cw-fail-gallery", "aria-label": "Failures" }, headline, broken, by.node, matrix, shared.node,
    h("div", { class: "cw-row cw-fail-over" }, filter, sort.node), cards, pages);
  let drawn = null, table = null;

  function turn(step) { act.ask({ page: Math.max(0, (state.get("page") || 0) + step) }); }

  function draw() {
    const get = state.get, words = get("_table") || {};
    by.set(state.by);
    show(matrix, state.by === "confusion");
    show(shared.node, state.by === "shared");
    say(headline, words.failures ? `${words.failures} of ${words.pictures} misclassified · ${percent(words.accuracy, 1)} right`
      : words.pictures ? `No failure among ${words.pictures} pictures. Below are the least confident decisions: where it would fail first.` : "");
    show(broken, Boolean(words.broken));
    if (table !== words) {
      table = words;
      broken.replaceChildren(h("summary", {}, `${words.broken} could not be read`), ...(words.whys || []).map((why) => h("p", { class: "cw-muted" }, why)));
      matrix.replaceChildren(words.classes && words.classes.length ? grid(words, act) : pairs(words, act));
    }
    mark(matrix, get("cell") || []);
    shared.draw(get);
    drawFilter(get);
    drawCards(get);
  }

  function drawFilter(get) {
    const cell = get("cell") || [], group = get("group"), rows = (get("_groups") || {}).rows || [];
    const names = new Map((table.classes || []).map(({ index, label }) => [index, label])), pair = (table.pairs || []).find(({ label, predicted }) => label === cell[0] && predicted === cell[1]);
    const all = button("show all", () => act.ask({ cell: [], group: -1, page: 0 }), { class: "cw-link" });
    if (group >= 0 && rows[group]) filter.replaceChildren(`on ${rows[group].stage} #${rows[group].channel}`, all);
    else if (cell.length) filter.replaceChildren(pair ? pair.text : `${names.get(cell[0])} → ${names.get(cell[1])}`, all);
    else filter.replaceChildren(table.failures ? "all failures" : "least confident");
    sort.set(get("sort"));
    sort.node.disabled = !table.failures;
  }

  function drawCards(get) {
    const words = get("_cards") || {}, list = words.cards || [];
    if (drawn !== words) {
      drawn = words;
      cards.replaceChildren(...list.map((one) => pictureCard(one, act)));
      if (!list.length) cards.append(h("p", { class: "cw-muted" }, "No picture here."));
    }
    for (const one of cards.children) if (one.dataset.number) one.setAttribute("aria-pressed", String(Number(one.dataset.number) === get("chosen")));
    show(pages, (words.pages || 0) > 1);
    say(where, `${(words.page || 0) + 1} of ${words.pages}`);
    before.disabled = !words.page;
    after.disabled = (words.page || 0) + 1 >= (words.pages || 0);
  }

  return { node, shared, draw(get) { state.get = get; draw(); } };
}

function pictureCard(one, act) {
  const words = one.right ? `${one.label}, rightly` : `${one.label} taken for ${one.predicted}`;
  return h("button", {
    type: "button", class: "cw-fail-card", "data-number": one.number, title: `${one.id}: ${words}, ${sharePercent(one.confidence)}`,
    onclick: () => act.choose(one.number),
  }, one.thumb ? h("img", { src: one.thumb, alt: `picture ${one.id}` }) : h("span", { class: "cw-fail-blank" }, "cannot be read"),
  h("span", { class: "cw-fail-true" }, one.label), h("span", { class: "cw-fail-pred" }, one.right ? "right" : `→ ${one.predicted}`), h("span", { class: "cw-fail-sure" }, sharePercent(one.confidence)));
}

/** A small confusion matrix: rows are what it is, columns what it was taken for. */
function grid(words, act) {
  const at = new Map(words.cells.map(([a, b, n]) => [`${a} ${b}`, n])), most = Math.max(1, ...words.cells.filter(([a, b]) => a !== b).map(([, , n]) => n));
  const head = h("tr", {}, h("td", {}), ...words.classes.map(({ label }) => h("th", { scope: "col", title: `taken for ${label}` }, h("span", {}, label))));
  const rows = words.classes.map((own) => h("tr", {}, h("th", { scope: "row", title: own.label }, own.label), ...words.classes.map((taken) => {
    const n = at.get(`${own.index} ${taken.index}`) || 0, right = own.index === taken.index;
    if (!n) return h("td", { class: right ? "cw-fail-right" : "" });
    const tone = right ? "" : `background: color-mix(in srgb, var(--cw-bad) ${Math.round(12 + 40 * n / most)}%, var(--cw-back))`;
    return h("td", { class: right ? "cw-fail-right" : "" }, h("button", {
      type: "button", style: tone, "data-cell": `${own.index} ${taken.index}`,
      title: right ? `${own.label}: ${n} right` : `${n} × ${own.label} taken for ${taken.label}`, onclick: () => pick(act, own.index, taken.index),
    }, String(n)));
  })));
  return h("table", { "aria-label": "Confusion: rows are what it is, columns what it was taken for" },
    h("caption", {}, "rows: what it is · columns: taken for"), h("thead", {}, head), h("tbody", {}, ...rows));
}

/** Of many classes: the pairs, most frequent first. */
function pairs(words, act) {
  return h("div", { class: "cw-fail-pairs" }, ...(words.pairs || []).map(({ label, predicted, count, text }) => h("button", {
    type: "button", class: "cw-item", "data-cell": `${label} ${predicted}`, title: text, onclick: () => pick(act, label, predicted),
  }, h("span", {}, text), h("span", { class: "cw-muted" }, String(count)))));
}

function pick(act, own, taken) {
  const cell = act.get("cell") || [], same = cell[0] === own && cell[1] === taken;
  act.ask({ cell: same ? [] : [own, taken], group: -1, page: 0 });
}

function mark(place, cell) {
  for (const one of place.querySelectorAll("[data-cell]")) one.setAttribute("aria-pressed", String(one.dataset.cell === cell.join(" ")));
}

/** Failures by the channels that their trees share. */
function sharedPart(act) {
  const start = button("Find what they share", () => act.send({ kind: "groups" }), { class: "cw-button cw-primary" });
  const words = h("p", { class: "cw-muted" }, "Takes the wrong decisions apart, a tree for each, and counts the channels that they rest on.");
  const offer = h("div", { class: "cw-fail-offer" }, words, start), bar = jobBar("groups", "trees", act), list = h("div", { class: "cw-fail-groups" });
  const node = h("div", { class: "cw-fail-shared" }, offer, bar.node, list);
  let drawn = null;
  return {
    node,
    draw(get) {
      const groups = get("_groups") || {}, busy = bar.draw(get("_progress"));
      show(offer, !busy && groups.state !== "done");
      start.disabled = !(get("_table") || {}).failures;
      if (groups.state === "failed") say(words, groups.text);
      if (drawn !== groups) {
        drawn = groups;
        list.replaceChildren(...(groups.rows || []).map((one, at) => groupRow(one, at, act)));
        if (groups.state === "done" && !groups.rows.length) list.append(h("p", { class: "cw-muted" }, "No channel is shared by two failures."));
      }
      for (const one of list.children) if (one.dataset.group) one.setAttribute("aria-pressed", String(Number(one.dataset.group) === get("group")));
    },
  };
}

function groupRow(one, at, act) {
  const often = one.lift >= 1.05 ? `${one.lift.toFixed(1)} × as many as among right decisions` : "no more than among right decisions";
  return h("button", {
    type: "button", class: "cw-fail-group", "data-group": at, onclick: () => act.ask({ group: act.get("group") === at ? -1 : at, cell: [], page: 0 }),
  }, h("span", {}, h("b", {}, `${one.count} of ${one.of} errors rest on ${one.stage} #${one.channel}`), one.name ? ` “${one.name}”` : ""),
  h("span", { class: "cw-muted" }, `${percent(one.share)} · ${often} · into ${one.into}`),
  h("span", { class: "cw-fail-strip" }, ...one.patches.map((src) => h("img", { src, alt: "" }))));
}
