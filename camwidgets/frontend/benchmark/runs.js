// What is on record: the runs of the file, to reopen, compare, set again, delete; and a copy of the file.
import { h, button, say, show } from "../controls.js";

const STATES = { done: "done", cancelled: "cancelled", running: "not finished" };

export function runsPart(act) {
  const body = h("tbody", {}), none = h("p", { class: "cw-muted" }, "No run is on record yet."), file = h("span", { class: "cw-muted cw-file-name" });
  const heads = ["run", "when", "network and data", "pictures", "state", "what can be done"];
  const table = h("table", { class: "cw-table cw-table-runs", "aria-label": "Past runs" },
    h("thead", {}, h("tr", {}, ...heads.map((text) => h("th", { scope: "col" }, text)))), body);
  const path = h("input", {
    type: "text", class: "cw-text", placeholder: "path of a new file", "aria-label": "Path of the copy", spellcheck: "false",
    onkeydown: (event) => { if (event.key === "Enter") backup(); },
  });
  const backup = () => { if (path.value.trim()) act.send({ kind: "backup", path: path.value.trim() }); };
  const copy = h("div", { class: "cw-field cw-backup" }, h("span", { class: "cw-name" }, "Back up to"), path, button("Back up", backup));
  const node = h("section", { class: "cw-part cw-past", "aria-label": "Past runs" },
    h("header", { class: "cw-part-head" }, h("h3", {}, "Past runs"), file), none, h("div", { class: "cw-scroll" }, table), copy);
  let asking = null, last = null;

  function row(run, shown, busy) {
    const here = run.run === shown.run, going = busy && run.state === "running";
    const words = [h("th", { scope: "row" }, `${run.run}`), h("td", {}, run.made),
      h("td", { title: `${run.methods.join(", ")}\n${run.tests.join(", ")}\nclass: ${run.target}, seed ${run.seed}` },
        h("span", {}, `${run.model} · ${run.data}`), h("small", {}, `${plural(run.methods.length, "method")} × ${plural(run.tests.length, "test")}`)),
      h("td", {}, `${run.done} of ${run.asked}`), h("td", {}, going ? "running" : STATES[run.state] || run.state)];
    return h("tr", { "data-run": run.run, "aria-current": here ? "true" : null }, ...words,
      h("td", { class: "cw-acts" }, asking === run.run ? sure(run) : acts(run, here, shown, busy)));
  }

  function acts(run, here, shown, busy) {
    const compare = button("Compare", () => act.send({ kind: "show", run: shown.run, before: run.run }),
      { title: shown.run ? `what run ${shown.run}, on screen, is beside this one` : "" });
    compare.disabled = here || !shown.run;
    const open = button(here ? "Shown" : "Open", () => act.send({ kind: "show", run: run.run }), { "data-act": "open" });
    open.disabled = here && run.done === shown.pictures && run.state === shown.state;
    const remove = button("Delete", () => { asking = run.run; redraw(); body.querySelector("[data-act=keep]").focus(); }, { "data-act": "delete" });
    const again = button("Set again", () => act.send({ kind: "again", run: run.run }), { title: "ask for the same methods, tests, pictures; Run then goes on with it" });
    remove.disabled = again.disabled = busy;
    return h("div", { class: "cw-pair" }, open, compare, again, remove);
  }

  function sure(run) {
    const back = () => { asking = null; redraw(); };
    return h("div", { class: "cw-pair cw-sure", role: "alertdialog", "aria-label": `Delete run ${run.run}?` }, h("span", {}, `Delete run ${run.run}?`),
      button("Delete", () => { act.send({ kind: "delete", run: run.run }); back(); }, { class: "cw-button cw-danger", "data-act": "really" }),
      button("Keep", back, { "data-act": "keep" }));
  }

  function redraw() { if (last) draw(...last); }
  function draw(runs, shown, busy, name) {
    last = [runs, shown, busy, name];
    if (asking !== null && !runs.some(({ run }) => run === asking)) asking = null;
    say(file, name ? name : "kept until the widget is closed; name a results file to keep them");
    file.title = name;
    show(none, !runs.length);
    show(table, Boolean(runs.length));
    show(copy, Boolean(runs.length));
    body.replaceChildren(...runs.map((run) => row(run, shown, busy)));
  }
  return { node, draw, close() { if (asking === null) return false; asking = null; redraw(); return true; } };
}

export const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;
