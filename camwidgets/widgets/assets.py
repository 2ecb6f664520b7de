"""The front end as one text: the small modules of ``camwidgets/frontend`` joined in order of need.

There is no bundler: each part is a plain ES module, and joining them means dropping the ``import`` lines
that name a sibling and the word ``export`` before a declaration. What is left of ``export default`` in
the last part makes the result an ES module again.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

PARTS = (
    "fusion.js",
    "painting.js",
    "controls.js",
    "picture.js",
    "stages.js",
    "column.js",
    "actions.js",
    "link.js",
    "shell.js",
    "view.js",
    "explorer.js",
)

COMPARISON = (
    "fusion.js",
    "painting.js",
    "controls.js",
    "picture.js",
    "stages.js",
    "column.js",
    "actions.js",
    "link.js",
    "shell.js",
    "comparison_region.js",
    "comparison_paint.js",
    "comparison_curves.js",
    "comparison_cells.js",
    "comparison_column.js",
    "comparison.js",
)

BENCHMARK = (
    "controls.js",
    "painting.js",
    "picture.js",
    "actions.js",
    "link.js",
    "shell.js",
    "benchmark_table.js",
    "benchmark_marks.js",
    "benchmark_curve.js",
    "benchmark_figure.js",
    "benchmark_runs.js",
    "benchmark_column.js",
    "benchmark.js",
)

FAILURES = (
    "controls.js",
    "painting.js",
    "picture.js",
    "actions.js",
    "link.js",
    "shell.js",
    "failure_gallery.js",
    "failure_brush.js",
    "failure_case.js",
    "failure_blame.js",
    "failure_trees.js",
    "failure.js",
)

ADVERSARIAL = (
    "fusion.js",
    "painting.js",
    "controls.js",
    "picture.js",
    "stages.js",
    "column.js",
    "actions.js",
    "link.js",
    "shell.js",
    "adversarial_bar.js",
    "adversarial_pictures.js",
    "adversarial_curves.js",
    "adversarial_tree.js",
    "adversarial_column.js",
    "adversarial.js",
)

PLAYBACK = (
    "fusion.js",
    "controls.js",
    "painting.js",
    "picture.js",
    "actions.js",
    "link.js",
    "shell.js",
    "playback_reel.js",
    "playback_cells.js",
    "playback_bar.js",
    "playback_plot.js",
    "playback_tree.js",
    "playback_column.js",
    "playback.js",
)

_IMPORT = re.compile(r'^import \{[^}]*\} from "\./[\w.]+";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function|const|class)\b)", re.MULTILINE)


def part(name: str) -> str:
    """The text of one file of the front end."""
    return (files("camwidgets") / "frontend" / name).read_text(encoding="utf-8")


@cache
def esm(parts: tuple[str, ...] = PARTS) -> str:
    """One ES module whose default export is ``{render}``, as anywidget expects it."""
    return "\n".join(_EXPORT.sub("", _IMPORT.sub("", part(name))) for name in parts)


@cache
def css() -> str:
    """The style sheet of the explorer; only JupyterLab's variables, each with a fallback."""
    return part("explorer.css")
