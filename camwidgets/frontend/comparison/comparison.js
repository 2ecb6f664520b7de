// MethodComparison: the same picture under many methods. The kernel makes maps; everything about looking happens here.
import { bytesOf, drawTable } from "../painting.js";
import { button, h, say, show } from "../controls.js";
import { acceptDrop, readout } from "../picture.js";
import { what } from "../column.js";
import { copyText, labelsWith, turned } from "../actions.js";
import { Shell, rendered } from "../shell.js";
import { comparisonKeys, region, zoomedAt } from "./region.js";
import { Ground } from "./paint.js";
import { curveLegend, topOf } from "./curves.js";
import { gridCell } from "./cells.js";
import { comparisonFoot, cutGroup, methodsGroup, showGroup } from "./column.js";

const LOOKS = ["opacity", "blend", "colormap", "cut", "share", "rest", "zoom", "centre", "columns", "enhanced", "picture", "network", "target", "code"];
const LISTS = ["_pictures", "_networks", "_palettes", "_labels", "_methods"];

class Comparison extends Shell {
  constructor(model) {
    super(model);
    this.cells = new Map();
    this.point = this.ground = null;
    this.probe = { redraws: 0, ms: 0, cells: this.cells };
    this.build();
    this.bind();
    this.loadLists();
    this.loadScene();
    this.status();
  }

  // ---------------------------------------------------------------- building
  build() {
    const act = this.actions();
    this.what = what(act);
    this.methods = methodsGroup(act);
    this.display = showGroup(act);
    this.look = cutGroup(act);
    this.foot = comparisonFoot(act);
    this.empty = h("div", { class: "cw-empty", hidden: true });
    this.read = readout();
    this.legend = curveLegend();
    this.grid = h("div", { class: "cw-grid", role: "group", "aria-label": "Maps" });
    this.title = h("span", { class: "cw-muted cw-about" });
    this.place = h("div", { class: "cw-view" }, this.read.node, this.legend, this.grid, this.empty, this.note.node);
    const column = h("div", { class: "cw-column" }, this.what.node, this.methods.node, this.display.node, this.look.node);
    this.root = h("div", { class: "cw-root cw-comparison" }, this.head(comparisonKeys(), this.title), h("div", { class: "cw-body" }, this.place, column), this.foot.node);
    this.root.cw = this.probe;
    acceptDrop(this.place, (file) => act.upload(file));
    if (this.still) {
      this.root.classList.add("cw-still");
      [this.what, this.methods, this.foot].forEach((part) => part.still());
    }
  }

  actions() {
    return {
      put: (changes) => this.link.put(changes), ask: (changes) => this.link.ask(changes), send: (content) => this.send(content),
      upload: (file) => { if (!this.still) this.link.upload(file); }, save: (kind) => this.save(kind), copy: copyText,
      turn: (by) => this.turn(by), findLabels: (text) => labelsWith(this.get("_labels") || [], text),
      reset: (...parts) => () => this.reset(parts), zoom: (value) => this.link.put(zoomedAt(this.seen(), value, [0.5, 0.5])),
    };
  }

  cellActions() {
    return {
      still: this.still, send: (content) => this.send(content), code: (id) => (this.get("_codes") || {})[id] || "",
      parameters: (cell) => this.methods.parameters(cell.method).map((one) => ({ ...one, value: cell.values[one.name] ?? one.value })),
      hand: {
        seen: () => this.seen(), size: () => this.ground.input, point: () => this.point,
        moved: (point) => { this.point = point; this.redraw(); }, look: (changes) => this.link.put(changes),
      },
    };
  }

  // ---------------------------------------------------------------- model
  bind() {
    this.on(LOOKS, () => this.redraw());
    this.on(LISTS, () => this.loadLists());
    this.on(["_scene"], () => this.loadScene());
    this.on(["_cells", "_progress"], () => this.loadCells());
    this.attach(this.grid);
  }

  loadLists() {
    const names = this.get("_palettes") || [], bytes = bytesOf(this.get("_palette_bytes")), first = (this.get("_pictures") || [])[0];
    this.what.picture.options(this.get("_pictures") || []);
    this.what.network.options(this.get("_networks") || []);
    this.what.labels.size((this.get("_labels") || []).length);
    this.methods.options(this.get("_methods") || []);
    this.display.colormap.options(names.map((value) => ({ value, text: value === "jet" ? "jet (as in the papers)" : value })));
    this.tables = new Map(names.map((name, at) => [name, bytes.subarray(768 * at, 768 * (at + 1))]));
    this.empty.replaceChildren(h("p", {}, "No picture yet. Drop one here, upload one, or start with a sample."),
      first ? button(`Compare on ${first.text}`, () => this.link.ask({ picture: first.value }), { class: "cw-button cw-primary" }) : "");
    this.redraw();
  }

  loadScene() {
    const scene = this.get("_scene"), there = Boolean(scene && scene.id);
    show(this.empty, !there);
    for (const part of [this.grid, this.read.node]) show(part, there);
    if (there) {
      if (!this.ground || this.ground.id !== scene.id) this.ground = new Ground(scene, bytesOf(this.get("_picture")));
      this.what.classes.draw(scene, this.still);
      say(this.title, `${scene.picture.name} · ${scene.network} · ${scene.target.label} ${scene.target.share}`);
    }
    this.loadCells();
  }

  /** The cells as the kernel says they are: new ones made, those that are gone taken out, the order kept. */
  loadCells() {
    if (!this.ground) return;
    const asked = this.get("_cells") || [], progress = this.get("_progress") || {}, top = topOf(asked);
    for (const id of [...this.cells.keys()]) {
      if (!asked.some((cell) => cell.id === id)) { this.cells.get(id).node.remove(); this.cells.delete(id); }
    }
    asked.forEach((words, at) => {
      if (!this.cells.has(words.id)) this.cells.set(words.id, gridCell(words.id, this.cellActions()));
      const cell = this.cells.get(words.id);
      cell.load(words, this.ground, words.map ? this.get(words.map.slot) : null, progress.cell === words.id ? progress : null, top);
      if (this.grid.children[at] !== cell.node) this.grid.insertBefore(cell.node, this.grid.children[at] || null);
    });
    const curves = asked.some(({ curve }) => curve.state);
    for (const { plot } of this.cells.values()) show(plot.node, curves);
    show(this.legend, curves);
    this.redraw();
  }

  // ---------------------------------------------------------------- drawing
  seen() { return region(this.get("zoom") || 1, this.get("centre") || [0.5, 0.5]); }

  draw() {
    this.controls();
    if (this.ground && this.tables.size) this.paint();
  }

  paint() {
    const start = performance.now(), colormap = this.get("colormap"), table = this.tables.get(colormap), seen = this.seen();
    const look = { opacity: this.get("opacity"), byValue: this.get("blend") === "by value", colormap, table,
      cut: this.get("cut"), share: this.get("share"), rest: this.get("rest") };
    for (const cell of this.cells.values()) {
      cell.paint(look, seen);
      cell.point(this.point, seen);
    }
    if (this.barName !== colormap) { drawTable(this.read.bar, table); this.barName = colormap; }
    this.read.range("1", "of the maximum", null);
    this.read.tell(this.reading());
    Object.assign(this.probe, { redraws: this.probe.redraws + 1, ms: performance.now() - start, seen, point: this.point, scene: this.ground.id });
  }

  reading() {
    const { point } = this;
    if (!point) return "Move over a map to read all of them at the same place.";
    return `at (${point.x}, ${point.y}): each map's value is above it`;
  }

  controls() {
    const enhanced = Boolean(this.get("enhanced")), columns = this.get("columns") || 3;
    this.what.picture.set(this.get("picture"));
    this.what.network.set(this.get("network"));
    if (this.ground) this.what.classes.mark(this.get("target") ?? this.get("_scene").target.index);
    this.methods.enhanced.set(enhanced);
    this.display.opacity.set(this.get("opacity"));
    this.display.mix.set(this.get("blend"));
    this.display.colormap.set(this.get("colormap"));
    this.display.columns.allow(enhanced ? ["2", "4"] : ["2", "3", "4"]);
    const wide = enhanced && columns === 3 ? 4 : columns;
    this.display.columns.set(String(wide));
    this.grid.dataset.columns = wide;
    const { cut, share, rest, zoom } = this.look;
    cut.set(Boolean(this.get("cut")));
    share.set(this.get("share"));
    rest.set(this.get("rest"));
    zoom.set(this.get("zoom"));
    say(this.foot.text, this.get("code") || "");
    say(this.foot.made, this.progress());
  }

  progress() {
    const states = (this.get("_cells") || []).map(({ state }) => state), count = (...wanted) => states.filter((one) => wanted.includes(one)).length;
    if (!states.length) return "No method yet: add one.";
    const parts = [`${count("done")} of ${states.length} maps ready`], left = count("waiting", "working", "unchecked");
    if (left) parts.push(`${left} to come, cheap ones first`);
    if (count("costly")) parts.push(`${count("costly")} would take long and wait for you`);
    return parts.join(" · ");
  }

  // ---------------------------------------------------------------- acts
  send(content) { if (!this.still) this.link.send(content); }

  turn(by) { this.link.ask({ picture: turned(this.get("_pictures") || [], this.get("picture"), by) }); }

  reset(parts) {
    const defaults = this.get("_defaults") || {};
    if (parts[0] === "what") this.link.ask(defaults.what);
    else this.link.put(Object.assign({}, ...parts.map((part) => defaults[part])));
  }

  save(kind) {
    this.model.save_changes();
    this.send({ kind: "save", what: kind });
  }

  // ---------------------------------------------------------------- keyboard
  letter(key) {
    if (key === "c") this.link.put({ cut: !this.get("cut") });
    else if ((key === "[" || key === "]") && !this.still) this.turn(key === "[" ? -1 : 1);
    else return super.letter(key);
    return true;
  }

  panels() { return [this.keys, this.foot.code, this.foot.save, ...[...this.cells.values()].map(({ menus }) => menus)]; }
}

const render = rendered(Comparison);

export default { render };
