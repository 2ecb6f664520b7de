// What a playback says of what it has, what it has not, and why.

const epochsOf = (count) => `${count} ${count === 1 ? "epoch" : "epochs"}`;

/** In place of the frames. */
export function emptyWords(run, note) {
  if (!run) return note || "There is no run in this folder yet; it appears here as soon as its training has begun.";
  if (!run.watched) return "This run watched no pictures, so that it kept no maps; train(…, watch=6) keeps those of six. Its curves are below.";
  return "No epoch is there yet. The first maps appear when the training has looked at its pictures.";
}

/** Below the frames: what cannot be shown, what can be done. */
export function warningWords(runs, note) {
  const words = runs.flatMap(({ name, hint, damaged, left_out: left, table }) => [
    ...(hint ? [hint] : []), ...damaged, ...(left ? [`${epochsOf(left)} ${left === 1 ? "is" : "are"} left out: their maps would be too many for a browser.`] : []),
    ...(table ? [table] : []),
  ].map((text) => `${name}: ${text}`));
  return [...words, ...(runs.length && note ? [note] : [])].join(" · ");
}

/** At the foot: what is in the browser. */
export function madeWords(runs, reels, pictures, epochs) {
  const bytes = runs.reduce((sum, one) => sum + one.bytes, 0), here = new Set(reels.map(({ id }) => id)).size;
  if (!bytes) return "";
  const size = bytes < 1e6 ? `${(bytes / 1e3).toFixed(0)} kB` : `${(bytes / 1e6).toFixed(1)} MB`, which = here === pictures.length ? "all" : here;
  return `in the browser: maps of ${which} ${which === 1 ? "picture" : "pictures"}, ${epochsOf(epochs.length)}, ${size} (8 bits a value)`;
}
