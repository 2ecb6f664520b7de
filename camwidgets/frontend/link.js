// The way to the kernel: view changes go when the hand rests, requests at once, silence is noticed.
import { bytesOf } from "./painting.js";

const SILENCE = 8000; // ms without an answer before the widget says so
const REST = 120; // ms after the last view change
const STEP = 40; // ms between channel requests while the slider moves
const UPLOAD_LIMIT = 64; // MB

const NO_ANSWER = {
  state: "error",
  text: "The kernel has not answered for 8 seconds: it is busy with another cell, or it has stopped.",
  hint: "Everything drawn still works. The answer comes as soon as the kernel is free; if it has stopped, run the cell again.",
};

export class Link {
  /** heard: {asking(), silent(status), redraw()} */
  constructor(model, heard) {
    this.model = model;
    this.heard = heard;
    this.held = {}; // put, and not sent yet
  }

  set(changes) {
    const changed = Object.entries(changes).filter(([name, value]) => !same(this.model.get(name), value));
    for (const [name, value] of changed) this.model.set(name, value);
    return changed.length > 0;
  }

  /** Where, how, show: drawn here at once; the kernel hears of it afterwards. */
  put(changes) {
    const changed = this.set(changes);
    if (changed || this.later) Object.assign(this.held, changes);
    if (!changed) return;
    this.heard.redraw();
    const stepping = "channel_rank" in changes;
    if (stepping && this.later) return;
    clearTimeout(this.later);
    this.later = setTimeout(() => this.rest(), stepping ? STEP : REST);
  }

  /** Send what was put. The kernel's echo of an earlier change may have come over it meanwhile: the hand's word counts. */
  rest() {
    const held = this.held;
    clearTimeout(this.later);
    Object.assign(this, { later: 0, held: {} });
    this.set(held);
    this.model.save_changes();
  }

  /** What and method: answered by the kernel with a scene or a status. */
  ask(changes) {
    if (!this.set(changes)) return;
    this.model.save_changes();
    this.expect();
  }

  send(content, buffers) {
    if (content.kind === "save") this.saving = (this.saving || 0) + 1;
    this.model.send(content, undefined, buffers);
    if (["offer", "open", "upload", "save"].includes(content.kind)) this.expect();
  }

  async upload(file) {
    if (file.size <= UPLOAD_LIMIT * 2 ** 20) {
      this.send({ kind: "upload", name: file.name }, [await file.arrayBuffer()]);
      return;
    }
    const size = (file.size / 2 ** 20).toFixed(0);
    this.heard.silent({
      state: "error", text: `${file.name} has ${size} MB; an upload may have ${UPLOAD_LIMIT} MB.`, hint: "Give its path instead.",
    });
  }

  expect() {
    this.answered();
    this.heard.asking();
    this.silence = setTimeout(() => this.heard.silent(NO_ANSWER), SILENCE);
  }

  answered() { clearTimeout(this.silence); }

  /** Of two views of one widget only the one that asked for a file takes it. */
  takes() {
    if (!this.saving) return false;
    this.saving -= 1;
    return true;
  }

  /** A page shows work that it did not ask for: is there a kernel that does it? */
  ping() {
    this.model.send({ kind: "ping" });
    this.silence = setTimeout(() => this.heard.silent(NO_ANSWER), SILENCE);
  }

  close() {
    this.answered();
    if (this.later) this.rest();
  }
}

function same(a, b) { return a === b || JSON.stringify(a) === JSON.stringify(b); }

/** A file that the kernel made: {kind: "file", name, type} and one buffer. */
export function fileOf(content, buffers) {
  return content.kind === "file" ? new Blob([bytesOf(buffers[0])], { type: content.type }) : null;
}
