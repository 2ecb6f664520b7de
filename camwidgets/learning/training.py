"""`train`: one loop for every objective of this room.

Why plain torch and not Lightning: what is asked for here (the same weights bit for bit after a kill in the middle of
an epoch, objectives with files of their own that are rolled back, a step that Ctrl-C cannot tear) would each need a way
around a trainer's own loop, and what a trainer gives (many machines, loggers) is not needed. The loop itself is
`Loop._train` and `Loop._step` in `loop.py`: forty lines.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from ..classifiers.guards import every_module
from ..datasets.checks import check_integer
from ..errors import choose, unknown
from ..files import write_arrays
from .checkpoint import RunFolder, TrainingStopped
from .feed import Feed
from .labelled import UNKNOWN
from .loop import Callers, Loop, Settings, Told
from .netspec import spec_of
from .objective import Objective
from .run import Run, open_run, watched_ids
from .steps import logits_of

if TYPE_CHECKING:
    from .labelled import Example, Labelled

__all__ = ["TrainingStopped", "train"]

SCHEDULES = ("onecycle", "constant")
PRECISIONS = ("float32", "bf16")
Progress = Callable[[int, int], Any]  # (steps done, steps in all)


def train(
    net: nn.Module, data: Labelled, objective: Objective, folder: str | Path, *, epochs: int, batch: int = 32,
    rate: float = 1e-3, decay: float = 2e-4, schedule: str = "onecycle", seed: int = 0,
    validation: Labelled | None = None, watch: int | Sequence[str] = 6,
    measure: Callable[[nn.Module, int, Any], Told] | None = None, patience: int | None = None, device: str = "auto",
    precision: str = "float32", workers: int = 0, augment: bool = True, progress: bool | Progress | None = True,
    cancelled: Callable[[], bool] | None = None, after_epoch: Callable[[Told], Any] | None = None, resume: bool = True,
) -> Run:  # fmt: skip
    """Train a network, in place, and leave a run folder that can be looked at and gone on with.

    Weights are moved by AdamW (Loshchilov & Hutter, 2019). The order of pictures, their augmentation and every other
    chance are functions of (seed, epoch, step): on a CPU a training that was killed at any moment and is called
    again with the same arguments ends in the same weights, bit for bit, as one that was not (with the same number of
    threads; of another one there is a warning).

    Args:
        net: takes B×3×H×W pictures, (pixel/255 − 0.5)/0.25. It is left on its device and in its training mode.
        data: from `open_labelled`. objective: what is minimised. folder: of this run alone; made if it is not there.
        epochs, batch, rate (0 … 1, the highest), decay (≥ 0): as usual. seed: ≥ 0.
        schedule: "onecycle" (up over a fifth of the steps, then down) or "constant" (epochs may be added later).
        validation: pictures that are judged after each epoch ("val_loss", "val_top1").
        watch: how many pictures, or which ids, have their maps kept after each epoch, for playback.
        measure: (net, epoch, objective) → numbers for the table, after each epoch, net in evaluation mode.
        patience: stop after so many epochs without a lower val_loss.
        device: "auto" (CUDA if there is one, else the CPU) or a torch device.
        precision: "float32", or "bf16" (autocast; weights and optimiser stay float32).
        workers: processes that open pictures; what is trained does not depend on it.
        augment: mirror, shift and relight the pictures (masks and maps follow, see `Batch.view`).
        progress: True draws a bar with the time left, a function gets (steps done, steps in all), None is silent.
        cancelled: asked before each step; True stops there. Ctrl-C does the same: nothing is lost, `resume` goes on.
        after_epoch: gets each new row of the table.
        resume: go on with a run that lies in the folder: the weights of its checkpoint take the place of the net's own,
            whatever those are. False refuses a folder that holds one.
    Returns:
        The `Run`; `.status` is "done", or "stopped" if somebody asked for it.
    Raises:
        ValueError, TypeError: settings out of range, data that the objective cannot learn from, a folder that holds a
            run of another net, data set, objective or of other settings. All before anything long runs.
        TrainingStopped: a loss that is not finite (the sentence names epoch, step and pictures), or a checkpoint that
            cannot be written. The last checkpoint is whole; after a bad loss the net is what it says.

    Example:
        >>> import tempfile
        >>> from camwidgets.classifiers.toynet import ToyNet
        >>> from camwidgets.learning.gain import GainObjective
        >>> from camwidgets.learning.labelled import open_labelled
        >>> data = open_labelled("toyworld", n=8, objects=(1, 3)).painted()
        >>> folder = tempfile.mkdtemp()
        >>> run = train(ToyNet(), data, GainObjective("features.relu5_2"), folder, epochs=1, batch=4, progress=None)
        >>> run.status, run.epochs, list(run.metrics().columns)[:3]
        ('done', [0, 1], ['epoch', 'seconds', 'total'])
    """
    folder = Path(folder).expanduser()
    settings = Settings(epochs, batch, rate, decay, schedule, augment, precision, patience, workers, device)
    _check_settings(settings, seed, validation)
    _check_net(net, data)
    _check_validation(data, validation)
    objective.check(data)
    getattr(objective, "check_net", _any_net)(net, data.size)
    if patience is not None and not getattr(objective, "has_val_loss", True):
        raise ValueError(f"patience waits for a lower val_loss, and {objective.name} has none: train without patience")
    home, where = next(net.parameters()).device, _device(device, precision)
    examples = _watched(data, watch)
    flags = [(part, part.training) for part in every_module(net)]
    feed = Feed(data, batch, seed, workers=workers, augment=augment)
    with RunFolder(folder, _identity(net, data, objective, settings, seed, validation)) as files:
        if not resume and ((folder / "run.json").exists() or files.begun):
            raise ValueError(f"{str(folder)!r} holds a run already: name another folder, or go on with resume=True")
        try:
            net.to(where)
            with _bar(progress, epochs * feed.steps) as moving:
                callers = Callers(measure, after_epoch, moving, cancelled or (lambda: False))
                loop = Loop(net, feed, objective, files, settings, callers, examples, validation)
                chosen = watched_ids(folder) if files.begun else []  # first: if it is damaged, the net is as it was
                if loop.resume():
                    loop.watched = _watched(data, chosen)
                    if where.type == "cpu":
                        files.warn_of_threads()
                else:
                    getattr(objective, "check_new", _nothing)()
                    write_arrays(folder / "watch" / "pictures.npz", _pictures(examples, data))
                loop.run()
        finally:
            net.to(home)
            for part, flag in flags:
                part.training = flag
    return open_run(folder)


def _check_settings(settings: Settings, seed: int, validation: Labelled | None) -> None:
    for name, value in (("epochs", settings.epochs), ("batch", settings.batch)):
        check_integer(name, value, 1)
    for name, value in (("seed", seed), ("workers", settings.workers)):
        check_integer(name, value, 0)
    for name, number, most in (("rate", settings.rate, 1.0), ("decay", settings.decay, math.inf)):
        if isinstance(number, bool) or not isinstance(number, (int, float)):
            raise TypeError(f"{name} is a number, not {type(number).__name__}")
        if not 0 <= number <= most or math.isinf(number) or (name == "rate" and number == 0):
            raise ValueError(f"{name} must lie in {'(0, 1]' if name == 'rate' else '[0, ∞)'}, not be {number}")
    choose("schedule", settings.schedule, SCHEDULES)
    choose("precision", settings.precision, PRECISIONS)
    if settings.patience is not None:
        check_integer("patience", settings.patience, 1)
        if validation is None:
            raise ValueError("patience waits for a lower val_loss: give validation=, pictures to judge by")


def _check_net(net: nn.Module, data: Labelled) -> None:
    """The network has weights to train, and takes these pictures and classes."""
    if not isinstance(net, nn.Module):
        raise TypeError(f"train takes a torch.nn.Module; got {type(net).__name__}")
    if not any(p.requires_grad for p in net.parameters()):
        raise ValueError(f"no parameter of this {type(net).__name__} asks for a gradient: there is nothing to train")
    try:
        out = logits_of(net, data[0].picture)
    except RuntimeError as error:
        raise ValueError(f"this {type(net).__name__} cannot take pictures of {data.size}: {error}") from error
    if out.ndim == 2 and out.shape[1] != len(data.classes):
        raise ValueError(
            f"this {type(net).__name__} answers for {out.shape[1]} classes, and {data.name} has {len(data.classes)}"
        )


def _any_net(net: nn.Module, size: tuple[int, int]) -> None:
    """An objective that asks nothing of the net."""


def _nothing() -> None:
    """An objective that may begin at any time."""


def _check_validation(data: Labelled, validation: Labelled | None) -> None:
    if validation is not None and (validation.classes, validation.size) != (data.classes, data.size):
        raise ValueError(
            f"validation pictures must have the classes and the size of {data.name} ({len(data.classes)} classes, "
            f"{data.size}); {validation.name} has {len(validation.classes)} classes and {validation.size}"
        )
    if validation is not None and validation.multi_label and not data.multi_label:
        raise ValueError(
            f"{data.name} holds exactly one class in each picture, and {validation.name} may hold none or several: "
            "give validation pictures that are labelled as those to learn from"
        )


def _device(name: str, precision: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        first = str(error).strip().split("\n")[0]
        raise ValueError(f"the device {name!r} cannot be used ({first}); valid: auto, cpu, cuda if present") from error
    if precision == "bf16" and device.type == "cuda" and not torch.cuda.is_bf16_supported():
        raise ValueError("this GPU does not compute in bf16; precision='float32' will do")
    return device


def _identity(
    net: nn.Module, data: Labelled, objective: Objective, settings: Settings, seed: int, validation: Labelled | None
) -> dict[str, Any]:
    """What makes this run this run: a checkpoint of another one is refused."""
    own = getattr(objective, "settings", dict)
    judged = None if validation is None else validation.key
    return {
        "net": {**spec_of(net), "trained": _trained(net)},
        "data": {
            "name": data.name, "key": data.key, "classes": list(data.classes), "size": list(data.size), "n": len(data),
            "validation": judged,
        },
        "objective": {"name": objective.name, "settings": own()},
        "settings": {**vars(settings)},
        "seed": seed,
    }  # fmt: skip


def _trained(net: nn.Module) -> str:
    """Which parameters are trained: "all", or how many of how many, and a hash of their names."""
    names = [name for name, one in net.named_parameters() if one.requires_grad]
    count = len(list(net.parameters()))
    digest = hashlib.sha256("\n".join(names).encode()).hexdigest()[:8]
    return "all" if len(names) == count else f"{len(names)} of {count} parameters ({digest})"


def _watched(data: Labelled, watch: int | Sequence[str]) -> list[Example]:
    """The pictures named, or so many of those with a class in them, spread over the data set."""
    ids = data.ids
    if isinstance(watch, (str, bytes)):
        raise TypeError(f"watch is a number of pictures or a list of ids; got the text {watch!r}")
    if not isinstance(watch, int):
        for one in watch:
            if one not in ids:
                raise unknown("picture to watch", one, ids)
        return [data[ids.index(one)] for one in watch]
    check_integer("watch", watch, 0)
    count = min(watch, len(ids))
    return [data[int(place)] for place in np.linspace(0, len(ids) - 1, count).round()]


def _pictures(examples: Sequence[Example], data: Labelled) -> dict[str, Any]:
    height, width = data.size
    none = np.full((height, width), UNKNOWN, np.uint8)
    found = {
        "ids": np.array([one.id for one in examples], dtype=str),
        "pictures": np.array([one.picture.permute(1, 2, 0).numpy() for one in examples], np.uint8).reshape(
            -1, height, width, 3
        ),
        "present": np.array([one.present.numpy() for one in examples], bool).reshape(-1, len(data.classes)),
    }
    if any(one.mask is not None for one in examples):
        found["masks"] = np.array([none if one.mask is None else one.mask.numpy() for one in examples], np.uint8)
    return found


class _Bar:
    """tqdm's bar, with the time left, as a progress function."""

    def __init__(self, total: int) -> None:
        from tqdm.auto import tqdm

        self.bar = tqdm(total=total, unit="step", disable=None)

    def __enter__(self) -> Progress:
        return self._move

    def _move(self, done: int, total: int) -> None:
        if not self.bar.n:
            self.bar.initial = done - 1  # what was done before it was resumed took none of this time
        self.bar.update(done - self.bar.n)

    def __exit__(self, *_: object) -> None:
        self.bar.close()


def _bar(progress: bool | Progress | None, total: int) -> AbstractContextManager[Progress]:
    if progress is True:
        return _Bar(total)
    return nullcontext(progress or (lambda done, total: None))
