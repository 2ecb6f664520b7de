// What every explorer begins with: head line, notice, one redraw a frame, listeners with a way back, keys, files, closing.
import { button, h, menu, say, show } from "./controls.js";
import { notice } from "./picture.js";
import { download, listen, writes } from "./actions.js";
import { Link, fileOf } from "./link.js";

/** rows: [key, what it does] */
export function keyList(rows) {
  return h("dl", { class: "cw-keys" }, ...rows.flatMap(([key, words]) => [h("dt", {}, h("kbd", {}, key)), h("dd", {}, words)]));
}

/**
 * An explorer extends this: it sets `root` (all of it) and `place` (the view, under which work is shown), calls `attach`,
 * and has `draw()`; `panels()` are its menus and `letter(key)` its keys, each with what stands here as their last part.
 */
export class Shell {
  constructor(model) {
    this.model = model;
    this.get = (name) => model.get(name);
    this.still = Boolean(model.get("_still")); // a saved page: there is no kernel
    this.stops = [];
    this.link = new Link(model, {
      redraw: () => this.redraw(), asking: () => say(this.busy, "asking the kernel …"), silent: (status) => this.note.tell(status),
    });
    this.note = notice(() => this.link.send({ kind: "offer" }), () => this.dismiss());
  }

  /** Title, what is told, Cancel, keys. between: nodes after the title. */
  head(keys, ...between) {
    this.busy = h("span", { class: "cw-busy", role: "status", "aria-live": "polite" });
    this.cancel = button("Cancel", () => this.link.send({ kind: "cancel" }), { class: "cw-link" });
    this.keys = menu("Keys", { class: "cw-link", title: "keyboard (key ?)" });
    this.keys.panel.append(keys);
    show(this.cancel, false);
    return h("header", { class: "cw-head" }, h("h2", {}, "camwidgets"), ...between, this.busy, this.cancel, this.keys.node);
  }

  // ---------------------------------------------------------------- model
  on(names, act) { names.forEach((name) => this.stops.push(listen(this.model, `change:${name}`, act))); }

  /** The kernel's word and files, the keys, and the size of `sized`. */
  attach(sized) {
    this.on(["_status"], () => this.status());
    this.stops.push(listen(this.model, "msg:custom", (content, buffers) => this.receive(content, buffers)));
    this.root.addEventListener("keydown", (event) => this.key(event));
    if (!this.still && (this.get("_status") || {}).state === "working") this.link.ping();
    const watch = new ResizeObserver(() => this.resized());
    watch.observe(sized);
    this.stops.push(() => watch.disconnect());
  }

  resized() { this.redraw(); }

  redraw() {
    if (this.waiting) return;
    this.waiting = requestAnimationFrame(() => {
      this.waiting = 0;
      this.draw();
    });
  }

  /** What the kernel says: in the head, or as a notice. */
  heard() {
    this.link.answered();
    const status = this.get("_status") || { state: "idle" };
    say(this.busy, ["working", "told"].includes(status.state) ? status.text : "");
    this.busy.title = this.busy.textContent;
    this.note.tell(["error", "offer"].includes(status.state) ? status : null);
    return status;
  }

  status() {
    const working = this.heard().state === "working";
    show(this.cancel, working && !this.still);
    this.place.classList.toggle("cw-working", working);
    this.root.setAttribute("aria-busy", String(working));
  }

  dismiss() {
    this.note.tell(null);
    if (!this.still) this.link.send({ kind: "dismiss" });
  }

  receive(content, buffers) {
    this.link.answered();
    const file = fileOf(content, buffers);
    if (!file || !this.link.takes()) return;
    download(file, content.name);
    say(this.busy, `saved ${content.name}`);
  }

  // ---------------------------------------------------------------- keyboard
  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || (event.key === "Enter" && event.shiftKey)) return;
    event.stopPropagation(); // the notebook's own one-letter commands must not run
    if (event.key === "Escape") this.escape();
    else if (!writes(event.target) && this.letter(event.key)) event.preventDefault();
  }

  letter(key) {
    if (key === "?") this.keys.toggle(this.keys.panel.hidden);
    return key === "?";
  }

  panels() { return [this.keys]; }

  escape() {
    if (!this.panels().some((panel) => panel.close()) && !this.note.node.hidden) this.dismiss();
  }

  close() {
    cancelAnimationFrame(this.waiting);
    this.link.close();
    this.panels().forEach((panel) => panel.toggle?.(false));
    this.stops.forEach((stop) => stop());
  }
}

/** `render` of an anywidget for a class of explorers. */
export function rendered(Explorer) {
  return ({ model, el }) => {
    const explorer = new Explorer(model);
    el.append(explorer.root);
    return () => explorer.close();
  };
}
