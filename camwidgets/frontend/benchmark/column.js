// Beside the results: network and data set, methods, tests, how many pictures; and what Run says while it works.
import { h, button, choice, field, group, menu, say, segmented, show, tick } from "../controls.js";
import { copyText } from "../actions.js";
import { number } from "./table.js";
import { plural } from "./runs.js";

export function whatGroup(act) {
  const network = choice("Network", (value) => act.ask({ network: value })), data = choice("Data set", (value) => act.ask({ data: value }));
  const find = () => { if (path.value.trim()) act.ask({ data: path.value.trim() }); };
  const path = h("input", {
    type: "text", class: "cw-text cw-path", placeholder: "path of a folder, CSV or JSON", "aria-label": "Path of a data set", spellcheck: "false",
    onkeydown: (event) => { if (event.key === "Enter") find(); },
  });
  const found = h("p", { class: "cw-found-set" });
  const node = group("What", null, field("Network", network.node), field("Data set", data.node),
    h("div", { class: "cw-field" }, h("span", { class: "cw-name" }), path, button("Find", find)),
    h("div", { class: "cw-field" }, h("span", { class: "cw-name" }), found));
  return {
    node,
    draw(get) {
      network.options(get("_networks") || []);
      network.set(get("network"));
      const none = get("data") ? [] : [{ value: "", text: "choose one, or give a path" }], sets = get("_sets") || [];
      const unlisted = get("data") && !sets.some(({ value }) => value === get("data")) ? [{ value: get("data"), text: get("data") }] : [];
      data.options([...none, ...unlisted, ...sets]);
      data.set(get("data"));
      const set = get("_found") || {};
      say(found, set.text || "No data set yet.");
      found.title = set.name ? `${set.name}: ${set.text}` : "";
    },
  };
}

/** The catalogue: each method plain, enhanced, or both; baselines below. */
export function methodsPart(act) {
  const list = h("div", { class: "cw-list", role: "group", "aria-label": "Methods" }), count = h("span", {}), blind = h("div", { class: "cw-field cw-wrap" });
  const node = group("Methods", null, h("div", { class: "cw-list-head cw-muted" }, count, h("span", {}, "enhanced")), list, blind);
  const toggled = (name, value, on) => act.put({ [name]: on ? [...act.get(name), value] : act.get(name).filter((one) => one !== value) });
  let built = "", ticks = [];
  function build(methods) {
    ticks = methods.map((method) => ({
      method, plain: tick(method.text, method.about, (on) => toggled("methods", method.value, on)),
      enhanced: method.baseline ? null : tick("", `${method.text}, enhanced by a sliding window: many more passes`, (on) => toggled("enhanced", method.value, on)),
    }));
    for (const { method, enhanced } of ticks) if (enhanced) enhanced.node.querySelector("input").setAttribute("aria-label", `${method.text} enhanced`);
    list.replaceChildren(...ticks.filter(({ method }) => !method.baseline).map(({ method, plain, enhanced }) => h("div", { class: "cw-list-row" }, plain.node,
      h("small", { class: "cw-muted", title: method.why }, method.why ? "not for this network" : method.slow ? "many passes" : ""), enhanced.node)));
    blind.replaceChildren(h("span", { class: "cw-name" }, "Baselines"), ...ticks.filter(({ method }) => method.baseline).map(({ plain }) => plain.node));
  }
  return {
    node,
    draw(get) {
      const methods = get("_methods") || [], key = JSON.stringify(methods);
      if (key !== built) { built = key; build(methods); }
      const on = get("methods") || [], more = get("enhanced") || [];
      say(count, `${on.length + more.length} chosen`);
      for (const { method, plain, enhanced } of ticks) {
        for (const [one, chosen] of [[plain, on.includes(method.value)], ...(enhanced ? [[enhanced, more.includes(method.value)]] : [])]) {
          one.set(chosen);
          one.enable(chosen || !method.why);
          one.node.classList.toggle("cw-off", !chosen && Boolean(method.why));
        }
      }
    },
  };
}

/** The tests: formula, direction, what they need; those that the data set cannot serve say why. */
export function testsPart(act) {
  const list = h("div", { class: "cw-list cw-list-tests", role: "group", "aria-label": "Tests" }), count = h("span", {});
  const node = group("Tests", null, h("div", { class: "cw-list-head cw-muted" }, count), list);
  let built = "", rows = [];
  function build(tests) {
    rows = tests.map((test) => {
      const box = tick(test.text, `${test.formula}\n${test.source}`, (on) => act.put({ tests: on ? [...act.get("tests"), test.value] : act.get("tests").filter((one) => one !== test.value) }));
      const inputs = test.parameters.map((one) => ({ one, input: given(test, one) }));
      const labels = inputs.map(({ one, input }) => h("label", { class: "cw-given", title: `${one.about} (${one.valid})` }, one.name, input));
      const results = h("small", { class: "cw-test-results" }, ...test.results.map(({ name, arrow, title }) => h("span", { title }, `${name} ${arrow}`)));
      const about = h("small", { class: "cw-muted cw-test-about", title: `${test.formula} · ${test.source}` }, test.why || test.formula);
      return { test, box, inputs, node: h("div", { class: "cw-list-test", "data-test": test.value }, h("div", { class: "cw-test-head" }, box.node, ...labels), results, about) };
    });
    list.replaceChildren(...rows.map(({ node: row }) => row));
  }
  function given(test, one) {
    const name = `${test.text}: ${one.name}`, tell = (value) => change(test, one, value);
    return typeof one.value === "string" ? wordInput(name, `${one.about}: ${one.valid}`, tell) : numberInput(name, one.about, one.low, tell);
  }
  function change(test, one, value) {
    const all = act.get("parameters") || {}, { [test.value]: had, ...others } = all;
    act.put({ parameters: value === null || value === one.value ? others : { ...others, [test.value]: { ...had, [one.name]: value } } });
  }
  return {
    node,
    draw(get) {
      const tests = get("_tests") || [], key = JSON.stringify(tests), on = get("tests") || [], given = get("parameters") || {};
      if (key !== built) { built = key; build(tests); }
      say(count, `${on.length} of ${tests.length} chosen`);
      for (const { test, box, inputs, node: row } of rows) {
        box.set(on.includes(test.value));
        box.enable(on.includes(test.value) || !test.why);
        row.classList.toggle("cw-unserved", Boolean(test.why));
        for (const { one, input } of inputs) put(input, (given[test.value] || {})[one.name] ?? one.value);
      }
    },
  };
}

function numberInput(name, about, least, change, properties = {}) {
  const input = h("input", {
    type: "number", class: "cw-text cw-number-input", min: least ?? undefined, step: "any", title: about, "aria-label": name, ...properties,
    onchange: () => change(input.value === "" ? null : Number(input.value)),
  });
  return input;
}

function wordInput(name, about, change) {
  const input = h("input", {
    type: "text", class: "cw-text cw-word-input", title: about, "aria-label": name, spellcheck: "false", onchange: () => change(input.value.trim() || null),
  });
  return input;
}

function put(input, value) { if (document.activeElement !== input) input.value = value ?? ""; }

export function howGroup(act) {
  const limit = numberInput("Number of pictures", "so many pictures, drawn by chance and balanced over classes; empty: all", 1, (value) => act.put({ limit: value }), { placeholder: "all", step: 1 });
  const seed = numberInput("Seed", "of what is drawn by chance", 0, (value) => act.put({ seed: value ?? 0 }), { step: 1 });
  const target = segmented("Class that is explained", [
    { value: "label", text: "the label", describe: "the class that the data set names" },
    { value: "predicted", text: "the prediction", describe: "the network's first answer" },
  ], (value) => act.put({ target: value }));
  const fit = segmented("How pictures are fitted", [
    { value: "squash", text: "whole", describe: "the network is shown the whole picture, squashed to its input" },
    { value: "crop", text: "middle", describe: "the network is shown the picture's middle" },
  ], (value) => act.put({ fit: value }));
  const mosaics = numberInput("Number of mosaics", "2×2 mosaics of the pictures of which the network is sure: whose class is meant? Empty: the pictures themselves", 1, (value) => act.put({ mosaics: value }), { placeholder: "none", step: 1 });
  const engine = segmented("Where it runs", [
    { value: "local", text: "here", describe: "in this process" },
    { value: "ray", text: "Ray", describe: "in many processes, on this machine or on a cluster that ray start made" },
  ], (value) => act.put({ engine: value }));
  const workers = numberInput("Number of workers", "processes of Ray", 1, (value) => act.put({ workers: value ?? 2 }), { step: 1 });
  const crew = h("label", { class: "cw-given" }, "workers", workers);
  const keep = () => act.put({ results: file.value.trim() });
  const file = h("input", {
    type: "text", class: "cw-text", placeholder: "none: until the widget is closed", "aria-label": "Results file", spellcheck: "false", onchange: keep,
  });
  const node = group("How", null,
    h("div", { class: "cw-field" }, h("span", { class: "cw-name" }, "Pictures"), limit, h("span", { class: "cw-name cw-second" }, "Seed"), seed),
    h("div", { class: "cw-field" }, h("span", { class: "cw-name" }, "Mosaics"), mosaics, h("span", { class: "cw-name cw-second" }, "Fit"), fit.node),
    h("div", { class: "cw-field" }, h("span", { class: "cw-name" }, "Class"), target.node),
    h("div", { class: "cw-field" }, h("span", { class: "cw-name" }, "Runs"), engine.node, crew), field("Results file", file));
  return {
    node,
    draw(get) {
      put(limit, get("limit"));
      put(seed, get("seed"));
      put(file, get("results"));
      target.set(get("target"));
      fit.set(get("fit"));
      put(mosaics, get("mosaics"));
      engine.set(get("engine"));
      put(workers, get("workers"));
      crew.classList.toggle("cw-unused", get("engine") !== "ray"); // it keeps its room
    },
  };
}

/** Above the results: Run or Cancel, how far it is, how fast, how long still. */
export function runBar(act) {
  const run = button("Run", () => act.send({ kind: "run" }), { class: "cw-button cw-primary cw-run" });
  const cancel = button("Cancel", () => act.send({ kind: "cancel" }), { class: "cw-button cw-cancel" });
  const fill = h("i", {}), track = h("div", { class: "cw-track", role: "progressbar", "aria-label": "Pictures done", "aria-valuemin": "0" }, fill);
  const words = h("div", { class: "cw-run-words", role: "status" }), why = h("div", { class: "cw-run-why" });
  const node = h("div", { class: "cw-run-bar" }, h("div", { class: "cw-run-buttons" }, run, cancel), h("div", { class: "cw-grow" }, track, words, why));
  return {
    node,
    draw(progress, problem, again, plan) {
      const busy = progress.state === "running" || progress.state === "stopping", share = progress.total ? progress.done / progress.total : 0;
      run.disabled = busy || Boolean(problem);
      cancel.disabled = progress.state !== "running";
      say(run, again && !busy ? "Resume" : "Run");
      say(cancel, progress.state === "stopping" ? "Stopping …" : "Cancel");
      fill.style.width = `${100 * share}%`;
      track.setAttribute("aria-valuemax", progress.total || 0);
      track.setAttribute("aria-valuenow", progress.done || 0);
      say(words, progress.state === "idle" && !problem ? `Ready: ${plan}` : far(progress));
      say(why, busy ? "" : problem ? `Cannot run yet: ${problem}.` : "");
      why.title = problem || "";
    },
  };
}

export function duration(seconds) {
  if (seconds < 60) return `${Math.max(1, Math.round(seconds))} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

function speed(rate) { return rate >= 1 ? `${number(rate, 1)} pictures/s` : `${number(60 * rate, 1)} pictures/min`; }

export function far({ state, done, total, rate, left, seconds, text }) {
  const count = `${done} of ${total} pictures`;
  if (state === "running") return text && !done ? text : [count, rate ? speed(rate) : "", left === null || left === undefined ? "" : `${duration(left)} left`].filter(Boolean).join(" · ");
  if (state === "stopping") return `${count} · stopping before the next pass`;
  if (state === "done") return `${plural(total, "picture")} in ${duration(seconds)}`;
  if (state === "cancelled") return `Cancelled: ${count} are kept; the same again goes on with the rest.`;
  if (state === "failed") return `Ended by an error: ${count} are kept.`;
  return "Nothing has run yet.";
}

/** Bottom line: code and files. */
export function benchmarkFoot(act) {
  const made = h("div", { class: "cw-made" });
  const code = menu("Copy code"), text = h("pre", { class: "cw-code", tabindex: "0" }), told = h("span", { class: "cw-muted", role: "status" });
  code.panel.append(h("p", {}, "These lines run the same evaluation. ", told), text);
  code.opener.addEventListener("click", () => copyText(text, told));
  const save = menu("Save"), kinds = [["One row a picture, method and result (CSV)", "csv"], ["Table (text)", "txt"], ["Page with figures (HTML)", "html"]];
  save.panel.append(...kinds.map(([words, kind]) => button(words, () => { save.toggle(false); act.send({ kind: "save", what: kind }); }, { class: "cw-item", "data-kind": kind })));
  const node = h("footer", { class: "cw-foot" }, made, h("div", { class: "cw-pair" }, code.node, save.node));
  return { node, made, code, save, text, allow(on) { save.opener.disabled = !on; } };
}

export function troublesPart() {
  const title = h("summary", {}), list = h("ul", {}), node = h("details", { class: "cw-part cw-troubles", hidden: true }, title, list);
  return {
    node,
    draw(report) {
      const lines = [...report.failed.map(({ method, test, error, count }) => `${method} failed on ${plural(count, "picture")} (${test}): ${error}`),
        ...report.skipped.map(([item, reason]) => `skipped ${item}: ${reason}`)];
      if (report.skips > report.skipped.length) lines.push(`… and ${report.skips - report.skipped.length} more; the saved files name all`);
      show(node, lines.length > 0);
      say(title, [report.skips ? `${plural(report.skips, "picture")} skipped` : "", report.failed.length ? `${plural(report.failed.length, "failure")} of methods` : ""].filter(Boolean).join(", "));
      list.replaceChildren(...lines.map((line) => h("li", {}, line)));
    },
  };
}
