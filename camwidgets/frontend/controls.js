// Small DOM builders. Every text enters as a text node, so a label with <script> stays a label.

let count = 0;
export const fresh = (name) => `cw-${name}-${++count}`;

/** h("div", {class: "x", onclick: f, "aria-label": "y"}, child, "text", …) */
export function h(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked" || name === "textContent") node[name] = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

/** Sets text only when it differs: no layout work while dragging. */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function show(node, visible) {
  if (node.hidden === visible) node.hidden = !visible;
}

export const percent = (share, digits = 0) => `${(100 * share).toFixed(digits)} %`;

/** The share with as many digits as it deserves: 39 %, 4.2 %, 0.03 %. */
export function sharePercent(share) {
  const value = 100 * share;
  if (value >= 10) return `${value.toFixed(0)} %`;
  return value >= 0.1 ? `${value.toFixed(1)} %` : value >= 0.01 ? `${value.toFixed(2)} %` : "< 0.01 %";
}

export function button(text, act, properties = {}) {
  return h("button", { type: "button", class: "cw-button", onclick: act, ...properties }, text);
}

/** A labelled row: name, control, value. */
export function field(name, control, value = null) {
  const id = control.id || (control.id = fresh("field"));
  return h("div", { class: "cw-field" }, h("label", { class: "cw-name", for: id }, name), control, value);
}

export function slider(name, { min, max, step, format, describe, change }) {
  const value = h("output", { class: "cw-value" });
  const input = h("input", {
    type: "range", min, max, step, class: "cw-slider", title: describe, "aria-label": describe || name,
    oninput: () => { paint(); change(Number(input.value)); },
  });
  const paint = () => {
    const number = Number(input.value), span = Number(input.max) - Number(input.min) || 1;
    input.style.setProperty("--cw-fill", `${(100 * (number - Number(input.min))) / span}%`);
    input.setAttribute("aria-valuetext", format(number));
    say(value, format(number));
  };
  const node = field(name, input, value);
  return {
    node, input,
    set(number) { if (document.activeElement !== input || Number(input.value) !== number) input.value = number; paint(); },
    limit(most) { input.max = most; paint(); },
    enable(on) { input.disabled = !on; node.classList.toggle("cw-off", !on); },
  };
}

/** One of a few: native radio buttons (arrows work) drawn as a row of words. */
export function segmented(name, options, change) {
  const group = fresh("group"), inputs = new Map();
  const row = h("div", { class: "cw-segments", role: "radiogroup", "aria-label": name });
  for (const { value, text, describe } of options) {
    const input = h("input", { type: "radio", name: group, value, onchange: () => change(value) });
    inputs.set(value, input);
    row.append(h("label", { class: "cw-segment", title: describe }, input, h("span", {}, text)));
  }
  return {
    node: row,
    set(value) { for (const [key, input] of inputs) input.checked = key === value; },
    allow(values) { for (const [key, input] of inputs) input.disabled = !values.includes(key); },
  };
}

/** options: [{value, text, group?}]; rebuilt only when they change. */
export function choice(name, change, properties = {}) {
  const select = h("select", {
    class: "cw-select", "aria-label": name, onchange: () => change(select.value), ...properties,
  });
  let built = "";
  return {
    node: select,
    options(list) {
      const key = JSON.stringify(list);
      if (key === built) return;
      built = key;
      select.replaceChildren(...grouped(list));
    },
    set(value) { if (select.value !== value) select.value = value; },
  };
}

function grouped(list) {
  const nodes = [], groups = new Map();
  for (const { value, text, group } of list) {
    const option = h("option", { value }, text);
    if (!group) { nodes.push(option); continue; }
    if (!groups.has(group)) {
      groups.set(group, h("optgroup", { label: group }));
      nodes.push(groups.get(group));
    }
    groups.get(group).append(option);
  }
  return nodes;
}

export function tick(text, describe, change) {
  const input = h("input", { type: "checkbox", onchange: () => change(input.checked) });
  return {
    node: h("label", { class: "cw-tick", title: describe }, input, h("span", {}, text)),
    set(on) { input.checked = on; },
    enable(on) { input.disabled = !on; },
  };
}

/** A titled group of the column, with its own reset. */
export function group(title, reset, ...children) {
  const again = reset ? button("Reset", reset, { class: "cw-link", "aria-label": `Reset ${title}` }) : null;
  return h("section", { class: `cw-group cw-${title.toLowerCase()}`, "aria-label": title },
    h("header", { class: "cw-group-head" }, h("h3", {}, title), again), ...children);
}

/** A button that opens a panel beside it; Esc, a click elsewhere or a choice closes it. */
export function menu(text, properties = {}) {
  const panel = h("div", { class: "cw-panel", hidden: true });
  const opener = button(text, () => toggle(panel.hidden), { "aria-expanded": "false", ...properties });
  const outside = (event) => { if (!node.contains(event.composedPath()[0])) toggle(false); };
  function toggle(open) {
    show(panel, open);
    opener.setAttribute("aria-expanded", String(open));
    const listen = open ? "addEventListener" : "removeEventListener";
    document[listen]("pointerdown", outside, true);
  }
  const node = h("div", { class: "cw-menu" }, opener, panel);
  return {
    node, panel, opener, toggle,
    close() { if (panel.hidden) return false; toggle(false); opener.focus(); return true; },
  };
}

/** Type to search many labels; ↑ ↓ move, Enter chooses, Esc closes. */
export function search(name, find, choose) {
  const list = h("ul", { class: "cw-found", role: "listbox", id: fresh("list"), hidden: true, "aria-label": name });
  const input = h("input", {
    type: "text", class: "cw-text cw-search", placeholder: name, "aria-label": name, role: "combobox",
    autocomplete: "off", spellcheck: "false", "aria-controls": list.id, "aria-expanded": "false",
    oninput: () => fill(), onfocus: () => { if (input.value) fill(); }, onblur: () => open(false),
  });
  let found = [], at = 0;
  const open = (on) => { show(list, on); input.setAttribute("aria-expanded", String(on)); };
  const mark = () => [...list.children].forEach((item, i) => {
    item.setAttribute("aria-selected", String(i === at));
    if (i === at) { input.setAttribute("aria-activedescendant", item.id); item.scrollIntoView({ block: "nearest" }); }
  });
  function fill() {
    found = input.value.trim() ? find(input.value.trim()) : [];
    at = 0;
    const rows = found.map((entry) => h("li", {
      role: "option", id: fresh("option"), onpointerdown: (event) => { event.preventDefault(); take(entry); },
    }, entry.text));
    const none = h("li", { class: "cw-muted", role: "presentation" }, "no label has these letters");
    list.replaceChildren(...(rows.length || !input.value.trim() ? rows : [none]));
    open(Boolean(input.value.trim()));
    if (found.length) mark();
  }
  function take(entry) { input.value = ""; open(false); choose(entry.value); }
  input.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      if (!found.length) return;
      at = (at + (event.key === "ArrowDown" ? 1 : found.length - 1)) % found.length;
      mark();
    } else if (event.key === "Enter" && found.length) take(found[at]);
    else if (event.key === "Escape" && !list.hidden) { open(false); event.stopPropagation(); }
    else return;
    event.preventDefault();
  });
  return { node: h("div", { class: "cw-searchbox" }, input, list), input, size: (n) => { input.placeholder = `search all ${n} classes`; } };
}
