// Benchmark: what is asked at the right, what came out at the left. The kernel evaluates; this draws and asks.
import { button, h, say, show } from "../controls.js";
import { Shell, keyList, rendered } from "../shell.js";
import { changePart, pairPart, resultTable } from "./table.js";
import { figurePart } from "./figure.js";
import { plural, runsPart } from "./runs.js";
import { benchmarkFoot, howGroup, methodsPart, runBar, testsPart, troublesPart, whatGroup } from "./column.js";

const CHOSEN = ["network", "data", "methods", "enhanced", "tests", "parameters", "limit", "target", "seed", "fit", "mosaics", "engine", "workers", "results", "code", "problem"];
const ASKED = CHOSEN.slice(0, -2);
const LISTS = ["_networks", "_sets", "_methods", "_tests", "_found"];

class Bench extends Shell {
  constructor(model) {
    super(model);
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
    this.headline = h("p", { class: "cw-headline" });
    this.legend = h("p", { class: "cw-muted" });
    this.found = h("div", { class: "cw-results" }, h("section", { class: "cw-part", "aria-label": "Results" }, this.headline, this.table.node, this.legend),
      this.troubles.node, this.change.node, this.figure.node, this.pair.node);
    this.first = button("Choose the toy world", () => this.link.ask({ network: "toy", data: "toyworld" }), { class: "cw-button cw-primary" });
    this.emptyWords = h("p", {});
    this.empty = h("div", { class: "cw-bench-empty" }, this.emptyWords, this.first);
    this.view = h("div", { class: "cw-view" }, this.note.node, this.bar.node, this.empty, this.found, this.past.node);
    this.column = h("fieldset", { class: "cw-column", "aria-label": "What is evaluated" }, ...this.parts.map(({ node }) => node));
    const keys = keyList([["r", "run, or resume"], ["x", "cancel the run"], ["Enter", "in a path: find; on a head: sort"], ["Esc", "close what is open"], ["?", "this list"]]);
    this.root = h("div", { class: "cw-root cw-benchmark" }, this.head(keys), h("div", { class: "cw-body" }, this.view, this.column), this.foot.node);
  }

  bind() {
    this.on([...CHOSEN, ...LISTS], () => this.redraw());
    this.on(["_progress", "problem", "code", "_found"], () => this.progress());
    this.on(["_report", "_pair", "_change"], () => this.results());
    this.on(["_runs", "results"], () => this.runs());
    this.attach(this.view);
  }

  resized() { this.figure.redraw(); }

  // ---------------------------------------------------------------- drawing
  draw() {
    this.parts.forEach((part) => part.draw(this.get));
    show(this.first, !this.get("data"));
    say(this.foot.text, this.get("code") || "");
    say(this.foot.made, this.plan());
    this.runs();
  }

  /** What Run would do, in a line. */
  plan() {
    const methods = this.get("methods").length + this.get("enhanced").length, tests = this.get("tests").length, found = this.get("_found") || {};
    const pictures = Math.min(this.get("limit") ?? Infinity, found.pictures ?? Infinity), mosaics = this.get("mosaics");
    const many = mosaics ? `${plural(4 * mosaics, "cell")} of ${plural(mosaics, "mosaic")}` : Number.isFinite(pictures) ? plural(pictures, "picture") : "all pictures";
    return `${plural(methods, "method")} × ${plural(tests, "test")} × ${many} · ${this.get("network")} · ${found.name || "no data set"}`;
  }

  progress() {
    const progress = this.get("_progress") || { state: "idle" };
    const busy = this.working();
    if (busy) this.ran = this.get("code");
    this.bar.draw(progress, this.get("problem"), progress.state === "cancelled" && this.ran === this.get("code"), this.plan());
    this.column.disabled = busy;
    this.column.classList.toggle("cw-off", busy);
    this.root.setAttribute("aria-busy", String(busy));
    if (busy !== this.wasBusy) { this.wasBusy = busy; this.results(); }
  }

  working() { return ["running", "stopping"].includes((this.get("_progress") || {}).state); }

  results() {
    const report = this.get("_report") || {}, there = Boolean(report.run);
    show(this.found, there);
    show(this.empty, !there);
    this.foot.allow(there);
    if (there) {
      const open = report.state === "running", going = open && this.working();
      const bare = open && report.rows.every(({ cells }) => cells.every(([, low]) => low === null));
      const state = report.state === "done" ? "" : report.state === "cancelled" ? " · cancelled" : going || bare ? " · so far" : " · not finished";
      const intervals = going ? "The run goes on: intervals come at its end." : bare ? "Without intervals so far." : "Below each number its 95 % interval (bootstrap over pictures).";
      say(this.legend, `${intervals} ↑ more is better, ↓ less is better; bold: the best.`);
      say(this.headline, `Run ${report.run} · ${report.model} on ${report.data} · ${report.pictures} of ${report.asked} pictures · ${report.target === "label" ? "the label's class" : "the predicted class"}${state}`);
      if (this.drawn !== report) {
        this.drawn = report;
        this.table.draw(report);
        this.figure.draw(report);
        this.troubles.draw(report);
        this.pair.options(report.rows.map(({ method }) => method));
      }
      this.change.draw(this.get("_change"));
      this.pair.draw(this.get("_pair"), going);
      this.pair.at(this.get("_pair"));
    }
    this.runs();
  }

  runs() {
    const runs = this.get("_runs") || [];
    say(this.emptyWords, `No results yet. Choose what is evaluated, then press Run${runs.length ? "; or open a run that is on record, below" : ""}.`);
    this.past.draw(runs, this.get("_report") || {}, this.working(), this.get("results"));
  }

  status() { this.heard(); } // Cancel stands beside Run

  // ---------------------------------------------------------------- acts
  send(content) {
    this.model.save_changes();
    // Messages overtake changes that wait for the kernel: what Run is to do goes with it.
    const asked = content.kind === "run" ? { asked: Object.fromEntries(ASKED.map((name) => [name, this.get(name)])) } : {};
    this.link.send({ ...content, ...asked });
  }

  letter(key) {
    if (key === "r" && !this.working() && !this.get("problem")) this.send({ kind: "run" });
    else if (key === "x" && this.working()) this.send({ kind: "cancel" });
    else return super.letter(key);
    return true;
  }

  panels() { return [this.keys, this.foot.code, this.foot.save, this.past]; }
}

const render = rendered(Bench);

export default { render };
