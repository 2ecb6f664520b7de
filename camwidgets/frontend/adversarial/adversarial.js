// AdversarialExplorer: the kernel attacks once; dragging ε moves everything here, with no word to the kernel.
import { bytesOf } from "../painting.js";
import { button, h, say, show } from "../controls.js";
import { acceptDrop } from "../picture.js";
import { labelsWith, turned } from "../actions.js";
import { Shell, keyList, rendered } from "../shell.js";
import { attackBar, epsBar, epsText } from "./bar.js";
import { SweepData, drawRgb, mapsPart, picturesPart } from "./pictures.js";
import { curvesPart } from "./curves.js";
import { treePart } from "./tree.js";
import { adversarialFoot, aimGroup, attackGroup, followGroup, lookGroup, subjectGroup } from "./column.js";

const VIEWED = ["index", "maps_of", "chosen", "channel", "opacity", "colormap", "code"];
const ASKED = ["picture", "network", "attack", "norm", "strongest", "count", "steps", "seed", "targeted", "target", "stage", "top", "depth"];
const USUAL = { attack: "pgd", norm: "linf", strongest: 8 / 255, count: 8, steps: 10, seed: 0 };
const WORDS = { epsilons: "ε", top: "channels", depth: "trees", targeted: "aim", target: "class" };

class Adversarial extends Shell {
  constructor(model) {
    super(model);
    this.data = null;
    this.probe = { redraws: 0, ms: 0 };
    this.build();
    this.bind();
    this.loadLists();
    this.loadScene();
    this.loadSweep();
    this.status();
  }

  // ---------------------------------------------------------------- building
  build() {
    const act = this.actions();
    this.bar = attackBar(act);
    this.eps = epsBar(act);
    this.pictures = picturesPart();
    this.maps = mapsPart(act);
    this.curves = curvesPart(act);
    this.tree = treePart(act);
    this.groups = { what: subjectGroup(act), attack: attackGroup(act), aim: aimGroup(act), follow: followGroup(act), look: lookGroup(act) };
    this.foot = adversarialFoot(act);
    this.found = h("div", { class: "cw-adv-found" }, this.eps.node, this.pictures.node, this.maps.node, this.curves.node, this.tree.node);
    this.ready = this.readyPart();
    this.empty = h("div", { class: "cw-adv-empty", hidden: true });
    this.title = h("span", { class: "cw-muted cw-about" });
    this.place = h("div", { class: "cw-view" }, this.note.node, this.bar.node, this.empty, this.ready.node, this.found);
    const column = h("div", { class: "cw-column" }, ...Object.values(this.groups).map(({ node }) => node));
    const keys = keyList([["← →", "weaker, stronger attack"], ["Home End", "clean, strongest"], ["space", "play, pause"], ["r", "attack"], ["x", "cancel the attack"],
      ["t w p", "maps of the true, wrong, top class"], ["[  ]", "previous, next picture"], ["Esc", "close what is open"], ["?", "this list"]]);
    this.root = h("div", { class: "cw-root cw-adversarial" }, this.head(keys, this.title), h("div", { class: "cw-body" }, this.place, column), this.foot.node);
    this.root.cw = this.probe;
    acceptDrop(this.place, (file) => act.upload(file));
    if (this.still) this.standAlone();
  }

  standAlone() {
    this.root.classList.add("cw-still");
    this.groups.what.still();
    this.foot.still();
    [this.bar, this.groups.attack, this.groups.aim, this.groups.follow].forEach(({ node }) => show(node, false));
  }

  /** Before the first attack: the picture, and what to do. */
  readyPart() {
    const canvas = h("canvas", { class: "cw-adv-canvas", width: 8, height: 8, role: "img", "aria-label": "the picture" }), seen = h("p", { class: "cw-adv-finding" });
    const words = h("p", {}, "How little has to change until this is taken for something else? Attack computes a few strengths ε; then one slider moves pictures, maps, channels and tree together.");
    const go = button("Attack", () => this.run(), { class: "cw-button cw-primary" });
    return { canvas, seen, go, node: h("section", { class: "cw-adv-ready", hidden: true }, canvas, h("div", {}, seen, words, go)) };
  }

  actions() {
    return {
      get: this.get, put: (changes) => this.link.put(changes), ask: (changes) => this.link.ask(changes), send: (content) => this.send(content),
      upload: (file) => { if (!this.still) this.link.upload(file); }, turn: (by) => this.turn(by), save: (kind) => this.save(kind),
      findLabels: (text) => labelsWith(this.get("_labels") || [], text), go: (index) => this.go(index), run: () => this.run(),
      reset: () => this.link.put(USUAL),
    };
  }

  // ---------------------------------------------------------------- model
  bind() {
    this.on([...VIEWED, ...ASKED, "epsilons", "_progress"], () => this.redraw());
    this.on(["_pictures", "_networks", "_palettes", "_labels", "_attacks"], () => this.loadLists());
    this.on(["_scene"], () => this.loadScene());
    this.on(["_sweep"], () => this.loadSweep());
    this.attach(this.place);
  }

  loadLists() {
    const names = this.get("_palettes") || [], bytes = bytesOf(this.get("_palette_bytes")), first = (this.get("_pictures") || [])[0];
    this.groups.what.picture.options(this.get("_pictures") || []);
    this.groups.what.network.options(this.get("_networks") || []);
    this.groups.attack.method.options(this.get("_attacks") || []);
    this.groups.aim.labels.size((this.get("_labels") || []).length);
    this.groups.look.colormap.options(names.map((value) => ({ value, text: value === "jet" ? "jet (as in the papers)" : value })));
    this.tables = new Map(names.map((name, at) => [name, bytes.subarray(768 * at, 768 * (at + 1))]));
    this.empty.replaceChildren(h("p", {}, "No picture yet. Drop one here, upload one, or start with a sample."),
      first ? button(`Take ${first.text}`, () => this.link.ask({ picture: first.value }), { class: "cw-button cw-primary" }) : "");
    this.redraw();
  }

  loadScene() {
    const scene = this.get("_scene") || {};
    if (scene.id) {
      drawRgb(this.ready.canvas, bytesOf(this.get("_picture")), 0, scene.picture.width, scene.picture.height);
      say(this.ready.seen, `Taken for ${scene.target.label}, ${scene.target.share}.`);
    }
    this.redraw();
  }

  loadSweep() {
    const sweep = this.get("_sweep") || {};
    this.data = sweep.id ? new SweepData(sweep, this.get) : null;
    if (this.data) {
      this.eps.load(sweep);
      this.maps.load(this.data);
    }
    this.redraw();
  }

  // ---------------------------------------------------------------- drawing
  draw() {
    const scene = this.get("_scene") || {}, there = Boolean(this.data), start = performance.now();
    show(this.found, there);
    show(this.ready.node, !there && Boolean(scene.id));
    show(this.empty, !there && !scene.id && !this.still);
    this.controls(scene);
    if (!there || !this.tables.size) return;
    const index = Math.min(this.get("index") || 0, this.data.sweep.frames.length - 1), name = this.get("colormap");
    const look = { name, table: this.tables.get(name), opacity: this.get("opacity") };
    this.eps.draw(index);
    this.pictures.draw(this.data, index);
    this.maps.draw(this.data, index, this.get("maps_of"), look);
    this.curves.draw(this.data.sweep, index, this.get("chosen"));
    this.tree.draw(this.data, index, this.get("channel"), look);
    this.data.fresh = false;
    Object.assign(this.probe, { redraws: this.probe.redraws + 1, ms: performance.now() - start, index, id: this.data.sweep.id });
  }

  controls(scene) {
    const { what, attack, aim, follow, look } = this.groups, there = Boolean(this.data), stale = this.stale();
    what.picture.set(this.get("picture"));
    what.network.set(this.get("network"));
    attack.draw();
    follow.draw(scene.stages || (there ? this.data.sweep.stages.map(({ name }) => name) : []));
    look.opacity.set(this.get("opacity"));
    look.colormap.set(this.get("colormap"));
    this.bar.draw(this.get("_progress") || { state: "idle" }, there, stale, this.get("picture") ? this.plan() : "");
    show(this.ready.go, !this.working());
    aim.name(scene.id ? scene.target.label : "");
    aim.draw();
    this.found.classList.toggle("cw-adv-stale", stale.length > 0);
    this.foot.allow(there);
    say(this.title, there ? `${this.data.sweep.picture} · ${this.data.sweep.network}` : scene.id ? `${scene.picture.name} · ${scene.network}` : "");
    say(this.foot.made, there ? this.made() : "");
    say(this.foot.text, this.get("code") || "");
  }

  /** What Attack would do. */
  plan() {
    const norm = this.get("norm"), name = this.get("attack"), steps = name === "pgd" ? ` of ${this.get("steps")} steps` : "";
    return `${name.toUpperCase()} ${norm === "linf" ? "L∞" : "L2"} at ${this.get("count")} ε up to ${epsText(this.get("strongest"), norm)}${steps}`;
  }

  made() {
    const { asked, frames, bytes } = this.data.sweep, { norm } = asked;
    return `${asked.attack.toUpperCase()} ${norm === "linf" ? "L∞" : "L2"} · ${frames.length - 1} ε · ${asked.attack === "pgd" ? `${asked.steps} steps · seed ${asked.seed} · ` : ""}${(bytes / 2 ** 20).toFixed(1)} MB`;
  }

  /** Names of settings that are other than those of the sweep on screen. */
  stale() {
    if (!this.data || this.still) return [];
    const { asked } = this.data.sweep, same = (a, b) => JSON.stringify(a ?? null) === JSON.stringify(b ?? null);
    const found = (this.get("_settings") || []).filter((name) => !same(this.get(name), asked[name]));
    if (!found.includes("epsilons") && (this.get("strongest") !== asked.epsilons[asked.epsilons.length - 1])) found.push("epsilons");
    return found.map((name) => WORDS[name] || name);
  }

  working() { return ["running", "stopping"].includes((this.get("_progress") || {}).state); }

  // ---------------------------------------------------------------- acts
  send(content) {
    if (this.still) return;
    this.model.save_changes();
    this.link.send(content);
  }

  /** Messages overtake changes that wait for the kernel: what is to be done goes with it. */
  run() { if (this.get("picture")) this.send({ kind: "run", asked: Object.fromEntries(ASKED.map((name) => [name, this.get(name) ?? null])) }); }

  go(index) {
    if (!this.data) return;
    this.link.put({ index: Math.max(0, Math.min(this.data.sweep.frames.length - 1, index)) });
  }

  turn(by) { this.link.ask({ picture: turned(this.get("_pictures") || [], this.get("picture"), by) }); }

  save(kind) { this.send({ kind: "save", what: kind }); }

  // ---------------------------------------------------------------- keyboard
  letter(key) {
    const index = this.get("index") || 0, own = document.activeElement && ["range", "radio"].includes(document.activeElement.type);
    const which = { t: "true", w: "wrong", p: "top" }[key];
    if (["ArrowLeft", "ArrowRight", "ArrowDown", "ArrowUp", "Home", "End"].includes(key)) {
      if (own || !this.data) return false; // a control that has the focus moves itself
      this.go({ Home: 0, End: Infinity }[key] ?? index + (key === "ArrowRight" || key === "ArrowUp" ? 1 : -1));
    } else if (key === " " && !(document.activeElement && document.activeElement.tagName === "BUTTON") && this.data) this.eps.toggle();
    else if (which && this.data) this.link.put({ maps_of: which });
    else if (key === "r" && !this.working() && !this.still) this.run();
    else if (key === "x" && this.working()) this.send({ kind: "stop" });
    else if ((key === "[" || key === "]") && !this.still) this.turn(key === "[" ? -1 : 1);
    else return super.letter(key);
    return true;
  }

  panels() { return [this.keys, this.foot.code, this.foot.save]; }

  close() {
    this.eps.halt();
    super.close();
  }
}

const render = rendered(Adversarial);

export default { render };
