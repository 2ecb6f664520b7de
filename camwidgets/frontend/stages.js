// The stage cards: each a toggle that shows the stage's own map, its resolution and its channels.
import { h } from "./controls.js";
import { drawThumbnail } from "./painting.js";

export function stageCards(toggle, only) {
  const node = h("div", { class: "cw-stages", role: "group", "aria-label": "Stages" });
  let cards = [], drawn = "";
  function build(stages) {
    cards = stages.map((stage, at) => {
      const canvas = h("canvas", { class: "cw-thumb", width: stage.width, height: stage.height });
      const card = h("button", {
        type: "button", class: "cw-card", "aria-pressed": "true",
        title: stage.usable
          ? `${stage.tap}: ${stage.height} × ${stage.width}, ${stage.channels} channels. Click: on or off. Shift-click: only this stage.`
          : `${stage.tap}: this method has no map here.`,
        onclick: (event) => (event.shiftKey ? only(stage.name) : toggle(stage.name)),
      }, h("span", { class: "cw-thumbbox" }, canvas),
        h("span", { class: "cw-card-head" }, h("i", { class: "cw-check", "aria-hidden": "true" }), h("b", {}, stage.name),
          h("kbd", { class: "cw-muted" }, String(at + 1))),
        h("span", { class: "cw-card-line" }, `${stage.height} × ${stage.width}`),
        h("span", { class: "cw-card-line cw-muted" }, `${stage.channels} channels`));
      return { name: stage.name, card, canvas, can: stage.usable };
    });
    node.replaceChildren(...cards.map(({ card }) => card));
  }
  return {
    node,
    scene(scene) { build(scene.stages); drawn = ""; },
    /** Thumbnails are redrawn only when the scene, the sign or the colours changed. */
    draw(fusion, sign, chosen, table, tableName, usable) {
      for (const { name, card, can } of cards) {
        card.setAttribute("aria-pressed", String(chosen.includes(name)));
        card.disabled = !usable || !can;
      }
      const key = [fusion.scene.id, sign, tableName].join("|");
      if (key === drawn) return;
      drawn = key;
      for (const { name, canvas, can } of cards) {
        if (!can) continue;
        const stage = fusion.stage(sign, name);
        drawThumbnail(canvas, stage.map, stage.width, stage.height, table);
      }
    },
  };
}

/** The five likeliest classes as bars; a click chooses one. */
export function classList(choose) {
  const now = h("div", { class: "cw-class-now" });
  const list = h("div", { class: "cw-classes", role: "group", "aria-label": "Five likeliest classes" });
  let rows = [];
  function row(entry) {
    const bar = h("i", { class: "cw-prob" });
    bar.style.width = `${Math.max(0.5, 100 * entry.probability)}%`;
    return h("button", {
      type: "button", class: "cw-class", title: `logit ${entry.logit.toFixed(2)} · class ${entry.index}`,
      onclick: () => choose(entry.index),
    }, bar, h("span", { class: "cw-label" }, entry.label), h("span", { class: "cw-number" }, entry.share));
  }
  return {
    node: h("div", { class: "cw-classbox" }, now, list),
    draw(scene, still) {
      const target = scene.target;
      now.replaceChildren(h("b", { title: target.label }, target.label),
        h("span", { class: "cw-muted" }, `${target.share} · logit ${target.logit.toFixed(2)}`));
      rows = scene.top.map((entry) => ({ entry, node: row(entry) }));
      if (still) rows.forEach(({ node: one }) => { one.disabled = true; });
      list.replaceChildren(...rows.map(({ node }) => node));
      this.mark(target.index);
    },
    mark(index) {
      for (const { entry, node } of rows) node.setAttribute("aria-pressed", String(entry.index === index));
    },
  };
}
