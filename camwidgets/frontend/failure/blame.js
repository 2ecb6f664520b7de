// The right of FailureExplorer: the channels to blame, one of them looked at closely, and what excites it elsewhere.
import { button, h, say, segmented, show } from "../controls.js";
import { jobBar } from "./gallery.js";

export function blamePart(act) {
  const words = h("p", { class: "cw-muted cw-fail-says" }), stages = h("div", {}), list = h("div", { class: "cw-fail-list", role: "group", "aria-label": "Channels to blame" });
  const waiting = h("p", { class: "cw-muted" }), seen = channelPart(act);
  const off = button("they were off", () => act.send({ kind: "switch", stage: act.get("stage"), channels: some(true), on: false }));
  const on = button("on again", () => act.send({ kind: "switch", stage: act.get("stage"), channels: some(false), on: true }));
  const all = h("div", { class: "cw-row cw-fail-all" }, h("span", { class: "cw-muted" }, "What if …"), h("span", { class: "cw-row" }, off, on));
  const some = (are) => (act.get("_blame").rows || []).filter((one) => one.off !== are).map(({ channel }) => channel);
  const node = h("section", { class: "cw-fail-blame", "aria-label": "Channels to blame" }, h("h3", {}, "To blame"), words, stages, waiting, all, list, seen.node);
  let built = "", choose = null, drawn = null, scale = 1;
  return {
    node,
    draw(get) {
      const about = get("_case") || {}, blame = get("_blame") || {}, there = about.state === "done";
      for (const one of node.children) if (one !== seen.node && one !== waiting) show(one, there);
      show(waiting, there && blame.state !== "done");
      waiting.classList.toggle("cw-fail-bad", blame.state === "failed");
      if (!there) { seen.draw(get); return; }
      say(waiting, blame.state === "failed" ? blame.text : "comparing what speaks for either class …");
      say(words, `Red: what a channel adds to the logit of ${about.taken.label}; blue: to that of ${about.own.label} (outlined: takes away), of the picture as it was. Click one to see where.`);
      if (built !== about.stages.join()) {
        built = about.stages.join();
        choose = segmented("Stage", about.stages.map((value) => ({ value, text: value })), (value) => act.ask({ stage: value }));
        stages.replaceChildren(choose.node);
      }
      if (choose) choose.set(get("stage"));
      off.disabled = blame.state !== "done" || !some(true).length;
      on.disabled = blame.state !== "done" || !some(false).length;
      if (drawn !== blame) {
        drawn = blame;
        scale = Math.max(1e-9, ...(blame.rows || []).map(({ taken, own }) => Math.max(Math.abs(taken), Math.abs(own))));
        list.replaceChildren(...(blame.rows || []).map((one) => blameRow(one, about, scale, act)));
      }
      const [stage, channel] = get("channel") || [];
      for (const one of list.children) one.querySelector(".cw-fail-pick").setAttribute("aria-pressed", String(one.dataset.channel === `${stage} ${channel}`));
      seen.draw(get);
    },
  };
}

function blameRow(one, about, scale, act) {
  const box = h("input", {
    type: "checkbox", checked: !one.off, "aria-label": `${one.stage} #${one.channel} is on`, title: one.off ? "switch it on again" : "switch it off and see",
    onchange: () => act.send({ kind: "switch", stage: one.stage, channels: [one.channel], on: box.checked }),
  });
  const bar = (value, kind, label) => h("span", { class: `cw-fail-speak cw-fail-${kind}`, title: `${label}: ${value.toFixed(2)}` },
    h("i", { style: `width: ${Math.round(100 * Math.abs(value) / scale)}%`, class: value < 0 ? "cw-fail-minus" : "" }));
  const sign = (value) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(2)}`;
  return h("div", { class: `cw-fail-row${one.off ? " cw-fail-off" : ""}`, "data-channel": `${one.stage} ${one.channel}` },
    h("label", { class: "cw-tick cw-fail-on" }, box, h("span", {}, one.off ? "off" : "on")),
    h("button", { type: "button", class: "cw-fail-pick", onclick: () => act.look(one.stage, one.channel), title: `where ${one.stage} #${one.channel} speaks` },
      h("img", { src: one.thumb, alt: "" }), h("span", { class: "cw-fail-what" }, h("b", {}, `#${one.channel}`), one.name ? ` ${one.name}` : ""),
      h("span", { class: "cw-fail-two" }, bar(one.taken, "for", `for ${about.taken.label}`), bar(one.own, "against", `for ${about.own.label}`)),
      h("span", { class: "cw-fail-sum" }, `${sign(one.taken)} / ${sign(one.own)}`)));
}

/** What the channel that was clicked sees. */
function channelPart(act) {
  const title = h("h3", {}), name = h("p", { class: "cw-muted" }), bar = jobBar("index", "looking through pictures", act);
  const find = button("Find what excites it", () => act.send({ kind: "index" }), { class: "cw-button" });
  const offer = h("div", { class: "cw-fail-offer" }, h("p", { class: "cw-muted" }, "Looks through the data set for the places where this channel answers most."), find);
  const said = h("p", { class: "cw-muted" }), patches = h("div", { class: "cw-fail-patches" });
  const node = h("div", { class: "cw-fail-seen" }, title, name, offer, bar.node, said, patches);
  let drawn = null;
  return {
    node,
    draw(get) {
      const channel = get("_channel") || {}, found = get("_patches") || {}, there = Boolean(channel.stage);
      show(node, there);
      if (!there) return;
      const busy = bar.draw(get("_progress"));
      say(title, `What ${channel.stage} #${channel.channel} answers to`);
      say(name, channel.name ? `called “${channel.name.replace(/ \(.*/, "")}”${channel.name.includes("(") ? channel.name.slice(channel.name.indexOf(" (")) : ""}` : "it has no name");
      show(offer, found.state === "offer" && !busy);
      say(said, found.state === "none" || found.state === "done" ? found.text : "");
      show(said, Boolean(said.textContent));
      if (drawn !== found) {
        drawn = found;
        patches.replaceChildren(...(found.rows || []).map((one, at) => h("button", {
          type: "button", class: "cw-fail-patch", "aria-pressed": String(found.taken === at), onclick: () => act.send({ kind: "patch", at }),
          title: `${one.label}, picture ${one.id}: ${one.response.toFixed(2)}. Click to paste it`,
        }, h("img", { src: one.src, alt: `patch of ${one.label}` }), h("span", {}, one.label))));
      }
    },
  };
}

