// The ε slider with its marks, Play, and the line above it: Attack, how far it is, Cancel.
import { button, h, say, show } from "../controls.js";

const PACE = 700; // ms at each ε while it plays

/** ε in words: 1.28/255 for L∞, 0.5 for L2. */
export function epsText(eps, norm, unit = true) {
  const value = Number((norm === "linf" ? 255 * eps : eps).toPrecision(3));
  return norm === "linf" && unit ? `${value}/255` : `${value}`;
}

function secondsText(seconds) {
  if (seconds === null || seconds === undefined) return "";
  return seconds < 90 ? `${Math.max(1, Math.round(seconds))} s` : `${Math.round(seconds / 60)} min`;
}

/** Attack and Cancel, progress, and whether what is on screen is of other settings. */
export function attackBar(act) {
  const run = button("Attack", () => act.run(), { class: "cw-button cw-primary cw-adv-run", title: "make the sweep (key r)" });
  const stop = button("Cancel", () => act.send({ kind: "stop" }), { class: "cw-button cw-adv-stop", title: "end the sweep (key x)" });
  const fill = h("i"), track = h("div", { class: "cw-adv-track", role: "progressbar", "aria-valuemin": "0", "aria-valuemax": "100", "aria-label": "Attack" }, fill);
  const buttons = h("div", { class: "cw-adv-run-buttons" }, run, stop);
  const words = h("p", { class: "cw-adv-run-words", role: "status" }), why = h("p", { class: "cw-adv-run-why" });
  const node = h("div", { class: "cw-adv-run-bar cw-needs-kernel" }, buttons, h("div", { class: "cw-grow" }, track, words, why));
  return {
    node,
    /** stale: names of settings that changed since the sweep on screen was made. */
    draw(progress, there, stale, plan) {
      const busy = ["running", "stopping"].includes(progress.state), share = busy ? progress.share : 0;
      run.disabled = !plan;
      stop.disabled = progress.state !== "running";
      show(stop, busy);
      show(buttons, there || busy); // before the first attack one button stands beside the picture
      say(run, busy ? "Attack anew" : "Attack");
      fill.style.width = `${100 * share}%`;
      track.setAttribute("aria-valuenow", String(Math.round(100 * share)));
      track.classList.toggle("cw-idle", !busy);
      const left = progress.left ? ` · about ${secondsText(progress.left)} left` : "";
      say(words, busy ? `${progress.state === "stopping" ? "stopping after this pass …" : progress.text}${progress.state === "stopping" ? "" : left}`
        : { cancelled: there ? "Cancelled. The sweep below is the one from before." : "Cancelled.", failed: "It did not come to an end: see below.",
          done: `Done in ${secondsText(progress.seconds)}.` }[progress.state] || "");
      node.classList.toggle("cw-is-stale", there && stale.length > 0);
      say(why, there && stale.length ? `Of other settings than those chosen now (${stale.join(", ")}). Attack again to renew it.` : plan);
    },
  };
}

export function epsBar(act) {
  const play = button("Play", () => toggle(), { class: "cw-button cw-adv-play", title: "from ε to ε (space)", "aria-pressed": "false" });
  const input = h("input", { type: "range", class: "cw-slider cw-eps", min: 0, max: 1, step: 1, "aria-label": "ε, the strength of the attack", oninput: () => { halt(); act.go(Number(input.value)); } });
  const marks = h("div", { class: "cw-eps-marks", "aria-hidden": "true" }), ticks = h("div", { class: "cw-eps-ticks", "aria-hidden": "true" });
  const value = h("output", { class: "cw-eps-value" }), exact = h("span", { class: "cw-muted cw-eps-exact" }), found = h("p", { class: "cw-adv-finding" });
  const node = h("section", { class: "cw-eps-bar", "aria-label": "Strength of the attack" }, found,
    h("div", { class: "cw-eps-row" }, play, h("div", { class: "cw-eps-track" }, marks, input, ticks), h("div", { class: "cw-eps-number" }, value, exact)));
  let sweep = null, at = 0, timer = 0;
  const place = (i) => `calc(8px + (100% - 16px) * ${i / Math.max(1, sweep.frames.length - 1)})`;

  function mark(i, kind, text, title) {
    const node = h("span", { class: `cw-eps-mark cw-eps-${kind}`, title, "data-at": i }, text);
    node.style.left = place(i);
    return node;
  }

  function load(next) {
    sweep = next;
    halt();
    const { norm } = sweep.asked, count = sweep.frames.length, every = Math.ceil(count / 13);
    input.max = count - 1;
    ticks.replaceChildren(...sweep.frames.map(({ eps }, i) => mark(i, "tick", i % every ? "" : i ? epsText(eps, norm, false) : "clean", "")));
    const gone = new Map();
    for (const { channel, at: i } of sweep.drops) if (i !== null) gone.set(i, [...(gone.get(i) || []), `#${channel}`]);
    marks.replaceChildren(...[...gone].map(([i, names]) => mark(i, "drop", `− ${names.join(" ")}`, `out of the top ${sweep.top} of ${sweep.stage} from here: ${names.join(", ")}`)));
    if (sweep.flip !== null) marks.append(mark(sweep.flip, "flip", sweep.asked.targeted ? "reached" : "flips", "the least ε of the sweep at which the attack succeeds"));
    fit();
    say(found, finding());
  }

  /** No mark runs into the next one of its line; one at the end stands to the left of its place. */
  function fit() {
    const last = sweep.frames.length - 1;
    for (const kind of ["drop", "flip"]) {
      const own = [...marks.querySelectorAll(`.cw-eps-${kind}`)].sort((a, b) => a.dataset.at - b.dataset.at);
      own.forEach((node, j) => {
        const at = Number(node.dataset.at), end = at === last && last > 0, other = own[end ? j - 1 : j + 1];
        const room = other ? Math.abs(Number(other.dataset.at) - at) / (end || Number(other.dataset.at) === last ? 2 : 1) : end ? last : last - at;
        node.classList.toggle("cw-eps-leftward", end);
        node.style.maxWidth = `calc((100% - 16px) * ${room / Math.max(1, last)} - 4px)`;
      });
    }
  }

  function finding() {
    const { flip, frames, true: own, wrong, asked } = sweep, last = epsText(frames[frames.length - 1].eps, asked.norm);
    if (flip === null) {
      return asked.targeted ? `${own.label} does not become ${wrong.label} up to ε = ${last}.` : `${own.label} does not flip up to ε = ${last}.`;
    }
    const then = frames[flip].top[0], here = epsText(frames[flip].eps, asked.norm);
    if (flip === 0) return `Without any attack the picture is taken for ${then.label}, not for ${own.label}.`;
    const before = frames[flip - 1].eps ? ` (not yet at ${epsText(frames[flip - 1].eps, asked.norm)})` : "";
    return `${own.label} becomes ${then.label} at ε = ${here}${before}.`;
  }

  function draw(i) {
    at = i;
    const { eps, l2 } = sweep.frames[i], { norm } = sweep.asked;
    if (Number(input.value) !== i) input.value = i;
    input.style.setProperty("--cw-fill", `${(100 * i) / Math.max(1, sweep.frames.length - 1)}%`);
    input.setAttribute("aria-valuetext", i ? `ε ${epsText(eps, norm)}` : "clean, ε 0");
    say(value, `ε = ${i ? epsText(eps, norm) : "0"}`);
    say(exact, norm === "linf" ? `= ${Number(eps.toPrecision(3))} · L2 ${Number(l2.toPrecision(3))}` : `L2 · at most ${Number((255 * sweep.frames[i].most).toPrecision(3))}/255 a pixel`);
  }

  function halt() {
    clearInterval(timer);
    timer = 0;
    say(play, "Play");
    play.setAttribute("aria-pressed", "false");
  }

  function toggle() {
    if (timer) { halt(); return; }
    if (!sweep) return;
    const last = sweep.frames.length - 1;
    if (at >= last) act.go(0);
    say(play, "Pause");
    play.setAttribute("aria-pressed", "true");
    timer = setInterval(() => { if (at >= last) halt(); else { act.go(at + 1); if (at + 1 >= last) halt(); } }, PACE);
  }
  return { node, input, load, draw, toggle, halt };
}
