// CamExplorer: binds the model's traits to the controls and redraws once per frame.
// Everything a switch of where/how/show changes is computed here; only what/method asks the kernel.
import { bytesOf } from "../painting.js";
import { button, h, say, show } from "../controls.js";
import { display, footer, how, what, where } from "../column.js";
import { copyText, keyTable, labelsWith, turned } from "../actions.js";
import { Shell, rendered } from "../shell.js";
import { View } from "./view.js";

const REDRAW = ["stages", "gradient", "gamma", "scale", "reduce", "preset", "opacity", "blend", "colormap", "threshold",
  "contour", "box", "channel_stage", "channel_rank", "picture", "network", "target", "method", "_channel", "reason", "code"];
const CONTENT = ["_pictures", "_networks", "_methods", "_presets", "_palettes", "_labels"];

class Explorer extends Shell {
  constructor(model) {
    super(model);
    this.view = new View(model, {
      redraw: () => this.redraw(), toggleStage: (name) => this.toggleStage(name),
      onlyStage: (name) => this.link.put({ stages: [name] }), upload: (file) => this.upload(file),
    });
    this.build();
    this.bind();
    this.loadContent();
    this.loadScene();
    this.status();
  }

  // ---------------------------------------------------------------- building
  build() {
    const act = this.actions();
    this.what = what(act);
    this.where = where(act);
    this.how = how(act);
    this.display = display(act);
    this.foot = footer(act, this.view.made);
    this.place = this.view.live.node;
    this.empty = h("div", { class: "cw-empty", hidden: true });
    this.place.append(this.empty, this.note.node);
    const column = h("div", { class: "cw-column" }, this.what.node, this.where.node, this.how.node, this.display.node);
    this.root = h("div", { class: "cw-root cw-explorer" }, this.head(keyTable()),
      h("div", { class: "cw-body" }, this.view.node, column), this.foot.node);
    this.root.cw = this.view.probe;
    if (this.still) this.standAlone();
  }

  /** In a saved page there is no kernel: what needs one is not shown. */
  standAlone() {
    this.root.classList.add("cw-still");
    [this.what, this.where, this.foot].forEach((part) => part.still());
  }

  actions() {
    return {
      put: (changes) => this.link.put(changes), ask: (changes) => this.link.ask(changes),
      send: (content) => this.link.send(content), upload: (file) => this.upload(file), turn: (by) => this.turn(by),
      findLabels: (text) => labelsWith(this.get("_labels") || [], text), reset: (part) => () => this.reset(part),
      preset: (name) => this.choosePreset(name), pin: () => this.pin(), copy: copyText,
      save: (kind) => this.save(kind), stageNames: () => this.view.stageNames(),
      deepestChosen: () => this.view.chosen().slice(-1)[0] || "",
    };
  }

  // ---------------------------------------------------------------- model
  bind() {
    this.on(REDRAW, () => this.redraw());
    this.on(CONTENT, () => this.loadContent());
    this.on(["_scene"], () => this.loadScene());
    this.attach(this.place);
  }

  dismiss() {
    super.dismiss();
    this.place.focus();
  }

  loadScene() {
    const scene = this.get("_scene");
    const there = Boolean(scene && scene.id);
    show(this.empty, !there);
    if (there) {
      this.view.load(scene);
      this.what.classes.draw(scene, this.still);
      this.how.gradient.allow(scene.signs);
    }
    this.redraw();
  }

  loadContent() {
    const presets = this.get("_presets") || {}, names = this.get("_palettes") || [];
    this.what.picture.options(this.get("_pictures") || []);
    this.what.network.options(this.get("_networks") || []);
    this.where.method.options(this.get("_methods") || []);
    this.how.preset.options(Object.keys(presets).map((value) => ({ value, text: value || "none: as set below" })));
    this.display.colormap.options(names.map((value) => ({ value, text: value === "jet" ? "jet (as in the papers)" : value })));
    this.view.palettes(names, bytesOf(this.get("_palette_bytes")));
    this.what.labels.size((this.get("_labels") || []).length);
    const first = (this.get("_pictures") || [])[0];
    this.empty.replaceChildren(h("p", {}, "No picture yet. Drop one here, upload one, or start with a sample."),
      first ? button(`Look at ${first.text}`, () => this.link.ask({ picture: first.value }), { class: "cw-button cw-primary" }) : "");
    this.redraw();
  }

  // ---------------------------------------------------------------- drawing
  draw() {
    this.controls();
    if (this.view.fusion && this.view.tables.size) this.view.paint();
  }

  controls() {
    const { fusion } = this.view, scene = fusion && fusion.scene, channel = this.get("channel_stage"), plan = this.view.plan();
    this.what.picture.set(this.get("picture"));
    this.what.network.set(this.get("network"));
    if (scene) this.what.classes.mark(this.get("target") === null ? scene.target.index : this.get("target"));
    this.where.method.set(this.get("method"));
    if (scene) this.where.draw(scene, channel, this.get("channel_rank") || 0, this.view.channel());
    this.how.gradient.set(scene ? this.view.sign() : this.get("gradient"));
    this.how.preset.set(this.get("preset") || "");
    this.how.draw(plan, Boolean(channel), scene ? this.view.scaledStages() : []);
    const { opacity, blend, colormap, threshold, contour, box } = this.display;
    opacity.set(this.get("opacity"));
    blend.set(this.get("blend"));
    colormap.set(this.get("colormap"));
    threshold.set(this.get("threshold"));
    threshold.enable(this.get("contour") || this.get("box"));
    contour.set(this.get("contour"));
    box.set(this.get("box"));
    say(this.foot.text, this.get("code") || "");
  }

  // ---------------------------------------------------------------- acts
  toggleStage(name) {
    if (!this.view.usable().includes(name)) return;
    const now = this.view.chosen(), next = now.includes(name) ? now.filter((other) => other !== name) : [...now, name];
    if (next.length) this.link.put({ stages: this.view.stageNames().filter((other) => next.includes(other)) });
    else say(this.busy, "One stage has to stay on.");
  }

  choosePreset(name) {
    const plan = (this.get("_presets") || {})[name];
    this.link.put(plan && name ? { preset: name, gamma: plan.gamma, scale: plan.scale, reduce: plan.reduce } : { preset: null });
  }

  turn(by) { this.link.ask({ picture: turned(this.get("_pictures") || [], this.get("picture"), by) }); }

  reset(part) {
    const { method, ...view } = (this.get("_defaults") || {})[part] || {};
    if (part === "what") { this.link.ask(view); return; }
    if (!this.view.fusion) return;
    if (view.stages === null) view.stages = this.view.stageNames().slice(-3);
    if (view.gradient === null) {
      const { method } = this.view.fusion.scene, asked = (this.get("_methods") || []).find(({ value }) => value === this.get("method"));
      view.gradient = (asked || method).sign;
    }
    this.link.put(view);
    if (method && !this.still) this.link.ask({ method });
  }

  pin() {
    const pinned = this.view.pin();
    this.foot.pin.setAttribute("aria-pressed", String(pinned));
    say(this.foot.pin, pinned ? "Unpin" : "Pin");
  }

  save(kind) {
    if (!this.view.fusion) return;
    if (kind === "png") this.view.savePicture();
    else this.link.send({ kind: "save", what: kind });
  }

  upload(file) { if (!this.still) this.link.upload(file); }

  // ---------------------------------------------------------------- keyboard
  letter(key) {
    const { fusion } = this.view, stage = fusion && /^[1-9]$/.test(key) && fusion.scene.stages[Number(key) - 1];
    if (stage) this.toggleStage(stage.name);
    else if (key === "p") this.pin();
    else if (key === "g" && fusion) this.nextSign();
    else if ((key === "[" || key === "]") && !this.still) this.turn(key === "[" ? -1 : 1);
    else return super.letter(key);
    return true;
  }

  nextSign() {
    const { signs } = this.view.fusion.scene;
    this.link.put({ gradient: signs[(signs.indexOf(this.view.sign()) + 1) % signs.length] });
  }

  panels() { return [this.keys, this.foot.code, this.foot.save]; }
}

const render = rendered(Explorer);

export default { render };
