// Benchmark: what is asked at the right, what came out at the left. The kernel evaluates; this draws and asks.
import { button, h, menu, say, show } from "./controls.js";
import { notice } from "./picture.js";
import { download, listen, writes } from "./actions.js";
import { Link, fileOf } from "./link.js";
import { changePart, pairPart, resultTable } from "./benchmark_table.js";
import { figurePart } from "./benchmark_figure.js";
import { plural, runsPart } from "./benchmark_runs.js";
import { benchmarkFoot, howGroup, methodsPart, runBar, testsPart, troublesPart, whatGroup } from "./benchmark_column.js";

const CHOSEN = ["network", "data", "methods", "enhanced", "tests", "parameters", "limit", "target", "seed", "results", "code", "problem"];
const ASKED = CHOSEN.slice(0, -2);
const LISTS = ["_networks", "_sets", "_methods", "_tests", "_found"];

class Bench {
  constructor(model) {
    this.model = model;
    this.get = (name) => model.get(name);
    this.link = new Link(model, {
      redraw: () => this.redraw(), asking: () => say(this.busy, "asking the kernel …"), silent: (status) => this.note.tell(status),
    });
    this.build();
    this.bind();
    this.redraw();
    this.progress();
    this.results();
    this.status();
  }

  // ---------------------------------------------------------------- building
  build() {
    const act = { get: this.get, ask: (changes) => this.link.ask(changes), put: (changes) => this.link.put(changes), send: (content) => this.send(content) };
    this.parts = [whatGroup(act), methodsPart(act), testsPart(act), howGroup(act)];
    this.bar = runBar(act);
    this.table = resultTable((name) => this.figure.pick(name));
    this.figure = figurePart();
    this.pair = pairPart((a, b) => this.send({ kind: "pair", a, b }));
    this.change = changePart(() => this.send({ kind: "show", run: this.get("_report").run }));
    this.troubles = troublesPart();
    this.past = runsPart(act);
    this.foot = benchmarkFoot(act);
    this.note = notice(() => this.link.send({ kind: "offer" }), () => this.dismiss());
    this.headline = h("p", { class: "cw-headline" });
    this.legend = h("p", { class: "cw-muted" }, "Below each number its 95 % interval (bootstrap over pictures). ↑ more is better, ↓ less is better; bold: the best.");
    this.found = h("div", { class: "cw-results" }, h("section", { class: "cw-part", "aria-label": "Results" }, this.headline, this.table.node, this.legend),
      this.troubles.node, this.change.node, this.figure.node, this.pair.node);
    this.first = button("Choose the toy world", () => this.link.ask({ network: "toy", data: "toyworld" }), { class: "cw-button cw-primary" });
    this.empty = h("div", { class: "cw-bench-empty" }, h("p", {}, "No results yet. Choose what is evaluated, then press Run; or open a run that is on record, below."), this.first);
    this.view = h("div", { class: "cw-view" }, this.note.node, this.bar.node, this.empty, this.found, this.past.node);
    this.column = h("fieldset", { class: "cw-column", "aria-label": "What is evaluated" }, ...this.parts.map(({ node }) => node));
    this.root = h("div", { class: "cw-root cw-benchmark" }, this.head(), h("div", { class: "cw-body" }, this.view, this.column), this.foot.node);
  }

  head() {
    this.busy = h("span", { class: "cw-busy", role: "status", "aria-live": "polite" });
    this.keys = menu("Keys", { class: "cw-link", title: "keyboard (key ?)" });
    const rows = [["r", "run, or resume"], ["x", "cancel the run"], ["Enter", "in a path: find; on a head: sort"], ["Esc", "close what is open"], ["?", "this list"]];
    this.keys.panel.append(h("dl", { class: "cw-keys" }, ...rows.flatMap(([key, words]) => [h("dt", {}, h("kbd", {}, key)), h("dd", {}, words)])));
    this.about = h("span", { class: "cw-muted cw-about" });
    return h("header", { class: "cw-head" }, h("h2", {}, "camwidgets"), this.about, this.busy, this.keys.node);
  }

  bind() {
    this.stops = [];
    const on = (names, act) => names.forEach((name) => this.stops.push(listen(this.model, `change:${name}`, act)));
    on([...CHOSEN, ...LISTS], () => this.redraw());
    on(["_progress", "problem", "code"], () => this.progress());
    on(["_report", "_pair", "_change"], () => this.results());
    on(["_runs", "results"], () => this.runs());
    on(["_status"], () => this.status());
    this.stops.push(listen(this.model, "msg:custom", (content, buffers) => this.receive(content, buffers)));
    this.root.addEventListener("keydown", (event) => this.key(event));
    const watch = new ResizeObserver(() => this.figure.redraw());
    watch.observe(this.view);
    this.stops.push(() => watch.disconnect());
  }

  // ---------------------------------------------------------------- drawing
  redraw() {
    if (this.waiting) return;
    this.waiting = requestAnimationFrame(() => {
      this.waiting = 0;
      this.parts.forEach((part) => part.draw(this.get));
      show(this.first, !this.get("data"));
      say(this.foot.text, this.get("code") || "");
      say(this.foot.made, this.plan());
      this.runs();
    });
  }

  /** What Run would do, in a line. */
  plan() {
    const methods = this.get("methods").length + this.get("enhanced").length, tests = this.get("tests").length, found = this.get("_found") || {};
    const pictures = Math.min(this.get("limit") ?? Infinity, found.pictures ?? Infinity);
    return `${plural(methods, "method")} × ${plural(tests, "test")} × ${Number.isFinite(pictures) ? plural(pictures, "picture") : "all pictures"} · ${this.get("network")} · ${found.name || "no data set"}`;
  }

  progress() {
    const progress = this.get("_progress") || { state: "idle" };
    const busy = this.working();
    if (busy) this.ran = this.get("code");
    this.bar.draw(progress, this.get("problem"), progress.state === "cancelled" && this.ran === this.get("code"));
    this.column.disabled = busy;
    this.column.classList.toggle("cw-off", busy);
    this.root.setAttribute("aria-busy", String(busy));
    if (busy !== this.wasBusy) { this.wasBusy = busy; this.runs(); }
  }

  working() { return ["running", "stopping"].includes((this.get("_progress") || {}).state); }

  results() {
    const report = this.get("_report") || {}, there = Boolean(report.run);
    show(this.found, there);
    show(this.empty, !there);
    this.foot.allow(there);
    if (there) {
      const state = report.state === "done" ? "" : report.state === "cancelled" ? " · cancelled" : " · not finished";
      say(this.headline, `Run ${report.run} · ${report.model} on ${report.data} · ${report.pictures} of ${report.asked} pictures · ${report.target === "label" ? "the label's class" : "the predicted class"}${state}`);
      if (this.drawn !== report) {
        this.drawn = report;
        this.table.draw(report);
        this.figure.draw(report);
        this.troubles.draw(report);
        this.pair.options(report.rows.map(({ method }) => method));
      }
      this.change.draw(this.get("_change"));
      this.pair.draw(this.get("_pair"));
      this.pair.at(this.get("_pair"));
    }
    this.runs();
  }

  runs() { this.past.draw(this.get("_runs") || [], this.get("_report") || {}, this.working(), this.get("results")); }

  status() {
    this.link.answered();
    const status = this.get("_status") || { state: "idle" };
    say(this.busy, ["working", "told"].includes(status.state) ? status.text : "");
    this.busy.title = this.busy.textContent;
    this.note.tell(["error", "offer"].includes(status.state) ? status : null);
  }

  // ---------------------------------------------------------------- acts
  send(content) {
    this.model.save_changes();
    // Messages overtake changes that wait for the kernel: what Run is to do goes with it.
    const asked = content.kind === "run" ? { asked: Object.fromEntries(ASKED.map((name) => [name, this.get(name)])) } : {};
    this.link.send({ ...content, ...asked });
  }

  dismiss() {
    this.note.tell(null);
    this.link.send({ kind: "dismiss" });
  }

  receive(content, buffers) {
    const file = fileOf(content, buffers);
    if (!file) return;
    this.link.answered();
    download(file, content.name);
    say(this.busy, `saved ${content.name}`);
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || (event.key === "Enter" && event.shiftKey)) return;
    event.stopPropagation(); // the notebook's own one-letter commands must not run
    if (event.key === "Escape") this.escape();
    else if (!writes(event.target) && this.letter(event.key)) event.preventDefault();
  }

  letter(key) {
    if (key === "?") this.keys.toggle(this.keys.panel.hidden);
    else if (key === "r" && !this.working() && !this.get("problem")) this.send({ kind: "run" });
    else if (key === "x" && this.working()) this.send({ kind: "cancel" });
    else return false;
    return true;
  }

  escape() {
    if (![this.keys, this.foot.code, this.foot.save, this.past].some((panel) => panel.close()) && !this.note.node.hidden) this.dismiss();
  }

  close() {
    cancelAnimationFrame(this.waiting);
    this.link.close();
    [this.keys, this.foot.code, this.foot.save].forEach((panel) => panel.toggle(false));
    this.stops.forEach((stop) => stop());
  }
}

function render({ model, el }) {
  const bench = new Bench(model);
  el.append(bench.root);
  return () => bench.close();
}

export default { render };
