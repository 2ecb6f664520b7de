// TreeExplorer's two panels: role "head" (controls) and role "side" (facts). Plotly draws the tree between them.
import { head } from "./head.js";
import { side } from "./side.js";
import { watchPlot } from "./plot.js";
import { h } from "../controls.js";

function render({ model, el }) {
  return model.get("role") === "head" ? renderHead(model, el) : renderSide(model, el);
}

function listen(model, event, act) {
  model.on(event, act);
  return () => model.off(event, act);
}

function renderHead(model, el) {
  const send = (content) => model.send(content);
  const act = { send, set: (name, value) => send({ kind: "set", name, value }), camera: () => rootOf(el)?.treePlot?.camera() };
  const view = head(model, act);
  el.append(view.node);
  const draw = () => view.draw(model.get("state"));
  const status = () => {
    const said = model.get("status");
    view.status(said);
    if (said.state !== "working" || said.problem) draw(); // what was refused or broken off goes back, though no value is new
  };
  draw();
  status();
  const ends = [
    listen(model, "change:state", draw), listen(model, "change:labels", draw), listen(model, "change:status", status),
    listen(model, "msg:custom", (content, buffers) => { if (content.kind === "file") keep(content, buffers); }),
    watchTheme(model, view.node),
  ];
  view.node.addEventListener("keydown", (event) => { if (event.key === "Escape") view.keys.close(); });
  el.treeHelp = view.help;
  el.treeClose = view.keys.close;
  return () => ends.forEach((end) => end());
}

function renderSide(model, el) {
  const send = (content) => model.send(content);
  const view = side({ send });
  el.append(view.node);
  let asked = 0;
  const draw = () => { cancelAnimationFrame(asked); asked = requestAnimationFrame(() => view.draw(model.get("state"), model.get("seen"), model.get("index"))); };
  view.draw(model.get("state"), model.get("seen"), model.get("index"));
  const offs = ["change:state", "change:seen", "change:index"].map((event) => listen(model, event, draw));
  const off = () => { cancelAnimationFrame(asked); offs.forEach((end) => end()); };
  let plot = null;
  const timer = setInterval(() => {
    const root = rootOf(el);
    if (!root) return;
    clearInterval(timer);
    plot = watchPlot(root, {
      send, selected: () => model.get("focus")[0], children: () => model.get("focus")[1],
      room(width) {
        if (width < 100 || Math.abs(width - model.get("room")) < 8) return;
        model.set("room", width);
        model.save_changes();
      },
      close: () => headOf(root)?.treeClose(),
      help: () => headOf(root)?.treeHelp(),
    });
    root.treePlot = plot;
  }, 50);
  return () => { off(); clearInterval(timer); plot?.stop(); };
}

const rootOf = (el) => el.closest(".cw-tree");
const headOf = (root) => [...root.querySelectorAll(".cw-tree-head")].map((node) => node.parentElement).find((node) => node.treeHelp);

/** Tells Python whether the page is dark, and its background: Plotly's drawing has no style sheet. */
function watchTheme(model, node) {
  const tell = () => {
    if (!node.isConnected) return;
    const paper = getComputedStyle(node).backgroundColor;
    const [r, g, b] = (paper.match(/[\d.]+/g) || [255, 255, 255]).map(Number);
    const dark = 0.299 * r + 0.587 * g + 0.114 * b < 128;
    if (model.get("dark") === dark && model.get("paper") === paper) return;
    model.set("dark", dark);
    model.set("paper", paper);
    model.save_changes();
  };
  const watcher = new MutationObserver(() => setTimeout(tell, 100));
  watcher.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-light", "data-jp-theme-name", "class"] });
  const timers = [100, 600, 2000].map((ms) => setTimeout(tell, ms));
  return () => { watcher.disconnect(); timers.forEach(clearTimeout); };
}

function keep({ name, type }, buffers) {
  const address = URL.createObjectURL(new Blob([buffers[0]], { type })), link = h("a", { href: address, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
}

export default { render };
