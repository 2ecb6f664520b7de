"""What a playback says of its runs, for the front end, and the lines of Python that make a view again."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ...learning.run import Run
from .folders import trains
from .reel import layer_rank

RATES = ("recall", "noise", "precision", "accuracy", "top1", "iou", "inside", "mass", "context")
STATUS = {
    "running": "training (or killed)",  # nobody knows
    "done": "done",
    "stopped": "stopped by its user",
    "failed": "failed",
}


def run_words(run: Run, damaged: Mapping[int, str], shown: Sequence[int], size: int) -> dict[str, Any]:
    """One run: its name, how far it came, which maps and metrics it has, and what cannot be shown."""
    asked = run.about["settings"].get("epochs")
    of = f" of {asked}" if isinstance(asked, int) and asked != run.epochs_done else ""
    epochs = "epoch" if run.epochs_done == 1 and not of else "epochs"
    reason, state, hint = run.about.get("reason"), *_state(run)
    left = len(run.epochs) - len(shown)
    return {
        "name": run.folder.name or run.kind, "kind": run.kind, "folder": str(run.folder), "status": run.status,
        "text": f"{run.kind} · {run.epochs_done}{of} {epochs} · {state}" + (f": {reason}" if reason else ""),
        "hint": hint,
        "epochs": run.epochs, "layers": ["picture", *layers_of(run)], "watched": len(run.watched),
        **metric_words(run), "bytes": size, "left_out": max(0, left),
        "damaged": [f"epoch {epoch}: {text}" for epoch, text in sorted(damaged.items())],
    }  # fmt: skip


def _state(run: Run) -> tuple[str, str]:
    """What the training does, and what can be done about it. A killed one had no time to write that it was."""
    alive = trains(run.folder) if run.status == "running" else None
    if alive is None:
        return STATUS[run.status], ""
    if alive:
        return "training", ""
    return "killed", (
        f"its process ended without a word; the same training with resume goes on after epoch {run.epochs_done}"
    )


def layers_of(run: Run) -> list[str]:
    """The maps that the last readable epoch has."""
    for epoch in reversed(run.epochs):
        try:
            return sorted(run.stack(epoch), key=layer_rank)
        except (ValueError, OSError):
            continue
    return []


def metric_words(run: Run) -> dict[str, Any]:
    """The table of metrics, columns of numbers (None where one is missing), or why it cannot be read."""
    try:
        frame = run.metrics().select_dtypes("number")
    except ValueError as error:
        return {"curves": [], "metrics": {"epoch": []}, "table": str(error)}
    names = [str(name) for name in frame.columns if name not in ("epoch", "seconds")]
    columns = {name: [_number(value) for value in frame[name]] for name in ("epoch", *names)}
    names = [name for name in names if any(value is not None for value in columns[name])]
    return {"curves": names, "metrics": columns, "table": ""}


def _number(value: Any) -> float | int | None:
    found = float(value)
    return None if not math.isfinite(found) else int(found) if found.is_integer() and abs(found) < 1e9 else found


def usual_curves(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """What is drawn at first: rates (recall, noise, accuracy …), or else whatever lies in 0 … 1."""
    names = list(dict.fromkeys(name for run in runs for name in run["curves"]))
    rates = [name for name in names if any(part in name.lower() for part in RATES)]
    if rates:
        return rates[:4]
    values = {name: [v for run in runs for v in run["metrics"].get(name, []) if v is not None] for name in names}
    return [name for name in names if all(0 <= v <= 1 for v in values[name])][:4] or names[:1]


def playback_code(sources: Sequence[str | None], options: Mapping[str, Any]) -> str:
    """Lines that show the same view, and the map beside it as a picture.

    Args:
        sources: the folders. options: those that differ from the usual.
    """
    first, *other = sources
    words = [repr(first), *([f"other={other[0]!r}"] if other else []), *(f"{k}={v!r}" for k, v in options.items())]
    lines = ["import camwidgets", "", "playback = camwidgets.Playback(", *(f"    {word}," for word in words), ")"]
    return "\n".join([*lines, "playback", ""])
