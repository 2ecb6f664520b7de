// Where nodes stand: the same rules as camwidgets/figures/layout.py, held equal by a test.

/** tree: {nodes: {id: {stage, children}}, columns, thumb, row, margin, most, width}; opened: Set of ids. */
export function arrange(tree, opened) {
  const children = drawnChildren(tree, opened), rows = new Map();
  let leaf = 0;
  const place = (id) => {
    const below = children.get(id).map(place);
    rows.set(id, below.length ? (below[0] + below[below.length - 1]) / 2 : leaf++);
    return rows.get(id);
  };
  place(0);
  const step = tree.width / tree.columns.length, places = new Map();
  for (const [id, row] of rows) {
    const node = tree.nodes[id];
    places.set(id, {
      id, x: step * (tree.columns.indexOf(node.stage) + 0.5), y: tree.margin + tree.thumb / 2 + row * tree.row,
      folded: children.get(id).length ? 0 : node.children.length,
    });
  }
  const height = 2 * tree.margin + tree.thumb + tree.row * Math.max(...rows.values());
  return { places, height, cut: Math.max(0, reachable(tree, opened) - places.size) };
}

function drawnChildren(tree, opened) {
  const drawn = new Map([[0, []]]), queue = [0];
  while (queue.length) {
    const id = queue.shift(), fresh = tree.nodes[id].children.filter((child) => !drawn.has(child));
    if (!opened.has(id) || !fresh.length || drawn.size + fresh.length > tree.most) continue;
    drawn.set(id, fresh);
    for (const child of fresh) drawn.set(child, []);
    queue.push(...fresh);
  }
  return drawn;
}

function reachable(tree, opened) {
  const seen = new Set([0]), queue = [0];
  while (queue.length) {
    const id = queue.pop();
    if (!opened.has(id)) continue;
    for (const child of tree.nodes[id].children) if (!seen.has(child)) { seen.add(child); queue.push(child); }
  }
  return seen.size;
}
