// What Plotly does not: a larger thumbnail under the pointer, a steady place for the clicked node, keys, the camera.
import { h } from "../controls.js";

const TIP = 192; // px

/** Watches the Plotly drawing in `root`; returns {stop, camera}. */
export function watchPlot(root, act) {
  const tip = h("div", { class: "cw-tree-tip", hidden: true });
  const ends = [];
  let plot = null, last = new Map(); // node → where it was drawn
  const timer = setInterval(find, 150);
  ends.push(() => clearInterval(timer), () => tip.remove());
  find();

  function find() {
    const found = root.querySelector(".cw-tree-plot .js-plotly-plot, .js-plotly-plot");
    if (!found || found === plot || !found.on || !found._fullLayout) return;
    plot = found;
    root.append(tip);
    plot.on("plotly_hover", hover);
    plot.on("plotly_unhover", () => { tip.hidden = true; });
    plot.on("plotly_afterplot", steady);
    plot.on("plotly_click", () => { tip.hidden = true; });
    const frame = plot.closest(".cw-tree-frame") || root;
    frame.tabIndex = 0;
    frame.dataset.lmSuppressShortcuts = "true"; // else JupyterLab's command mode takes the keys
    frame.addEventListener("mousedown", keepFromLab);
    frame.setAttribute("role", "group");
    frame.setAttribute("aria-label", "Tree: arrows move, Enter expands or collapses, Delete removes the channel");
    frame.addEventListener("keydown", press);
    const watcher = new ResizeObserver(() => act.room(frame.clientWidth - 16));
    watcher.observe(frame);
    ends.push(() => frame.removeEventListener("keydown", press), () => frame.removeEventListener("mousedown", keepFromLab), () => watcher.disconnect());
    steady();
  }

  function hover({ points }) {
    const at = points[0].pointNumber, image = plot.layout.images[at];
    const words = h("p", {});
    words.innerText = String(points[0].data.hovertext[at]).replace(/<br>/g, "\n").replace(/<\/?b>/g, "")
      .replace(/&lt;/g, "<").replace(/&gt;/g, ">").replace(/&quot;/g, '"').replace(/&#x27;/g, "'").replace(/&amp;/g, "&");
    tip.replaceChildren(h("img", { src: image.source, width: TIP, height: TIP, alt: "" }), words);
    tip.hidden = false;
    const box = root.getBoundingClientRect(), drawn = plot.getBoundingClientRect(), full = plot._fullLayout;
    const x = drawn.left - box.left + full.xaxis.l2p(points[0].x) + 40, y = drawn.top - box.top + full.yaxis.l2p(points[0].y) - 60;
    tip.style.left = `${Math.min(x, box.width - TIP - 24)}px`;
    tip.style.top = `${Math.max(0, Math.min(y, box.height - TIP - 96))}px`;
  }

  /** When rows come or go above the selected node, the frame scrolls along: the node stays under the hand. */
  function steady() {
    const id = act.selected(), frame = plot.closest(".cw-tree-frame"), trace = plot.data[0];
    const ids = trace && trace.customdata ? [...trace.customdata] : [], at = ids.indexOf(id);
    if (at < 0 || !frame) return;
    const top = (i) => plot._fullLayout.yaxis.l2p(trace.y[i]), y = top(at);
    const family = [id, ...act.children()].filter((one) => ids.includes(one)).map((one) => top(ids.indexOf(one)));
    if (last.has(id)) frame.scrollTop += y - last.get(id);
    // What the click brought shall be seen: the node and its children, if there is room for them.
    const first = Math.min(...family) - 60, end = Math.max(...family) + 60;
    if (end > frame.scrollTop + frame.clientHeight) frame.scrollTop = end - frame.clientHeight;
    if (first < frame.scrollTop) frame.scrollTop = first;
    last = new Map(ids.map((one, i) => [one, top(i)]));
  }

  /** JupyterLab takes a press with Shift for a selection of cells and swallows the release: Plotly would see no click. */
  function keepFromLab(event) {
    if (event.shiftKey) event.stopPropagation();
  }

  function press(event) {
    const acts = {
      ArrowLeft: "left", ArrowRight: "right", ArrowUp: "up", ArrowDown: "down", Enter: "toggle", Delete: "flip", Backspace: "flip",
    };
    if (event.key === "?") act.help();
    else if (event.key === "Escape") act.close();
    else if (event.key in acts) act.send({ kind: "do", what: acts[event.key] });
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  return {
    stop() { ends.forEach((end) => end()); },
    camera() { root.querySelector(".modebar-btn[data-title]")?.click(); },
  };
}
