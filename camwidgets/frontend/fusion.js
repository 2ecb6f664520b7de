// From raw stage maps to one map in [0, 1]: the same arithmetic as camwidgets/maps/fusion.py.
// Pure functions on Float32Array, row-major; no DOM, no widget model. A test compares both sides.

/** Where each of `N` output pixels reads between `n` inputs: half-pixel centres, clamped at the edge. */
export function sampling(n, N) {
  const low = new Int32Array(N), high = new Int32Array(N), share = new Float64Array(N);
  for (let i = 0; i < N; i++) {
    const at = Math.max(0, ((i + 0.5) * n) / N - 0.5);
    low[i] = Math.min(Math.floor(at), n - 1);
    high[i] = Math.min(low[i] + 1, n - 1);
    share[i] = at - low[i];
  }
  return { low, high, share };
}

/** Bilinear resampling of an h×w map to H×W (torch's `interpolate(..., align_corners=False)`). */
export function upsample(map, h, w, H, W) {
  if (h === H && w === W) return Float32Array.from(map);
  const x = sampling(w, W), y = sampling(h, H);
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

/** `max`: M / max M. `minmax`: (M − min) / (max − min). A flat map gives zeros, never NaN. */
export function normalise(map, how) {
  const { least, most } = extent(map);
  const floor = how === "minmax" ? least : 0;
  const range = how === "minmax" ? most - least : most;
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

/** The scale function, in place; γ acts on tanh only. */
export function rescale(map, scale, gamma) {
  if (scale === "none") return map;
  const curve = CURVES[scale];
  for (let i = 0; i < map.length; i++) map[i] = curve(map[i], gamma);
  return map;
}

/** One stage as it enters the reduction: {map, height, width, scaled} -> H×W values. */
export function layer(stage, H, W, plan) {
  const here = plan.at === "native";
  const first = here ? stage.map : upsample(stage.map, stage.height, stage.width, H, W);
  const values = normalise(first, plan.normalise);
  if (plan.scaled === "all" || stage.shallow) rescale(values, plan.scale, plan.gamma);
  return here ? upsample(values, stage.height, stage.width, H, W) : values;
}

const JOIN = { max: (a, b) => (b > a ? b : a), mean: (a, b) => a + b, product: (a, b) => a * b };

/** Elementwise maximum, mean or product over the stages. */
export function reduce(layers, how) {
  const out = Float64Array.from(layers[0]), join = JOIN[how];
  for (let s = 1; s < layers.length; s++) {
    const other = layers[s];
    for (let i = 0; i < out.length; i++) out[i] = join(out[i], other[i]);
  }
  if (how === "mean") for (let i = 0; i < out.length; i++) out[i] /= layers.length;
  return Float32Array.from(out);
}

/** Last step: an optional min–max, then division by the maximum where tan() left [0, 1]. */
export function finish(map, plan) {
  const out = plan.final === "minmax" ? normalise(map, "minmax") : map;
  const { most } = extent(out);
  if (most > 1) for (let i = 0; i < out.length; i++) out[i] /= most;
  return out;
}

/** The whole fusion of `[{map, height, width, shallow}]` (shallow first) to one H×W map in [0, 1]. */
export function fuse(stages, H, W, plan) {
  return finish(reduce(stages.map((stage) => layer(stage, H, W, plan)), plan.reduce), plan);
}

/** The largest 8-connected part of {map ≥ share · max}: {x0, y0, x1, y1, area}, ends exclusive; null if none. */
export function largestPart(map, H, W, share) {
  const { most } = extent(map);
  if (!(most > 0)) return null;
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
    this.layers = new Map();
    this.joined = { key: "", map: null };
    this.large = { key: "", map: null };
  }

  stage(sign, name) {
    return this.raw[sign] && this.raw[sign][name];
  }

  layer(sign, name, plan) {
    const stage = this.stage(sign, name);
    const scaled = plan.scaled === "all" || stage.shallow;
    const curve = scaled ? plan.scale + (plan.scale === "tanh" ? plan.gamma : "") : "none";
    const key = [sign, plan.normalise, plan.at, curve].join("|");
    const kept = this.layers.get(name);
    if (kept && kept.key === key) return kept.map;
    const map = layer(stage, this.height, this.width, plan);
    this.layers.set(name, { key, map });
    return map;
  }

  /** The fused map of the named stages; the same array comes back while nothing changed. */
  fused(sign, names, plan) {
    const key = [sign, names.join("+"), JSON.stringify(plan)].join("|");
    if (this.joined.key !== key) {
      const layers = names.map((name) => this.layer(sign, name, plan));
      this.joined = { key, map: finish(reduce(layers, plan.reduce), plan) };
    }
    return this.joined;
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

/** Sign-major, then stage by stage: views into one buffer of float32 values. */
function cut(scene, floats) {
  const raw = {};
  let at = 0;
  for (const sign of scene.signs) {
    raw[sign] = {};
    for (const stage of scene.stages) {
      const size = stage.height * stage.width;
      raw[sign][stage.name] = { ...stage, map: floats.subarray(at, at + size) };
      at += size;
    }
  }
  return raw;
}
