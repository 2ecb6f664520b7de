// Numbers in tables: methods × results with intervals, two methods beside each other, two runs beside each other.
import { h, choice, say, show } from "../controls.js";

const MINUS = "−";
export const number = (value, digits = 3) => (value === null || value === undefined ? "–" : value.toFixed(digits).replace("-", MINUS));
const signed = (value) => (value === null || value === undefined ? "–" : `${value > 0 ? "+" : ""}${number(value)}`);
const range = (low, high, write = number) => (low === null || high === null ? "" : `${write(low)} … ${write(high)}`);

/** Which cells hold the best of their column (several when they are equal), as a set of "row,column". */
export function bestCells(report) {
  const found = new Set();
  report.results.forEach(({ better }, column) => {
    const values = report.rows.map(({ cells }) => cells[column][0]), known = values.filter((value) => value !== null);
    if (!known.length) return;
    const top = (better > 0 ? Math.max : Math.min)(...known);
    values.forEach((value, row) => { if (value === top) found.add(`${row},${column}`); });
  });
  return found;
}

/** Rows in the order of a column; what has no value comes last. key: "method", "seconds", "passes" or a result's place. */
export function sortedRows(report, sort) {
  const rows = report.rows.map((row, at) => ({ ...row, at }));
  if (!sort) return rows;
  const value = (row) => (sort.key === "method" ? row.method.toLowerCase() : sort.key === "seconds" ? row.seconds :
    sort.key === "passes" ? row.forward + row.backward : row.cells[sort.key][0]);
  const order = (a, b) => (value(a) === null ? 1 : value(b) === null ? -1 : value(a) < value(b) ? -sort.by : value(a) > value(b) ? sort.by : a.at - b.at);
  return rows.sort(order);
}

/** Methods × results. A click on a head sorts by it, best first; a second one turns the order round. */
export function resultTable(sorted) {
  const table = h("table", { class: "cw-table cw-table-results", "aria-label": "Results" });
  const node = h("div", { class: "cw-scroll", tabindex: "0", role: "region", "aria-label": "Table of results" }, table);
  let report = null, sort = null;
  const first = (key) => (typeof key === "number" ? -report.results[key].better : 1);
  function by(key) {
    sort = sort && sort.key === key ? (sort.by === first(key) ? { key, by: -sort.by } : null) : { key, by: first(key) };
    draw();
    table.querySelector(`[data-key="${key}"]`).focus();
    if (typeof key === "number") sorted(report.results[key].name);
  }
  function head(key, text, title, kind = "") {
    const on = sort && sort.key === key, mark = on ? (sort.by > 0 ? " ▴" : " ▾") : "";
    return h("th", { scope: "col", class: kind, "aria-sort": on ? (sort.by > 0 ? "ascending" : "descending") : "none" },
      h("button", { type: "button", class: "cw-sort", title, "data-key": key, onclick: () => by(key) }, text,
        h("span", { class: "cw-sort-mark", "aria-hidden": "true" }, mark)));
  }
  function draw() {
    const best = bestCells(report);
    const heads = report.results.map(({ name, title, arrow, unit }, at) => head(at, `${name} ${arrow}`, `${title} (${unit}); sort`));
    const rows = sortedRows(report, sort).map((row) => h("tr", {},
      h("th", { scope: "row", class: row.baseline ? "cw-baseline" : "" }, row.method, row.baseline ? h("small", {}, "baseline") : null),
      ...row.cells.map(([value, low, high], at) => h("td", {},
        h(best.has(`${row.at},${at}`) ? "b" : "span", {}, number(value)), h("small", {}, range(low, high)))),
      h("td", {}, h("span", {}, number(row.seconds)), h("small", {}, "s")),
      h("td", {}, h("span", {}, number(row.forward + row.backward, 0)), h("small", {}, `${number(row.forward, 0)} + ${number(row.backward, 0)}`))));
    const focused = table.contains(document.activeElement) ? document.activeElement.dataset.key : undefined; // it is drawn anew while a run goes on
    table.replaceChildren(
      h("thead", {}, h("tr", {}, head("method", "method", "sort by name"), ...heads, head("seconds", "s/map", "mean seconds for one map; sort"),
        head("passes", "passes", "mean forward + backward passes for one map; sort"))),
      h("tbody", {}, ...rows));
    if (focused !== undefined) table.querySelector(`[data-key="${focused}"]`)?.focus();
  }
  return {
    node,
    draw(words) {
      if (!report || report.results.length !== words.results.length || report.run !== words.run) sort = null;
      report = words;
      draw();
    },
  };
}

/** Two methods of one run on the same pictures. */
export function pairPart(ask) {
  const tell = () => {
    if (a.node.value === b.node.value) return draw(null);
    table.classList.add("cw-stale"); // it keeps its room, and is not read for the new two
    say(words, "asking the kernel …");
    ask(a.node.value, b.node.value);
  };
  const a = choice("First method", tell), b = choice("Second method", tell);
  const table = h("table", { class: "cw-table", "aria-label": "Difference of two methods" }), words = h("p", { class: "cw-muted" });
  const node = h("section", { class: "cw-part cw-pairing", "aria-label": "Two methods" }, h("h3", {}, "Two methods on the same pictures"),
    h("div", { class: "cw-field" }, a.node, h("span", {}, MINUS), b.node), h("div", { class: "cw-scroll" }, table), words);
  function draw(pair, going) {
    const there = Boolean(pair && pair.rows && pair.rows.length);
    show(table, there);
    table.classList.remove("cw-stale");
    say(words, there ? "Bold: the 95 % interval does not hold 0." : pair && pair.problem ? `Cannot be said: ${pair.problem}.` : going ? "Compared when the run is over." : "Choose two methods.");
    if (!there) return;
    table.replaceChildren(h("thead", {}, h("tr", {}, ...["result", "difference", "95 % interval", "better"].map((text) => h("th", { scope: "col", class: text === "better" ? "cw-words-cell" : null }, text)))),
      h("tbody", {}, ...pair.rows.map((row) => h("tr", {}, h("th", { scope: "row", title: row.title }, `${row.result} ${row.arrow}`),
        h("td", {}, h(row.better ? "b" : "span", {}, signed(row.difference))), h("td", {}, range(row.low, row.high, signed)),
        h("td", { class: "cw-words-cell" }, row.better || (row.low === 0 && row.high === 0 ? "the same" : "not told apart"))))));
  }
  return {
    node, draw,
    options(methods) {
      const chosen = [a.node.value, b.node.value];
      for (const select of [a, b]) select.options(methods.map((value) => ({ value, text: value })));
      if (chosen.every((one) => methods.includes(one))) { a.set(chosen[0]); b.set(chosen[1]); }
      else if (methods.length > 1) b.set(methods[1]);
      show(node, methods.length > 1);
    },
    at(pair) { if (pair && pair.a) { a.set(pair.a); b.set(pair.b); } },
    ask: tell,
  };
}

/** Two runs: before → after, and the difference with its interval on the pictures of both. */
export function changePart(done) {
  const table = h("table", { class: "cw-table", "aria-label": "Difference of two runs" }), words = h("p", { class: "cw-muted" }), title = h("h3", {});
  const asked = h("table", { class: "cw-table cw-table-asked", "aria-label": "What was asked differently" }), alike = h("p", { class: "cw-muted" });
  const node = h("section", { class: "cw-part cw-changes", "aria-label": "Two runs", hidden: true },
    h("header", { class: "cw-part-head" }, title, h("button", { type: "button", class: "cw-link", onclick: () => done() }, "Close")),
    h("div", { class: "cw-scroll" }, asked), alike, h("div", { class: "cw-scroll" }, table), words);
  const cell = (one) => h("td", {}, h("span", {}, `${number(one.before)} → ${number(one.after)}`),
    h("small", {}, h(["better", "worse"].includes(one.kind) ? "b" : "span", {}, signed(one.difference)), one.low === null ? "" : ` (${range(one.low, one.high, signed)})`),
    h("small", {}, one.kind || (one.low === null ? "" : "not told apart")));
  return {
    node,
    draw(change) {
      const there = Boolean(change && change.before);
      show(node, there);
      if (!there) return;
      say(title, `Run ${change.before.run} → run ${change.after.run}`);
      say(words, change.problem ? `Cannot be compared: ${change.problem}.` :
        change.common ? `On the ${change.common} pictures of both runs, paired; in brackets the 95 % interval of the difference.` :
          "The runs have no picture in common: each number is of its own pictures, and there is no interval.");
      show(table, !change.problem);
      show(asked, change.settings.length > 0);
      say(alike, change.settings.length || change.problem ? "" : "Nothing was asked differently.");
      asked.replaceChildren(h("thead", {}, h("tr", {}, ...["asked differently", `run ${change.before.run}`, `run ${change.after.run}`].map((text) => h("th", { scope: "col" }, text)))),
        h("tbody", {}, ...change.settings.map(([name, one, other]) => h("tr", {}, h("th", { scope: "row" }, name), h("td", {}, one), h("td", {}, other)))));
      table.replaceChildren(h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "method"),
        ...change.results.map(({ name, arrow, title: about }) => h("th", { scope: "col", title: about }, `${name} ${arrow}`)))),
        h("tbody", {}, ...change.rows.map((row) => h("tr", {}, h("th", { scope: "row" }, row.method), ...row.cells.map(cell)))));
    },
  };
}
