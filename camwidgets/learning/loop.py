"""The loop of a training. Everything that it needs to go on lies in its checkpoint, everything else follows from it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from .checkpoint import RunFolder, TrainingStopped
from .classification import validated
from .feed import END, STEP, Feed, chance_of, still_batches
from .objective import Batch, Objective, normalised
from .steps import checked_losses, gradient_norm, interruptible, on_device, seeded

if TYPE_CHECKING:
    from .labelled import Example, Labelled

Told = dict[str, float]


@dataclass(frozen=True)
class Settings:
    """How a training is done; all of it is on record in run.json."""

    epochs: int
    batch: int
    rate: float
    decay: float
    schedule: str
    augment: bool
    precision: str
    patience: int | None
    workers: int
    device: str


@dataclass(frozen=True)
class Callers:
    """What the caller wants to be asked or told."""

    measure: Callable[[nn.Module, int, Any], Told] | None
    after_epoch: Callable[[Told], Any] | None
    progress: Callable[[int, int], Any]
    cancelled: Callable[[], bool]


def rate_at(step: int, steps: int, settings: Settings) -> float:
    """The learning rate of a step.

    "onecycle" (Smith & Topin, 2018; rates only): over the first fifth of all steps a half cosine from rate/25 up to
    rate, then one down to rate/10⁴. A function of the step alone: there is no state to be lost.
    """
    if settings.schedule == "constant":
        return settings.rate
    top = 0.2 * steps
    start, end, share = (1 / 25, 1.0, step / top) if step < top else (1.0, 1e-4, (step - top) / max(1.0, steps - top))
    return settings.rate * (end + (start - end) * (1 + math.cos(math.pi * share)) / 2)


class Loop:
    """One training: where it stands, and how it goes on.

    Attributes:
        epoch: whole epochs done. step: steps done in the next one. rows: the table of metrics.
        whole: whether what the network, optimiser and objective hold belongs together (false inside a step).
    """

    def __init__(
        self, net: nn.Module, feed: Feed, objective: Objective, folder: RunFolder, settings: Settings, callers: Callers,
        watched: list[Example], validation: Labelled | None,
    ) -> None:  # fmt: skip
        self.net, self.feed, self.objective, self.folder = net, feed, objective, folder
        self.settings, self.callers, self.watched, self.validation = settings, callers, watched, validation
        self.device = next(net.parameters()).device
        trained = [p for p in net.parameters() if p.requires_grad]
        self.optimiser = torch.optim.AdamW(trained, lr=settings.rate, weight_decay=settings.decay)
        self.epoch = self.step = 0
        self.sums: Told = {}
        self.rows: list[Told] = []
        self.seconds, self.whole = 0.0, True

    def run(self) -> None:
        """Train to the end, or until somebody asks to stop; the checkpoint is whole on every way out."""
        try:
            with seeded(self.device), interruptible() as interrupted:
                status, reason = self._train(interrupted)
        except KeyboardInterrupt:
            if not self._restore():
                raise
            status, reason = "stopped", "interrupted"
        except BaseException as error:
            with suppress(OSError, ValueError, TrainingStopped):
                if self._restore():
                    self._describe("failed", str(error) or type(error).__name__)
            raise
        self._describe(status, reason)

    def _train(self, interrupted: Callable[[], bool]) -> tuple[str, str]:
        total = self.settings.epochs * self.feed.steps
        if self.epoch == 0 and self.step == 0:
            self._chance(END, 0)
            self._look(0)
            self._save()
        self._describe("running", "")
        while self.epoch < self.settings.epochs:
            if self._enough():
                return "done", f"val_loss has not fallen for {self.settings.patience} epochs"
            self.net.train()
            for batch in self.feed.epoch(self.epoch + 1, self.step):
                if interrupted() or self.callers.cancelled():
                    self._save()
                    return "stopped", f"asked to stop in epoch {self.epoch + 1}"
                self._step(batch, total)
                self.callers.progress(self.epoch * self.feed.steps + self.step, total)
            self._end_epoch()
        return "done", ""

    # ------------------------------------------------------------------------------------------------- a step

    def _step(self, batch: Batch, total: int) -> None:
        began, self.whole = time.perf_counter(), False
        self._chance(STEP, batch.epoch, batch.step, 1)
        for group in self.optimiser.param_groups:
            group["lr"] = rate_at(batch.step, total, self.settings)
        self.optimiser.zero_grad(set_to_none=True)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.precision == "bf16"):
            losses = self.objective.losses(self.net, on_device(batch, self.device))
        checked_losses(losses, self.objective.name)
        values = {name: float(value.detach()) for name, value in losses.items()}
        self._finite(values, batch)
        losses["total"].backward()
        self._finite({"the gradient": gradient_norm(self.net)}, batch)
        self.optimiser.step()
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + value * len(batch)
        self.step += 1
        self.whole = True
        self.seconds += time.perf_counter() - began

    def _finite(self, values: Told, batch: Batch) -> None:
        for name, value in values.items():
            if not math.isfinite(value):
                ids = ", ".join(batch.ids[:8]) + (", …" if len(batch) > 8 else "")
                raise TrainingStopped(
                    f"{name} is {value} in epoch {batch.epoch}, step {batch.step % self.feed.steps + 1} of "
                    f"{self.feed.steps} (pictures {ids}): what was trained up to the end of epoch {self.epoch} is "
                    f"kept in {str(self.folder.folder)!r}; a lower rate in a folder of its own may do"
                )

    def _chance(self, *what: int) -> None:
        torch.manual_seed(chance_of(self.feed.seed, *what))

    # ------------------------------------------------------------------------------------------- the end of an epoch

    def _end_epoch(self) -> None:
        """The checkpoint comes first: what a measurement raises afterwards costs no training."""
        self._save()
        began, self.whole, epoch = time.perf_counter(), False, self.epoch + 1
        self._chance(END, epoch)
        row: Told = {"epoch": epoch, "seconds": 0.0}
        row |= {name: value / len(self.feed.data) for name, value in self.sums.items()}
        self.net.eval()
        row |= self.objective.end_epoch(self.net, epoch)
        row |= self._validated()
        if self.callers.measure is not None:
            row |= self.callers.measure(self.net, epoch, self.objective)
        self._look(epoch)
        before = sum(one["seconds"] for one in self.rows)
        self.seconds += time.perf_counter() - began
        row["seconds"] = round(self.seconds - before, 3)
        self.rows.append({name: value if name == "epoch" else float(value) for name, value in row.items()})
        self.epoch, self.step, self.sums, self.whole = epoch, 0, {}, True
        self._save()
        self._describe("running", "")
        if self.callers.after_epoch is not None:
            self.callers.after_epoch(dict(self.rows[-1]))

    def _validated(self) -> Told:
        if self.validation is None:
            return {}
        validate = getattr(self.objective, "validate", None) or _validate
        sums: Told = {}
        with torch.no_grad():
            for batch in still_batches(self.validation, self.settings.batch):
                for name, value in validate(self.net, on_device(batch, self.device)).items():
                    sums[f"val_{name}"] = sums.get(f"val_{name}", 0.0) + float(value) * len(batch)
        return {name: value / len(self.validation) for name, value in sums.items()}

    def _enough(self) -> bool:
        """Whether the validation loss has not fallen below its lowest for `patience` epochs."""
        if self.settings.patience is None or not self.rows:
            return False
        if "val_loss" not in self.rows[-1]:
            raise ValueError(f"patience waits for a lower val_loss; validate() of {self.objective.name} has no 'loss'")
        losses = [math.inf if math.isnan(row["val_loss"]) else row["val_loss"] for row in self.rows]
        return len(losses) - 1 - losses.index(min(losses)) >= self.settings.patience

    def _look(self, epoch: int) -> None:
        """Keep the weights and the maps of the watched pictures as they are now."""
        found: dict[str, list[Tensor]] = {}
        self.net.eval()
        for start in range(0, len(self.watched), self.settings.batch):
            some = self.watched[start : start + self.settings.batch]
            x = normalised(torch.stack([one.picture for one in some])).to(self.device)
            present = torch.stack([one.present for one in some]).to(self.device)
            with torch.no_grad():
                maps = self.objective.watch(self.net, x, tuple(one.id for one in some), present)
            for name, one in maps.items():
                if one.ndim != 4 or one.shape[:2] != present.shape:
                    raise ValueError(f"maps {name!r} of {self.objective.name} are {tuple(one.shape)}, not B×C×h×w")
                found.setdefault(name, []).append(one)
        with self._writing("the maps"):
            self.folder.weights(epoch, self.net)
            if found:
                self.folder.maps(epoch, {name: torch.cat(parts) for name, parts in found.items()})

    # -------------------------------------------------------------------------------------------- the checkpoint

    def _save(self) -> None:
        with self._writing("the checkpoint"):
            self.folder.save(
                {
                    "epoch": self.epoch, "step": self.step, "sums": self.sums, "rows": self.rows,
                    "seconds": self.seconds, "net": self.net.state_dict(), "optimiser": self.optimiser.state_dict(),
                    "objective": self.objective.state_dict(),
                }
            )  # fmt: skip

    def resume(self) -> bool:
        """Go back to the checkpoint, if there is one. ValueError, and the net as it was, if it does not fit."""
        state = self.folder.load()
        if state is None:
            return False
        try:
            if _shapes(state["net"]) != _shapes(self.net.state_dict()):
                raise ValueError(f"the checkpoint in {str(self.folder.folder)!r} has weights of another network")
            self.objective.load_state_dict(state["objective"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.net.load_state_dict(state["net"])  # last: if another refuses, the net is as it was
        except (RuntimeError, KeyError, TypeError, AttributeError, IndexError) as error:
            first = str(error).strip().split("\n")[0]
            raise ValueError(
                f"the checkpoint in {str(self.folder.folder)!r} is damaged or of another training "
                f"({type(error).__name__}: {first}); name another folder"
            ) from error
        self.epoch, self.step, self.seconds = state["epoch"], state["step"], state["seconds"]
        self.sums, self.rows = state["sums"], state["rows"]
        self.whole = True
        return True

    def _restore(self) -> bool:
        """After a failure: if a step was broken off, back to the last checkpoint; else keep what was trained.

        False if nothing was begun: the folder then holds no run, and may be used for another one.
        """
        if self.whole and (self.epoch or self.step):
            self._save()
            return True
        return self.resume()

    def _describe(self, status: str, reason: str) -> None:
        with self._writing("the description"):
            self.folder.table(self.rows)
            self.folder.describe(
                {
                    "status": status, "reason": reason, "epochs_done": self.epoch, "steps_done": self.step,
                    "seconds": round(self.seconds, 3),
                }
            )  # fmt: skip

    @contextmanager
    def _writing(self, what: str) -> Iterator[None]:
        try:
            yield
        except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
            if isinstance(error, TrainingStopped):
                raise
            raise TrainingStopped(
                f"{what} could not be written after epoch {self.epoch}, step {self.step} ({error}): the last "
                f"checkpoint in {str(self.folder.folder)!r} is whole; make room and train again to go on from it"
            ) from error


def _validate(net: nn.Module, batch: Batch) -> dict[str, Tensor]:
    """Of an objective that has none of its own: C binary cross-entropies."""
    return validated(net(batch.x), batch.present, "multi-label")


def _shapes(state: dict[str, Any]) -> dict[str, Any]:
    return {name: getattr(one, "shape", None) for name, one in state.items()}
