"""Results as aligned text, Markdown or CSV."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

Row = dict[str, str]


def text(rows: Sequence[Row], markdown: bool = False) -> str:
    """Rows (all with the same keys) as a table; the keys are its head."""
    if not rows:
        return "(nothing)"
    heads = list(rows[0])
    cells = [heads, *([row[head] for head in heads] for row in rows)]
    if markdown:
        lines = ["| " + " | ".join(line) + " |" for line in cells]
        return "\n".join([lines[0], "|" + " --- |" * len(heads), *lines[1:]])
    widths = [max(len(line[i]) for line in cells) for i in range(len(heads))]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in cells)


def write_csv(rows: Sequence[Row], path: str | Path) -> Path:
    """Write rows (all with the same keys) to `path`, replacing it."""
    path = Path(path).expanduser()
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path
