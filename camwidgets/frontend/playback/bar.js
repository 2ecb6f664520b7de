// The hand on time: play, epoch slider, speed, follow. Epochs are a list; the slider walks on its places.
import { button, choice, h, say, show, slider, tick } from "../controls.js";
import { lastBefore } from "./reel.js";

const SPEEDS = [1, 2, 4, 8, 16];
const speedOf = (value) => ({ value: String(value), text: Number(value) === 1 ? "1 epoch/s" : `${value} epochs/s` });

/** act: {put, send, play()} */
export function timeBar(act) {
  let epochs = [];
  const play = button("Play", () => act.play(), { class: "cw-button cw-primary cw-pb-play", title: "play or pause (space)" });
  const time = slider("Epoch", {
    min: 0, max: 0, step: 1, describe: "Epoch that is shown", format: (at) => (epochs.length ? `${epochs[at]} of ${epochs[epochs.length - 1]}` : ""),
    change: (at) => act.put({ epoch: epochs[at] }),
  });
  const speed = choice("Speed", (value) => act.put({ speed: Number(value) }), { title: "epochs a second" });
  speed.options(SPEEDS.map(speedOf));
  const follow = tick("follow", "look for new epochs each second, while a training writes them", (on) => { if (!act.still) act.put({ follow: on }); });
  const node = h("div", { class: "cw-pb-time" }, play, time.node, speed.node, follow.node);
  time.node.classList.add("cw-grow");
  return {
    node, input: time.input, follow,
    load(list) {
      epochs = list;
      time.limit(Math.max(0, list.length - 1));
      time.enable(list.length > 1);
      play.disabled = list.length < 2;
    },
    draw(get, playing) {
      const own = String(get("speed"));
      time.set(lastBefore(epochs, get("epoch")));
      say(play, playing ? "Pause" : "Play");
      play.setAttribute("aria-pressed", String(playing));
      if (!SPEEDS.includes(Number(own))) speed.options([...SPEEDS, own].map(speedOf));
      speed.set(own);
      follow.set(Boolean(get("follow")));
    },
    still() { show(follow.node, false); },
  };
}
