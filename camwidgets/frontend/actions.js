// Words and files: the "made by" line, the keys, downloads.
import { h, say } from "./controls.js";

/** made by: LayerCAM · S5+S4+S3 · positive gradient · tanh γ=2 · max (as `Explanation.caption` in Python) */
export function madeBy(scene, stages, sign, plan) {
  const parts = [scene.method.title, [...stages].reverse().join("+"), `${sign} gradient`];
  if (plan.name !== "paper" && plan.name !== "custom") parts.push(`preset ${plan.name}`);
  else if (stages.length > 1 || plan.scale !== "tanh") {
    parts.push(plan.scale === "tanh" ? `tanh γ=${Number(plan.gamma.toFixed(2))}` : plan.scale, plan.reduce);
  }
  return parts.join(" · ");
}

export function fileName(scene, ending) {
  const clean = (text) => String(text).split(/[\\/]/).pop().replace(/\.[a-z]{3,4}$/i, "").replace(/[^\p{L}\p{N}]+/gu, "_").slice(0, 40);
  return `${clean(scene.picture.name)}-${clean(scene.target.label)}-${clean(scene.method.title)}.${ending}`;
}

export function download(blob, name) {
  const address = URL.createObjectURL(blob), link = h("a", { href: address, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
}

/** Labels that hold the text: first those that begin with it, then with a word that does, then the rest. */
export function labelsWith(labels, text) {
  const wanted = text.toLowerCase(), ranked = [[], [], []];
  labels.forEach((label, index) => {
    const name = label.toLowerCase(), at = name.indexOf(wanted);
    if (at < 0 && String(index) !== wanted) return;
    const rank = at <= 0 ? 0 : name.includes(` ${wanted}`) ? 1 : 2;
    ranked[rank].push({ text: `${label} · ${index}`, value: index });
  });
  return ranked.flat().slice(0, 50);
}

/** The option `by` steps on from the one that is chosen, round and round. */
export function turned(list, chosen, by) {
  const at = list.findIndex(({ value }) => value === chosen);
  return list.length ? list[(at + by + list.length) % list.length].value : chosen;
}

export async function copyText(text, told) {
  try {
    await navigator.clipboard.writeText(text.textContent);
    say(told, "Copied.");
  } catch {
    getSelection().selectAllChildren(text);
    say(told, "Press Ctrl+C to copy them.");
  }
}

/** Fields that take letters: one-letter commands leave them alone. */
export function writes(target) {
  return target.tagName === "TEXTAREA" || target.tagName === "SELECT" ||
    (target.tagName === "INPUT" && ["text", "number"].includes(target.type));
}

/** model.on with a way back. */
export function listen(model, event, act) {
  model.on(event, act);
  return () => model.off(event, act);
}

export function keyTable() {
  const rows = [
    ["1 … 5", "stage on or off"], ["g", "next gradient sign"], ["[  ]", "previous, next picture"], ["p", "pin, unpin"],
    ["arrows", "move a slider, or the reading point on the picture"], ["Shift + arrows", "move the point by 16 pixels"],
    ["Esc", "close what is open"], ["?", "this list"],
  ];
  return h("dl", { class: "cw-keys" }, ...rows.flatMap(([key, words]) => [h("dt", {}, h("kbd", {}, key)), h("dd", {}, words)]));
}
