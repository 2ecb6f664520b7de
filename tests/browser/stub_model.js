// What a widget's front end sees of its kernel, without a kernel: the same six methods, the same events, in the
// same order. `log` keeps what the front end sent.

export class StubModel {
    constructor(traits) {
        this.traits = traits;
        this.handlers = [];
        this.unsaved = {};
        this.log = { saved: [], sent: [] };
        for (const name of ["get", "set", "save_changes", "send", "on", "off"]) this[name] = this[name].bind(this);
        this.widget_manager = { get_model: async id => { throw new Error(`the stub has no model ${id}`); } };
    }

    get(name) {
        return this.traits[name];
    }

    set(nameOrTraits, value) {
        const wanted = typeof nameOrTraits === "string" ? { [nameOrTraits]: value } : nameOrTraits;
        Object.assign(this.unsaved, this._assign(wanted));
    }

    // As when the kernel changes traits: nothing is left to be saved.
    receive(traits) {
        this._assign(traits);
    }

    _assign(wanted) {
        const changed = Object.entries(wanted).filter(([name, value]) => !same(this.traits[name], value));
        for (const [name, value] of changed) this.traits[name] = value;
        for (const [name, value] of changed) this._trigger(`change:${name}`, this, value, {});
        if (changed.length) this._trigger("change", this, {});
        return Object.fromEntries(changed);
    }

    save_changes() {
        if (Object.keys(this.unsaved).length) this.log.saved.push(this.unsaved);
        this.unsaved = {};
    }

    send(content, callbacks, buffers) {
        this.log.sent.push({ content, buffers: buffers ?? [] });
    }

    on(names, callback) {
        for (const name of names.split(/\s+/)) this.handlers.push({ name, callback });
    }

    off(names, callback) {
        const listed = names?.split(/\s+/);
        this.handlers = this.handlers.filter(handler =>
            (listed && !listed.includes(handler.name)) || (callback && callback !== handler.callback));
    }

    _trigger(name, ...values) {
        for (const handler of this.handlers.filter(each => each.name === name)) handler.callback(...values);
    }
}

function same(a, b) {
    if (a === b) return true;
    if (ArrayBuffer.isView(a) || ArrayBuffer.isView(b)) return false;
    return JSON.stringify(a) === JSON.stringify(b);
}

// Bytes travel between the test and the page as {"$bytes": base64}; a widget gets them as a DataView.

export function revived(value) {
    if (Array.isArray(value)) return value.map(revived);
    if (value === null || typeof value !== "object") return value;
    if ("$bytes" in value) return new DataView(Uint8Array.from(atob(value.$bytes), c => c.charCodeAt(0)).buffer);
    return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, revived(each)]));
}

export function plain(value) {
    if (value instanceof ArrayBuffer) value = new DataView(value);
    if (ArrayBuffer.isView(value)) {
        const bytes = new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
        let text = "";
        for (let i = 0; i < bytes.length; i += 32768) text += String.fromCharCode(...bytes.subarray(i, i + 32768));
        return { $bytes: btoa(text) };
    }
    if (Array.isArray(value)) return value.map(plain);
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, plain(each)]));
}

export async function mount(esm, traits, element) {
    const url = URL.createObjectURL(new Blob([esm], { type: "text/javascript" }));
    const module = await import(url);
    URL.revokeObjectURL(url);
    const widget = typeof module.default === "function" ? await module.default() : module.default;
    const model = new StubModel(revived(traits)), controller = new AbortController(), { signal } = controller;
    const undo = [await widget.initialize?.({ model, signal, experimental: {} })];
    undo.push(await widget.render({ model, el: element, signal, experimental: {} }));
    const destroy = async () => {
        controller.abort();
        for (const each of undo.reverse()) if (typeof each === "function") await each();
        element.replaceChildren();
    };
    return { model, element, destroy };
}
