// FailureExplorer: what failed → one failure → its cause → a check by hand. The kernel computes; this draws and asks.
import { button, h, say, show } from "../controls.js";
import { bytesOf } from "../painting.js";
import { Shell, keyList, rendered } from "../shell.js";
import { galleryPart, jobBar } from "./gallery.js";
import { casePart } from "./case.js";
import { blamePart } from "./blame.js";
import { treesPart } from "./trees.js";

const VIEW = ["cell", "group", "sort", "page", "gallery", "chosen", "stage", "channel", "opacity", "tool", "action", "colour", "radius", "sigma", "outside"];
const WORDS = ["_about", "_table", "_cards", "_groups", "_case", "_picture", "_now", "_effect", "_blame", "_trees", "_channel", "_channel_map", "_patches", "_backdrops", "_log", "_cases", "_progress"];
const HAND = ["tool", "action", "colour", "sigma", "outside"];
const PREVIEW = 200; // ms between two questions while the hand draws
const CHEAP = 150, PATIENCE = 20000; // ms: an answer that took longer than CHEAP is not asked for again for so long
const KEYS = [
  ["n, N", "next, previous picture of the page"], ["b, x", "brush, box"], ["p, l, f", "paint, blur, fill"], ["[  ]", "smaller, larger brush"],
  ["u, r", "undo, redo"], ["o", "the picture as it was"], ["arrows, Enter", "on the picture: move the brush, set a dot"], ["Esc", "close what is open"], ["?", "this list"],
];

class Failures extends Shell {
  constructor(model) {
    super(model);
    this.trial = { at: -PATIENCE, cost: 0, open: false, shown: false, before: null };
    this.probe = { ms: null, redraws: 0, pending: null };
    this.build();
    this.on(VIEW, () => this.redraw());
    this.on(WORDS, () => { this.status(); this.redraw(); }); // the kernel answers
    this.attach(this.place);
    this.status();
    this.draw();
  }

  build() {
    const act = {
      get: this.get, ask: (changes) => this.ask(changes), choose: (number) => this.choose(number), put: (changes) => this.link.put(changes), redraw: () => this.redraw(),
      send: (content) => this.send(content), edit: (content) => this.edit(content),
      preview: (content) => this.preview(content), dropped: () => this.dropped(), look: (stage, channel) => this.look(stage, channel),
    };
    this.about = h("span", { class: "cw-muted cw-about" });
    this.fold = button("Hide gallery", () => this.link.put({ gallery: !this.get("gallery") }), { class: "cw-link" });
    this.gallery = galleryPart(act);
    this.case = casePart(act);
    this.blame = blamePart(act);
    this.trees = treesPart(act);
    this.bar = jobBar("table", "looking at pictures", act);
    this.empty = this.emptyPart();
    this.foot = this.logPart();
    this.columns = h("div", { class: "cw-fail-columns" }, this.gallery.node, this.case.node, this.blame.node);
    this.place = h("div", { class: "cw-view" }, this.note.node, this.bar.node, this.empty, this.columns, this.trees.node);
    this.root = h("div", { class: "cw-root cw-failures" }, this.head(keyList(KEYS), this.about, this.fold), h("div", { class: "cw-body" }, this.place), this.foot);
    this.root.cw = this.probe;
  }

  emptyPart() {
    const path = h("input", {
      type: "text", class: "cw-text", placeholder: "folder of class folders, CSV, …", "aria-label": "Path of a data set with labels", spellcheck: "false",
      onkeydown: (event) => { if (event.key === "Enter") open(); },
    });
    const open = () => { if (path.value.trim()) this.send({ kind: "open", path: path.value }); };
    this.again = button("Look for failures", () => this.send({ kind: "run" }), { class: "cw-button cw-primary" });
    this.showcase = button("Look at the toy world", () => this.send({ kind: "showcase" }), { class: "cw-button cw-primary" });
    this.emptyWords = h("p", {});
    return h("div", { class: "cw-fail-empty" }, this.emptyWords, h("div", { class: "cw-row" }, this.again, this.showcase), h("div", { class: "cw-row" }, path, button("Open", open)));
  }

  logPart() {
    this.steps = h("ol", { class: "cw-fail-steps" });
    this.others = h("span", { class: "cw-fail-cases" });
    this.save = button("Save bundle", () => this.send({ kind: "save" }), { title: "one file with pictures, maps, trees, the log and a page; opened by FailureExplorer.from_bundle" });
    return h("footer", { class: "cw-foot cw-fail-log" }, h("h3", {}, "Log"), h("div", { class: "cw-fail-done" }, this.steps, this.others), this.save);
  }

  // ---------------------------------------------------------------- drawing
  draw() {
    const table = this.get("_table") || {}, about = this.get("_about") || {}, there = Boolean(table.pictures);
    const busy = this.bar.draw(this.get("_progress")), job = (this.get("_progress") || {}).table || {};
    const opened = Boolean((this.get("_case") || {}).state);
    show(this.empty, !there && !busy && !opened);
    show(this.columns, there || opened);
    show(this.gallery.node, this.get("gallery") && there);
    show(this.fold, there);
    say(this.fold, this.get("gallery") ? "Hide gallery" : "Show gallery");
    this.columns.classList.toggle("cw-fail-folded", !this.get("gallery") || !there);
    const stopped = job.state === "cancelled" && there ? ` · stopped after ${table.pictures}` : "";
    say(this.about, `When it fails · ${about.model || ""}${stopped}`);
    say(this.emptyWords, job.state === "failed" ? "The data set could not be looked through. Open another one:" : job.state === "cancelled" ? "Stopped before a picture was looked at."
      : "No data set yet. Give one with labels, FailureExplorer(classifier, dataset), or open one here.");
    show(this.again, job.state === "cancelled" || job.state === "failed");
    show(this.showcase, Boolean(about.toy));
    if (there) this.gallery.draw(this.get);
    this.case.draw(this.get);
    this.case.paint({ picture: this.bytes("_picture"), now: this.bytes("_now"), map: this.bytes("_channel_map"), table: this.bytes("_palette") });
    this.blame.draw(this.get);
    this.trees.draw(this.get);
    this.drawLog();
    this.measure();
  }

  /** The same view of a trait's bytes as long as it is the same value. */
  bytes(name) {
    const value = this.get(name), kept = (this.kept ??= {});
    if (!kept[name] || kept[name].value !== value) kept[name] = { value, bytes: bytesOf(value) };
    return kept[name].bytes;
  }

  drawLog() {
    const log = this.get("_log") || [], cases = (this.get("_cases") || []).filter(({ number }) => number !== this.get("chosen"));
    const key = JSON.stringify([log, cases]);
    show(this.foot, log.length > 0 || cases.length > 0);
    if (this.logged === key) return;
    this.logged = key;
    this.steps.replaceChildren(...log.map(({ step, text, state }) => h("li", { "data-state": state },
      button(text, () => this.send({ kind: "go", step }), { class: "cw-link", "aria-current": state === "now" ? "step" : null, title: state === "undone" ? "was undone; click to do it again" : "back to here" }))));
    this.others.replaceChildren(...(cases.length ? ["also: ", ...cases.map(({ number, text, steps }) =>
      button(`${text} (${steps})`, () => this.link.ask({ chosen: number }), { class: "cw-link" }))] : []));
  }

  /** From the hand's release to the drawn answer, for whoever measures. */
  measure() {
    const { pending } = this.probe, effect = this.get("_effect") || {};
    this.probe.redraws += 1;
    if (effect.state === "preview" && effect !== this.trial.before) this.answered();
    if (pending === null || effect.state !== "done" || effect === this.probe.before) return;
    this.probe.ms = performance.now() - pending;
    this.probe.pending = null;
  }

  // ---------------------------------------------------------------- acts
  send(content) { if (!this.still) this.link.send(content); }

  /** A change goes with the tool's settings: messages overtake trait changes that wait for the hand to rest. */
  edit(content) {
    this.probe.pending = performance.now();
    this.probe.before = this.get("_effect");
    this.answered();
    this.trial.shown = false;
    this.link.expect();
    this.send({ kind: "edit", ...this.hand(), backdrop: Number(this.case.tools.backdrop.node.value || -1), ...content });
  }

  /** While the hand draws: one question at a time, of what is quickly done, as long as the machine answers quickly. */
  preview(content) {
    const now = performance.now(), { trial } = this, rest = trial.cost > CHEAP ? PATIENCE : PREVIEW;
    if (!content.region || !["paint", "blur"].includes(this.get("action")) || trial.open || now - trial.at < rest) return;
    Object.assign(trial, { at: now, open: true, shown: true, before: this.get("_effect") });
    this.send({ kind: "preview", ...this.hand(), ...content });
  }

  /** The stroke came to nothing: what was shown of it is taken back. */
  dropped() {
    if (this.trial.shown) this.send({ kind: "preview" });
    this.answered();
    this.trial.shown = false;
  }

  /** The question is over, answered or not. */
  answered() {
    const { trial } = this;
    if (trial.open) Object.assign(trial, { open: false, cost: performance.now() - trial.at });
  }

  hand() { return Object.fromEntries(HAND.map((name) => [name, this.get(name)])); }

  /** A view that the kernel draws: its answer may be that nothing is different. */
  ask(changes) {
    if (!this.link.set(changes)) return;
    this.redraw();
    this.model.save_changes();
  }

  /** The kernel does not hear of a value that is the same: what could not be opened is asked for by a message. */
  choose(number) {
    if (number === this.get("chosen") && (this.get("_case") || {}).state === "failed") this.send({ kind: "retry" });
    else this.link.ask({ chosen: number });
  }

  look(stage, channel) {
    const [a, b] = this.get("channel") || [];
    this.ask({ channel: a === stage && b === channel ? [] : [stage, channel] });
  }

  status() {
    const status = this.heard();
    const failed = this.get("_case") || {}; // said where the picture would be, with what can be done: not once more over it
    if (failed.state === "failed" && status.state === "error" && failed.text === status.text) show(this.note.node, false);
    show(this.cancel, false); // what can be cancelled has its own button, beside its progress
    this.place.classList.toggle("cw-working", status.state === "working");
    this.root.setAttribute("aria-busy", String(status.state === "working"));
  }

  letter(key) {
    const tools = { b: { tool: "brush" }, x: { tool: "box" }, p: { action: "paint" }, l: { action: "blur" }, f: { action: "inpaint" } };
    if (key in tools) this.link.put(tools[key]);
    else if (key === "[" || key === "]") this.link.put({ radius: Math.max(1, Math.min(64, this.get("radius") + (key === "[" ? -2 : 2))) });
    else if (key === "u" || key === "r") this.send({ kind: key === "u" ? "undo" : "redo" });
    else if (key === "o") this.case.flip();
    else if (key === "n" || key === "N") this.next(key === "n" ? 1 : -1);
    else return super.letter(key);
    return true;
  }

  next(by) {
    const cards = (this.get("_cards") || {}).cards || [], at = cards.findIndex(({ number }) => number === this.get("chosen"));
    if (cards.length) this.link.ask({ chosen: cards[(Math.max(at, by > 0 ? -1 : 0) + by + cards.length) % cards.length].number });
  }
}

export default { render: rendered(Failures) };
