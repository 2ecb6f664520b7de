// From a map in [0, 1] to pixels: colour, blend, thumbnails, contour. Pure where it can be.

/** Traits come as DataView from Jupyter, as ArrayBuffer or Uint8Array elsewhere: always a Uint8Array. */
export function bytesOf(value) {
  if (!value) return new Uint8Array(0);
  if (value instanceof ArrayBuffer) return new Uint8Array(value);
  return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
}

/** A copy, because a view at an odd offset cannot be read as float32. */
export function floatsOf(value) {
  return new Float32Array(bytesOf(value).slice().buffer);
}

/** colour = T[round(255 v)]. Even: (1 − o)·p + o·colour. By value: the opacity is o·v at each pixel. */
export function blend(out, picture, map, table, opacity, byValue) {
  for (let i = 0, p = 0, q = 0; i < map.length; i++, p += 3, q += 4) {
    const v = map[i], k = 3 * ((255 * v + 0.5) | 0), a = byValue ? opacity * v : opacity, b = 1 - a;
    out[q] = b * picture[p] + a * table[k];
    out[q + 1] = b * picture[p + 1] + a * table[k + 1];
    out[q + 2] = b * picture[p + 2] + a * table[k + 2];
    out[q + 3] = 255;
  }
  return out;
}

export function drawBlend(canvas, picture, width, height, map, table, opacity, byValue) {
  const context = sized(canvas, width, height).getContext("2d", { willReadFrequently: true });
  if (!canvas.cwPixels || canvas.cwPixels.width !== width || canvas.cwPixels.height !== height) {
    canvas.cwPixels = context.createImageData(width, height);
  }
  blend(canvas.cwPixels.data, picture, map, table, opacity, byValue);
  context.putImageData(canvas.cwPixels, 0, 0);
}

/** A raw h×w map in its own pixels, divided by its maximum; CSS enlarges it. */
export function drawThumbnail(canvas, map, width, height, table) {
  const context = sized(canvas, width, height).getContext("2d");
  const pixels = context.createImageData(width, height);
  let most = 0;
  for (let i = 0; i < map.length; i++) if (map[i] > most) most = map[i];
  const gain = most > 0 ? 255 / most : 0;
  for (let i = 0; i < map.length; i++) {
    const k = 3 * Math.round(Math.max(0, map[i]) * gain);
    pixels.data[4 * i] = table[k];
    pixels.data[4 * i + 1] = table[k + 1];
    pixels.data[4 * i + 2] = table[k + 2];
    pixels.data[4 * i + 3] = 255;
  }
  context.putImageData(pixels, 0, 0);
}

export function drawTable(canvas, table) {
  const context = sized(canvas, 256, 1).getContext("2d");
  const pixels = context.createImageData(256, 1);
  for (let i = 0; i < 256; i++) {
    pixels.data.set([table[3 * i], table[3 * i + 1], table[3 * i + 2], 255], 4 * i);
  }
  context.putImageData(pixels, 0, 0);
}

function sized(canvas, width, height) {
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
  return canvas;
}

// Marching squares: for each of the 16 corner patterns, the edges (0 top, 1 right, 2 bottom, 3 left) joined.
const EDGES = [
  [], [3, 2], [2, 1], [3, 1], [0, 1], [0, 3, 2, 1], [0, 2], [0, 3],
  [0, 3], [0, 2], [0, 1, 3, 2], [0, 1], [3, 1], [2, 1], [3, 2], [],
];

/** The line where the map crosses `level`: flat array of segments x0 y0 x1 y1 in map pixels. */
export function contour(map, H, W, level) {
  const out = [], wide = W + 2, framed = new Float32Array(wide * (H + 2)).fill(-1); // a frame of −1 closes the line
  for (let y = 0; y < H; y++) framed.set(map.subarray(y * W, (y + 1) * W), (y + 1) * wide + 1);
  for (let y = -1; y < H; y++) {
    let at = (y + 1) * wide, left = (framed[at] >= level) * 8 + (framed[at + wide] >= level);
    for (let x = -1; x < W; x++, at++) {
      const right = (framed[at + 1] >= level) * 4 + (framed[at + 1 + wide] >= level) * 2, kind = left + right;
      left = (right & 4) * 2 + (right & 2) / 2;
      if (kind === 0 || kind === 15) continue;
      const a = framed[at], b = framed[at + 1], c = framed[at + 1 + wide], d = framed[at + wide];
      for (const edge of EDGES[kind]) crossing(out, edge, x, y, a, b, c, d, level);
    }
  }
  return out;
}

function crossing(out, edge, x, y, a, b, c, d, level) {
  const t = (from, to) => (from < 0 || to < 0 ? 0.5 : (level - from) / (to - from));
  if (edge === 0) out.push(x + 0.5 + t(a, b), y + 0.5);
  else if (edge === 1) out.push(x + 1.5, y + 0.5 + t(b, c));
  else if (edge === 2) out.push(x + 0.5 + t(d, c), y + 1.5);
  else out.push(x + 0.5, y + 0.5 + t(a, d));
}

/** Light line on a dark halo: readable on every colour table. */
export function strokeTwice(context, width, path) {
  for (const [colour, extra] of [["rgba(0, 0, 0, 0.72)", 2], ["#ffffff", 0]]) {
    context.strokeStyle = colour;
    context.lineWidth = width + extra;
    context.beginPath();
    path(context);
    context.stroke();
  }
}

export function drawMarks(context, scale, marks) {
  context.lineJoin = "round";
  if (marks.contour) {
    const s = marks.contour;
    strokeTwice(context, 1.25, (c) => {
      for (let i = 0; i < s.length; i += 4) {
        c.moveTo(s[i] * scale, s[i + 1] * scale);
        c.lineTo(s[i + 2] * scale, s[i + 3] * scale);
      }
    });
  }
  if (marks.box) {
    const b = marks.box;
    context.setLineDash([8, 4]);
    strokeTwice(context, 1.75, (c) => c.rect(b.x0 * scale, b.y0 * scale, (b.x1 - b.x0) * scale, (b.y1 - b.y0) * scale));
    context.setLineDash([]);
  }
  if (marks.point) drawCross(context, (marks.point.x + 0.5) * scale, (marks.point.y + 0.5) * scale);
}

function drawCross(context, x, y) {
  strokeTwice(context, 1.25, (c) => {
    for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      c.moveTo(x + 4 * dx, y + 4 * dy);
      c.lineTo(x + 10 * dx, y + 10 * dy);
    }
  });
}
