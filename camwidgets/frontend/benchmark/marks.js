// What the benchmark's figures are drawn with: SVG nodes, and round numbers for their axes.
const SVG = "http://www.w3.org/2000/svg";

export function mark(tag, properties, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(properties)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

/** Round numbers that cover low … high: at most `most` steps of 1, 2 or 5 times a power of ten. */
export function ticks(low, high, most = 6) {
  const span = high - low || Math.abs(high) || 1, rough = span / most, power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((times) => times * power >= rough - 1e-12);
  const from = Math.floor(low / step + 1e-9), to = Math.ceil(high / step - 1e-9);
  return Array.from({ length: Math.max(1, to - from) + 1 }, (_, i) => Number(((from + i) * step).toPrecision(12)));
}
