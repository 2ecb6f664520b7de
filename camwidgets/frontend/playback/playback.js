// Playback: a saved training, epoch by epoch. The kernel reads the run's folder; looking happens here.
import { bytesOf, drawTable } from "../painting.js";
import { button, h, say, show } from "../controls.js";
import { readout } from "../picture.js";
import { turned } from "../actions.js";
import { Shell, keyList, rendered } from "../shell.js";
import { Film, outline } from "./reel.js";
import { runRow } from "./cells.js";
import { timeBar } from "./bar.js";
import { metricPlot } from "./plot.js";
import { treePart } from "./tree.js";
import { classSwitch, curveMenu, lookGroup, pictureStrip, playbackFoot } from "./column.js";
import { emptyWords, madeWords, warningWords } from "./words.js";

const LOOKS = ["epoch", "picture", "label", "layers", "outline", "opacity", "blend", "colormap", "scale", "curves", "speed", "since", "against", "follow", "code"];
const KEYS = [
  ["← →", "an epoch back, on (not on a frame or slider)"], ["Home  End", "first, last epoch"], ["space", "play or pause"], ["[  ]", "previous, next picture"], ["c", "next class"],
  ["o", "outline of the true mask"], ["t", "compare trees"], ["arrows", "on a frame: read values"], ["Esc", "close what is open"], ["?", "this list"],
];

class Player extends Shell {
  constructor(model) {
    super(model);
    this.point = null;
    this.films = new Map();
    this.rows = [];
    this.probe = { redraws: 0, ms: 0 };
    this.build();
    this.bind();
    this.loadAll();
    this.status();
  }

  // ---------------------------------------------------------------- building
  build() {
    const act = {
      get: this.get, still: this.still, put: (changes) => this.put(changes), send: (content) => this.send(content),
      play: () => this.play(!this.playing), choose: (id) => this.choose(id), reset: () => this.put(this.get("_defaults") || {}), make: () => this.makeTree(),
      layers: (name, on) => this.toggled("layers", name, on), curves: (name, on) => this.toggled("curves", name, on),
    };
    this.title = h("span", { class: "cw-muted cw-pb-about" });
    this.board = h("div", { class: "cw-pb-runs" });
    this.read = readout();
    this.bar = timeBar(act);
    this.measures = metricPlot("Measurements", act);
    this.losses = metricPlot("Loss", act);
    this.curves = curveMenu(act);
    this.measures.node.querySelector("h3").after(this.curves.node);
    this.plots = h("div", { class: "cw-pb-plots" }, this.measures.node, this.losses.node);
    this.warning = h("p", { class: "cw-pb-warning", role: "status" });
    this.tree = treePart(act);
    this.emptyWords = h("p", {});
    this.looking = h("p", { class: "cw-muted" }, "looking each second …");
    this.again = button("Look again", () => this.send({ kind: "look" }), { class: "cw-button cw-primary" });
    this.empty = h("div", { class: "cw-pb-run-empty" }, this.emptyWords, this.looking, this.again);
    this.place = h("div", { class: "cw-view" }, this.empty, this.board, this.read.node, this.bar.node, this.warning, this.plots, this.tree.node, this.note.node);
    this.parts = { strip: pictureStrip(act), label: classSwitch(act), look: lookGroup(act) };
    this.column = h("div", { class: "cw-column" }, ...Object.values(this.parts).map(({ node }) => node));
    this.foot = playbackFoot(act);
    this.root = h("div", { class: "cw-root cw-playback" }, this.head(keyList(KEYS), this.title), h("div", { class: "cw-body" }, this.place, this.column), this.foot.node);
    this.root.cw = this.probe;
    if (this.still) [this.bar, this.foot].forEach((part) => part.still());
  }

  bind() {
    this.on(LOOKS, () => this.redraw());
    this.on(["_tree", "_weights"], () => this.redraw());
    this.on(["_runs", "_epochs", "_pictures", "_picture_bytes", "_mask_bytes", "_reels", "_maps0", "_maps1", "_note", "_palettes"], () => this.later());
    this.on(["follow"], () => this.states());
    this.hold([this.bar.node, this.plots]);
    this.attach(this.place);
  }

  /** While a hand drags through the epochs, no new one moves them under it: they are taken up when it lets go. */
  hold(nodes) {
    nodes.forEach((node) => node.addEventListener("pointerdown", () => { this.held = true; }));
    const free = () => { if (!this.held) return; this.held = false; if (this.owed) this.later(); };
    for (const name of ["pointerup", "pointercancel"]) {
      window.addEventListener(name, free);
      this.stops.push(() => window.removeEventListener(name, free));
    }
  }

  /** Traits that belong together come one after the other: they are taken up together. */
  later() {
    this.owed = Boolean(this.held);
    if (this.loading || this.held) return;
    this.loading = Promise.resolve().then(() => { this.loading = null; this.loadAll(); });
  }

  loadAll() {
    const names = this.get("_palettes") || [], tables = bytesOf(this.get("_palette_bytes"));
    this.tables = new Map(names.map((name, at) => [name, tables.subarray(768 * at, 768 * (at + 1))]));
    this.parts.look.colormap.options(names.map((value) => ({ value, text: value === "jet" ? "jet (as in the papers)" : value })));
    this.runs = this.get("_runs") || [];
    this.epochs = this.get("_epochs") || [];
    this.loadFilms();
    this.loadGrounds();
    this.bar.load(this.epochs);
    const cells = { size: () => this.ground() || { width: 1, height: 1 }, moved: (point) => { this.point = point; this.redraw(); } };
    while (this.rows.length < this.runs.length) this.rows.push(runRow(cells));
    const rows = this.rows.slice(0, this.runs.length).map(({ node }) => node);
    if (rows.length !== this.board.children.length) this.board.replaceChildren(...rows); // else whoever reads values in a frame loses it
    this.runs.forEach((run, i) => this.rows[i].load(run, this.runs.length > 1));
    this.parts.look.options([...new Set(this.runs.flatMap(({ layers }) => layers))]);
    say(this.title, this.runs.length === 1 ? `${this.runs[0].name} · ${this.runs[0].text}` : this.runs.map(({ name }) => name).join(" beside "));
    this.title.title = this.runs.map(({ folder }) => folder).join("\n");
    this.states();
    this.loaded = true;
    this.redraw();
  }

  loadFilms() {
    const bytes = [bytesOf(this.get("_maps0")), bytesOf(this.get("_maps1"))], pictures = this.get("_pictures") || [];
    this.films.clear();
    for (const { id, run, layers } of this.get("_reels") || []) {
      const words = pictures.find((one) => one.id === id);
      if (words) this.films.set(`${run} ${id}`, new Map(layers.map((layer) => [layer.name, new Film(layer, bytes[run], words.classes.length)])));
    }
  }

  loadGrounds() {
    const pictures = this.get("_pictures") || [], rgb = bytesOf(this.get("_picture_bytes")), masks = bytesOf(this.get("_mask_bytes"));
    this.grounds = new Map(pictures.map((words, at) => {
      const { id, height, width } = words, size = height * width, mask = masks.subarray(at * size, (at + 1) * size), lines = new Map();
      const outlined = (index) => { if (!lines.has(index)) lines.set(index, outline(mask, index, height, width)); return words.mask ? lines.get(index) : null; };
      return [id, { id, height, width, words, picture: rgb.subarray(3 * at * size, 3 * (at + 1) * size), nothing: new Float32Array(size), outline: outlined }];
    }));
    const there = (id) => !this.still || this.films.has(`0 ${id}`), key = JSON.stringify(pictures), raw = this.get("_picture_bytes");
    if (key === this.stripped && raw === this.strippedBytes) return;
    Object.assign(this, { stripped: key, strippedBytes: raw });
    const table = this.tables.values().next().value;
    if (table) this.parts.strip.load(pictures, (id) => this.grounds.get(id), table, there);
  }

  /** What there is to look at, what is missing and why, what to do. */
  states() {
    const [run] = this.runs, watched = (this.get("_pictures") || []).length, shown = watched > 0 && this.epochs.length > 0;
    for (const part of [this.board, this.read.node, this.bar.node, this.tree.node, this.column]) show(part, shown);
    show(this.empty, !shown);
    show(this.plots, Boolean(run));
    show(this.foot.node, Boolean(run));
    const open = !this.still && !(run && !run.watched), note = this.get("_note");
    show(this.again, open && !this.get("follow"));
    show(this.looking, open && this.get("follow"));
    say(this.emptyWords, emptyWords(run, note));
    say(this.warning, warningWords(this.runs, note));
    this.warning.classList.toggle("cw-pb-calm", this.warning.textContent === note); // nothing is wrong: something is awaited, or left out
    show(this.warning, Boolean(this.warning.textContent));
  }

  // ---------------------------------------------------------------- drawing
  ground() { return this.grounds && this.grounds.get(this.get("picture")); }

  words() { const ground = this.ground(); return ground ? ground.words : null; }

  resized() { this.plotted = ""; this.tree.resized(); this.redraw(); }

  draw() {
    const start = performance.now(), ground = this.ground();
    if (ground && this.tables.size) this.paint(ground);
    this.plot();
    this.bar.draw(this.get, Boolean(this.playing));
    this.parts.strip.mark(this.get("picture"));
    this.parts.label.draw(this.words(), this.get("label"));
    this.parts.look.draw(this.get, Boolean(ground && ground.words.mask));
    this.tree.draw(this.runs, this.get("_weights") || [], this.treeKey());
    say(this.foot.text, this.get("code") || "");
    say(this.foot.made, madeWords(this.runs, this.get("_reels") || [], this.get("_pictures") || [], this.epochs));
    Object.assign(this.probe, { redraws: this.probe.redraws + 1, ms: performance.now() - start, epoch: this.get("epoch") });
  }

  paint(ground) {
    const colormap = this.get("colormap"), table = this.tables.get(colormap), label = this.get("label"), epoch = this.get("epoch");
    const place = Math.max(0, ground.words.classes.findIndex((one) => one.label === label)), { index } = ground.words.classes[place];
    const look = { table, opacity: this.get("opacity"), byValue: this.get("blend") === "by value", own: this.get("scale") === "own", outline: this.get("outline") };
    const names = this.get("layers"), tops = new Set();
    this.runs.forEach((run, r) => {
      const films = this.films.get(`${r} ${ground.id}`);
      this.rows[r].paint(names, (name) => {
        const film = films && films.get(name), shot = film && film.shot(epoch);
        if (film && shot && name !== "dropped") tops.add(film.top);
        return { ground, film, shot, place, index, look, label, epoch, waiting: !films && !this.still, kept: run.layers.includes(name) };
      }, this.point);
    });
    if (this.barName !== colormap) { drawTable(this.read.bar, table); this.barName = colormap; }
    const top = [...tops].map((value) => Number(value.toPrecision(2))).join(" | ") || "1";
    this.read.range(look.own ? "1" : top, look.own ? "of each map's maximum" : "the run's own values", null);
    this.read.tell(this.point ? `at (${this.point.x}, ${this.point.y}): each map's value is above it` : this.when(epoch, label));
  }

  when(epoch, label) { return `${epoch === 0 ? "before training" : `after epoch ${epoch}`} · “${label}”`; }

  plot() {
    const known = [...new Set(this.runs.flatMap(({ curves }) => curves))], chosen = this.get("curves") || [];
    const losses = known.filter((name) => name === "total" || /loss/i.test(name)).filter((name) => !chosen.includes(name));
    const key = JSON.stringify([this.runs.map(({ metrics }) => metrics), chosen, this.epochs]);
    if (key !== this.plotted) {
      this.plotted = key;
      show(this.losses.node, losses.length > 0);
      this.measures.load(this.runs, chosen, this.epochs);
      this.losses.load(this.runs, losses, this.epochs);
    }
    this.curves.draw(known, chosen);
    [this.measures, this.losses].forEach((one) => one.at(this.get("epoch")));
  }

  // ---------------------------------------------------------------- acts
  /** Who leaves the last epoch is heard at once: the kernel goes on to a new one only with those who look at the last. */
  put(changes) {
    const last = this.epochs[this.epochs.length - 1], leaves = "epoch" in changes && changes.epoch !== last && this.get("epoch") === last;
    this.link.put(changes);
    if (leaves) this.model.save_changes();
  }

  send(content) {
    if (this.still) return;
    if (content.kind === "save") this.model.save_changes();
    this.link.send(content);
  }

  choose(id) {
    const words = this.grounds.get(id).words, label = this.get("label");
    this.put({ picture: id, label: words.classes.some((one) => one.label === label) ? label : words.classes[0].label });
  }

  toggled(trait, name, on) {
    const known = [...new Set(this.runs.flatMap((run) => run[trait]))], now = this.get(trait);
    this.put({ [trait]: known.filter((one) => (one === name ? on : now.includes(one))) });
  }

  step(by) {
    const at = this.epochs.indexOf(this.get("epoch")), next = this.epochs[Math.max(0, Math.min(this.epochs.length - 1, at + by))];
    if (next !== undefined) this.put({ epoch: next });
    return next !== undefined && at + by < this.epochs.length - 1;
  }

  play(on) {
    clearTimeout(this.playing);
    this.playing = 0;
    if (on && this.epochs.length > 1) {
      if (this.get("epoch") === this.epochs[this.epochs.length - 1]) this.step(-this.epochs.length);
      const next = () => { this.playing = this.step(1) ? setTimeout(next, 1000 / this.get("speed")) : 0; this.redraw(); };
      this.playing = setTimeout(next, 1000 / this.get("speed"));
    }
    this.redraw();
  }

  treeKey() {
    const against = this.get("against");
    return [against, against === "since" ? this.get("since") : -1, this.get("epoch"), this.get("picture"), this.get("label")];
  }

  makeTree() {
    const asked = Object.fromEntries(["picture", "label", "epoch", "since", "against"].map((name) => [name, this.get(name)]));
    this.send({ kind: "tree", asked, dark: this.dark() });
  }

  dark() {
    const [r, g, b] = (getComputedStyle(this.root).backgroundColor.match(/[\d.]+/g) || [255, 255, 255]).map(Number);
    return 0.299 * r + 0.587 * g + 0.114 * b < 128;
  }

  // ---------------------------------------------------------------- keyboard
  key(event) {
    const { tagName } = event.target, step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step && tagName !== "INPUT" && tagName !== "SELECT" && !event.ctrlKey && !event.metaKey && !event.altKey) {
      this.step(step);
      event.preventDefault();
      event.stopPropagation();
    } else if (event.key !== " " || !["BUTTON", "INPUT", "SUMMARY", "SELECT"].includes(tagName)) super.key(event);
    else event.stopPropagation();
  }

  letter(key) {
    const words = this.words();
    if (key === " ") this.play(!this.playing);
    else if (key === "Home" || key === "End") this.step(key === "Home" ? -this.epochs.length : this.epochs.length);
    else if ((key === "[" || key === "]") && words) this.choose(turned([...this.grounds.keys()].map((value) => ({ value })), words.id, key === "[" ? -1 : 1));
    else if (key === "c" && words) this.put({ label: turned(words.classes.map(({ label }) => ({ value: label })), this.get("label"), 1) });
    else if (key === "o") this.put({ outline: !this.get("outline") });
    else if (key === "t" && !this.still) this.makeTree();
    else return super.letter(key);
    return true;
  }

  panels() { return [this.keys, this.foot.code, this.curves]; }

  close() {
    clearTimeout(this.playing);
    super.close();
  }
}

const render = rendered(Player);

export default { render };
