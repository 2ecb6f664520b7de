
// ---- the saved page: the same front end, with the traits that the page holds in the kernel's place
class PageModel {
  constructor(traits) { this.traits = traits; this.listeners = new Map(); }
  get(name) { return this.traits[name]; }
  set(name, value) {
    if (this.traits[name] === value) return;
    this.traits[name] = value;
    for (const act of this.listeners.get(`change:${name}`) || []) act();
  }
  save_changes() {}
  send() {}
  on(event, act) { this.listeners.set(event, [...(this.listeners.get(event) || []), act]); }
  off(event, act) { this.listeners.set(event, (this.listeners.get(event) || []).filter((other) => other !== act)); }
}

function unpacked(value) {
  return value && value.$bytes !== undefined ? Uint8Array.from(atob(value.$bytes), (letter) => letter.charCodeAt(0)) : value;
}

const held = JSON.parse(document.getElementById("traits").textContent);
const traits = Object.fromEntries(Object.entries(held).map(([name, value]) => [name, unpacked(value)]));
render({ model: new PageModel(traits), el: document.getElementById("explorer") });
