// The drawn view: which map the traits ask for, its pixels, its marks and its words. No kernel, no controls.
import { Fusion, extent, isScaled, largestPart, normalise, upsample } from "../fusion.js";
import { bytesOf, contour, drawBlend, drawMarks, drawTable, floatsOf } from "../painting.js";
import { h, say, show } from "../controls.js";
import { acceptDrop, frame, readPointer, readout } from "../picture.js";
import { stageCards } from "../stages.js";
import { download, fileName, madeBy } from "../actions.js";

const NOTHING = "Nothing at the chosen stages speaks for this class with this gradient sign.";

export class View {
  /** act: {redraw, toggleStage, onlyStage, upload} */
  constructor(model, act) {
    this.model = model;
    this.act = act;
    this.fusion = null;
    this.tables = new Map();
    this.point = null;
    this.pinned = null;
    this.probe = { redraws: 0, ms: 0 };
    this.build();
  }

  build() {
    this.live = frame("Picture with its map. Arrow keys read values.");
    this.kept = frame("Pinned view");
    this.read = readout();
    this.cards = stageCards((name) => this.act.toggleStage(name), (name) => this.act.onlyStage(name));
    this.blank = h("p", { class: "cw-blank", hidden: true });
    this.caption = h("figcaption", { class: "cw-caption" });
    this.keptCaption = h("figcaption", { class: "cw-caption" });
    this.live.node.append(this.blank);
    this.keptFigure = h("figure", { class: "cw-figure cw-pinned", hidden: true }, this.kept.node, this.keptCaption);
    this.pictures = h("div", { class: "cw-pictures" },
      h("figure", { class: "cw-figure" }, this.live.node, this.caption), this.keptFigure);
    this.made = h("div", { class: "cw-made" });
    this.node = h("div", { class: "cw-view" }, this.pictures, this.read.node, this.cards.node);
    acceptDrop(this.live.node, (file) => this.act.upload(file));
    const size = () => (this.fusion ? this.fusion.scene.input : { width: 1, height: 1 });
    const moved = (point) => { this.point = point; this.act.redraw(); };
    for (const { node } of [this.live, this.kept]) readPointer(node, size, moved);
  }

  get(name) { return this.model.get(name); }

  /** Takes the scene's numbers out of the model, all at once. */
  load(scene) {
    this.picture = bytesOf(this.get("_picture"));
    this.fusion = new Fusion(scene, floatsOf(this.get("_maps")));
    this.cards.scene(scene);
    const { width, height } = scene.input;
    this.live.node.style.aspectRatio = this.kept.node.style.aspectRatio = `${width} / ${height}`;
  }

  palettes(names, bytes) {
    this.tables = new Map(names.map((name, at) => [name, bytes.subarray(768 * at, 768 * (at + 1))]));
    this.barName = "";
  }

  table() { return this.tables.get(this.get("colormap")) || this.tables.values().next().value; }

  stageNames() { return this.fusion ? this.fusion.scene.stages.map((stage) => stage.name) : []; }

  /** The stages that the method can take (CAM: the deepest only). */
  usable() { return this.stageNames().filter((name, at) => this.fusion.scene.stages[at].usable); }

  sign() {
    const { signs, method } = this.fusion.scene, wanted = this.get("gradient");
    return signs.includes(wanted) ? wanted : method.sign;
  }

  chosen() {
    const wanted = this.get("stages") || [], names = this.usable();
    const kept = names.filter((name) => wanted.includes(name));
    return kept.length ? kept : names.slice(-1);
  }

  /** The fusion plan: a preset (γ acts where it scales by tanh), or the custom one with the visible switches. */
  plan() {
    const presets = this.get("_presets") || {}, preset = this.get("preset");
    if (preset && presets[preset]) return { ...presets[preset], gamma: this.get("gamma") };
    return { ...presets[""], gamma: this.get("gamma"), scale: this.get("scale"), reduce: this.get("reduce") };
  }

  /** The chosen stages that the scale function acts on. */
  scaledStages() {
    const plan = this.plan(), names = this.chosen(), shallow = (name) => this.fusion.stage(this.sign(), name).shallow;
    return names.filter((name) => name !== this.fusion.gate(names, plan) && isScaled(plan, shallow(name), names.length));
  }

  channel() {
    const channel = this.get("_channel");
    if (!this.get("channel_stage") || !channel || channel.scene !== this.fusion.scene.id) return null;
    return channel;
  }

  /** {key, map} at input size: the fused map, or the single channel's. */
  joined() {
    const channel = this.channel();
    if (!channel) return this.fusion.fused(this.sign(), this.chosen(), this.plan());
    const key = `channel|${channel.id}`;
    if (!this.single || this.single.key !== key) {
      const { height, width } = this.fusion, raw = floatsOf(this.get("_channel_map"));
      const map = normalise(upsample(raw, channel.height, channel.width, height, width), "max");
      this.single = { key, map, ...extent(map) };
    }
    return this.single;
  }

  paint() {
    const start = performance.now(), joined = this.joined(), { picture, input, id } = this.fusion.scene;
    const name = this.get("colormap"), table = this.table();
    drawBlend(this.live.pixels, this.picture, picture.width, picture.height, this.fusion.atPicture(joined), table,
      this.get("opacity"), this.get("blend") === "by value");
    this.marks = this.markings(joined);
    this.live.mark({ ...this.marks, point: this.point }, input.width);
    if (this.pinned) this.kept.mark({ ...this.pinned.marks, point: this.point }, this.pinned.input.width);
    if (this.barName !== name) { drawTable(this.read.bar, table); this.barName = name; }
    this.cards.draw(this.fusion, this.sign(), this.chosen(), table, name, !this.get("channel_stage"));
    this.words(joined);
    Object.assign(this.probe, {
      map: joined.map, scene: id, box: this.marks.box, redraws: this.probe.redraws + 1, ms: performance.now() - start,
    });
  }

  markings(joined) {
    const threshold = this.get("threshold"), wantContour = this.get("contour"), wantBox = this.get("box");
    const key = [joined.key, threshold, wantContour, wantBox, this.fusion.scene.id].join("|");
    if (this.marked && this.marked.key === key) return this.marked.marks;
    const { height, width } = this.fusion, { most } = joined;
    const marks = {
      contour: wantContour && most > 0 ? contour(joined.map, height, width, threshold * most) : null,
      box: wantBox ? largestPart(joined.map, height, width, threshold) : null,
    };
    this.marked = { key, marks };
    return marks;
  }

  words(joined) {
    const channel = this.channel(), { scene } = this.fusion, marking = this.get("contour") || this.get("box");
    this.read.tell(this.reading(joined));
    this.read.range(channel ? channel.peak : "1", channel ? channel.unit : "of the maximum",
      marking ? this.get("threshold") : null);
    say(this.made, `made by: ${this.recipe()}`);
    say(this.caption, `${scene.picture.name} · ${scene.network} · ${scene.target.label} ${scene.target.share}`);
    const flat = !(joined.most > 0);
    show(this.blank, flat);
    if (flat) say(this.blank, `Why is the map blank? ${this.get("reason") || NOTHING}`);
  }

  recipe() {
    const { scene } = this.fusion, channel = this.channel();
    if (channel) return `${channel.text} · ${scene.target.label}`;
    return madeBy(scene, this.chosen(), this.sign(), this.plan());
  }

  reading(joined) {
    const { width } = this.fusion, point = this.point;
    if (!point) return "Move over the picture to read values.";
    const at = point.y * width + point.x, parts = [`value ${joined.map[at].toFixed(2)} at (${point.x}, ${point.y})`];
    if (this.pinned && this.pinned.map.length === joined.map.length) parts.push(`pinned ${this.pinned.map[at].toFixed(2)}`);
    if (!this.channel()) {
      const sign = this.sign(), plan = this.plan(), names = this.chosen();
      const value = (name) => this.fusion.layer(sign, name, names, plan)[at].toFixed(2);
      parts.push([...names].reverse().map((name) => `${name} ${value(name)}`).join("  "));
    }
    return parts.join(" · ");
  }

  /** Keeps a still copy of the live view beside it; a second call lets it go. */
  pin() {
    if (this.pinned) this.pinned = null;
    else if (this.fusion) {
      const { picture, input } = this.fusion.scene, { pixels } = this.kept;
      this.pinned = { map: this.joined().map.slice(), marks: this.marks, input };
      pixels.width = picture.width;
      pixels.height = picture.height;
      pixels.getContext("2d").drawImage(this.live.pixels, 0, 0);
      say(this.keptCaption, `pinned: ${this.recipe()} · ${this.caption.textContent}`);
      this.keptCaption.title = this.keptCaption.textContent;
    }
    show(this.keptFigure, Boolean(this.pinned));
    this.pictures.classList.toggle("cw-two", Boolean(this.pinned));
    this.act.redraw();
    return Boolean(this.pinned);
  }

  /** The picture as drawn, with contour and box, at the picture's own size. */
  savePicture() {
    const { scene } = this.fusion, canvas = h("canvas", { width: scene.picture.width, height: scene.picture.height });
    const context = canvas.getContext("2d");
    context.drawImage(this.live.pixels, 0, 0);
    drawMarks(context, scene.picture.width / scene.input.width, this.marks);
    canvas.toBlob((blob) => download(blob, fileName(scene, "png")), "image/png");
  }
}
