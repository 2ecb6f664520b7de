// From raw stage maps to one map in [0, 1]: the same arithmetic as camwidgets/maps/fusion.py.
// Pure functions on Float32Array, row-major; no DOM, no widget model. A test compares both sides.

/** Where each of `N` output pixels reads between `n` inputs: half-pixel centres clamped at the edge, or corner to corner. */
export function sampling(n, N, corners = false) {
  const low = new Int32Array(N), high = new Int32Array(N), share = new Float64Array(N);
  for (let i = 0; i < N; i++) {
    const at = corners ? (N > 1 ? (i * (n - 1)) / (N - 1) : 0) : Math.max(0, ((i + 0.5) * n) / N - 0.5);
    low[i] = Math.min(Math.floor(at), n - 1);
    high[i] = Math.min(low[i] + 1, n - 1);
    share[i] = at - low[i];
  }
  return { low, high, share };
}

/** Bilinear resampling of an h×w map to H×W (torch's `interpolate(mode="bilinear", align_corners=corners)`). */
export function upsample(map, h, w, H, W, corners = false) {
  if (h === H && w === W) return Float32Array.from(map);
  const x = sampling(w, W, corners), y = sampling(h, H, corners);
  const wide = new Float64Array(h * W), out = new Float32Array(H * W);
  for (let r = 0; r < h; r++) {
    for (let c = 0; c < W; c++) {
      const a = map[r * w + x.low[c]], b = map[r * w + x.high[c]];
      wide[r * W + c] = a + (b - a) * x.share[c];
    }
  }
  for (let r = 0; r < H; r++) {
    const top = y.low[r] * W, bottom = y.high[r] * W, t = y.share[r], to = r * W;
    for (let c = 0; c < W; c++) {
      const a = wide[top + c];
      out[to + c] = a + (wide[bottom + c] - a) * t;
    }
  }
  return out;
}

export function extent(map) {
  let least = Infinity, most = -Infinity;
  for (let i = 0; i < map.length; i++) {
    const v = map[i];
    if (v < least) least = v;
    if (v > most) most = v;
  }
  return { least, most };
}

/** `max`: M / (max M + ε). `minmax`: (M − min) / (max − min + ε). A flat map gives zeros, never NaN. */
export function normalise(map, how, epsilon = 0) {
  const { least, most } = extent(map);
  const floor = how === "minmax" ? least : 0;
  const range = most - floor + epsilon;
  const out = new Float32Array(map.length);
  if (!(range > 0)) return out;
  for (let i = 0; i < map.length; i++) out[i] = (map[i] - floor) / range;
  return out;
}

const CURVES = {
  none: (x) => x,
  tanh: (x, gamma) => Math.tanh(gamma * x),
  cbrt: (x) => Math.cbrt(x),
  tan: (x) => Math.tan(x),
};
const STEPS = 8192; // of the table for smooth curves: within 3e-7 for γ ≤ 10, ten times as fast as Math.tanh

/** The scale function of values in [0, 1], as a new map; γ acts on tanh only. */
export function rescale(map, scale, gamma) {
  const curve = CURVES[scale], out = new Float32Array(map.length);
  if (scale !== "tanh" && scale !== "tan") {
    for (let i = 0; i < map.length; i++) out[i] = curve(map[i]);
    return out;
  }
  const table = new Float64Array(STEPS + 2);
  for (let i = 0; i < table.length; i++) table[i] = curve(i / STEPS, gamma);
  for (let i = 0; i < map.length; i++) {
    const at = map[i] * STEPS, low = at | 0, below = table[low];
    out[i] = below + (table[low + 1] - below) * (at - low);
  }
  return out;
}

/** Whether the scale function acts on a stage, when `count` stages take part. */
export function isScaled(plan, shallow, count) {
  return (plan.scaled === "shallow" && shallow) || (plan.scaled === "all" && count > 1);
}

/** Steps 1 and 2 for one stage {map, height, width}: normalised, at input size or (`at` "native") still at its own. */
export function prepared(stage, H, W, plan) {
  const map = plan.at === "native" ? stage.map : grown(stage.map, stage, H, W, plan);
  return normalise(map, plan.normalise, plan.epsilon);
}

/** Step 3 and what is left of 1: prepared values as they enter the reduction, H×W. */
export function layer(values, stage, H, W, plan, scaled) {
  const curved = scaled && plan.scale !== "none" ? rescale(values, plan.scale, plan.gamma) : values;
  return plan.at === "native" ? grown(curved, stage, H, W, plan) : curved;
}

function grown(map, stage, H, W, plan) {
  return upsample(map, stage.height, stage.width, H, W, plan.align_corners);
}

/** Elementwise maximum, mean or product over the layers, as a new map. */
export function reduce(layers, how) {
  const out = Float32Array.from(layers[0]), size = out.length;
  for (let s = 1; s < layers.length; s++) {
    const other = layers[s];
    if (how === "max") for (let i = 0; i < size; i++) { if (other[i] > out[i]) out[i] = other[i]; }
    else if (how === "mean") for (let i = 0; i < size; i++) out[i] += other[i];
    else for (let i = 0; i < size; i++) out[i] *= other[i];
  }
  if (how === "mean") for (let i = 0; i < size; i++) out[i] /= layers.length;
  return out;
}

/** The gate, in place: fused^body · gate^p, p = plan.gate. */
export function applyGate(fused, gate, plan) {
  for (let i = 0; i < fused.length; i++) fused[i] = fused[i] ** plan.body * gate[i] ** plan.gate;
  return fused;
}

/** Last step: min–max or division by the maximum if the plan asks, and where tan() left [0, 1]. */
export function finish(map, plan) {
  const out = plan.final === "none" ? map : normalise(map, plan.final, plan.epsilon);
  const { most } = extent(out);
  if (most > 1) for (let i = 0; i < out.length; i++) out[i] /= most;
  return out;
}

/** The largest 8-connected part of {map ≥ share · max}: {x0, y0, x1, y1, area}, ends exclusive; null if none. */
export function largestPart(map, H, W, share) {
  const { least, most } = extent(map);
  if (!(most > 0) || most === least) return null;
  const level = share * most, seen = new Uint8Array(H * W), stack = new Int32Array(H * W);
  let best = null;
  for (let start = 0; start < map.length; start++) {
    if (seen[start] || !(map[start] >= level)) continue;
    const part = flood(map, H, W, level, seen, stack, start);
    if (!best || part.area > best.area) best = part;
  }
  return best;
}

function flood(map, H, W, level, seen, stack, start) {
  const part = { x0: W, y0: H, x1: 0, y1: 0, area: 0 };
  let depth = 0;
  stack[depth++] = start;
  seen[start] = 1;
  while (depth) {
    const at = stack[--depth], y = (at / W) | 0, x = at - y * W;
    part.area++;
    if (x < part.x0) part.x0 = x;
    if (y < part.y0) part.y0 = y;
    if (x >= part.x1) part.x1 = x + 1;
    if (y >= part.y1) part.y1 = y + 1;
    for (let j = Math.max(0, y - 1); j <= Math.min(H - 1, y + 1); j++) {
      for (let i = Math.max(0, x - 1); i <= Math.min(W - 1, x + 1); i++) {
        const near = j * W + i;
        if (!seen[near] && map[near] >= level) {
          seen[near] = 1;
          stack[depth++] = near;
        }
      }
    }
  }
  return part;
}

/** Keeps what a switch did not touch: layers per stage, the fused map, its copy at picture size. */
export class Fusion {
  constructor(scene, floats) {
    this.scene = scene;
    this.height = scene.input.height;
    this.width = scene.input.width;
    this.raw = cut(scene, floats);
    this.prepared = new Map();
    this.layers = new Map();
    this.joined = { key: "", map: null };
    this.large = { key: "", map: null };
  }

  /** The raw map of a stage; from the next layer's gradient where the plan asks for it and it differs. */
  stage(sign, name, plan = null) {
    const other = plan && plan.ungridded && this.raw[`${sign}~${name}`];
    return other || this.raw[`${sign} ${name}`];
  }

  /** The stage that gates the others: the deepest one chosen, if the plan has a gate and others are chosen too. */
  gate(names, plan) {
    return plan.gate > 0 && names.length > 1 ? names[names.length - 1] : null;
  }

  /** One chosen stage as it enters the fusion: H×W values. The gate always takes the signed map. */
  layer(sign, name, names, plan) {
    const gates = this.gate(names, plan) === name, from = gates && this.raw[`signed ${name}`] ? "signed" : sign;
    const stage = this.stage(from, name, plan);
    const scaled = !gates && isScaled(plan, stage.shallow, names.length);
    const base = [from, plan.normalise, plan.at, plan.epsilon, plan.align_corners, plan.ungridded].join("|");
    const curve = scaled ? plan.scale + (plan.scale === "tanh" ? plan.gamma : "") : "none";
    const values = kept(this.prepared, name, base, () => prepared(stage, this.height, this.width, plan));
    return kept(this.layers, name, `${base}|${curve}`, () => layer(values, stage, this.height, this.width, plan, scaled));
  }

  /** The fused map of the named stages (shallow first); the same array comes back while nothing changed. */
  fused(sign, names, plan) {
    const key = [sign, names.join("+"), JSON.stringify(plan)].join("|");
    if (this.joined.key !== key) {
      const map = this.join(sign, names, plan);
      this.joined = { key, map, ...extent(map) };
    }
    return this.joined;
  }

  join(sign, names, plan) {
    const gate = this.gate(names, plan);
    const layers = names.filter((name) => name !== gate).map((name) => this.layer(sign, name, names, plan));
    const fused = reduce(layers, plan.reduce);
    return finish(gate ? applyGate(fused, this.layer(sign, gate, names, plan), plan) : fused, plan);
  }

  /** The same map at the picture's own size, for drawing. */
  atPicture(joined) {
    const { height, width } = this.scene.picture;
    if (this.large.key !== joined.key) {
      const same = height === this.height && width === this.width;
      const map = same ? joined.map : upsample(joined.map, this.height, this.width, height, width);
      this.large = { key: joined.key, map };
    }
    return this.large.map;
  }
}

/** The value kept under `name` if it was made with the same key, else a new one. */
function kept(store, name, key, make) {
  const found = store.get(name);
  if (found && found.key === key) return found.value;
  const value = make();
  store.set(name, { key, value });
  return value;
}

/** Views into one buffer of float32 values, in the order of `scene.layout`: [{sign, stage, ungridded}]. */
function cut(scene, floats) {
  const raw = {}, stages = new Map(scene.stages.map((stage) => [stage.name, stage]));
  let at = 0;
  for (const { sign, stage: name, ungridded } of scene.layout) {
    const stage = stages.get(name), size = stage.height * stage.width;
    raw[`${sign}${ungridded ? "~" : " "}${name}`] = { ...stage, map: floats.subarray(at, at + size) };
    at += size;
  }
  return raw;
}
