"""The folder that a training writes: its checkpoint, the weights and maps of each epoch, its description and table."""

from __future__ import annotations

import json
import pickle
import platform
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from safetensors.torch import save
from torch import Tensor, nn

from ..files import replaced, sweep, write_arrays, write_json, write_table
from .disk import locked
from .run import SCHEMA

LAST = "last.pt"
PARTS = {
    "epoch": int, "step": int, "seconds": float, "sums": dict, "rows": list, "net": dict, "optimiser": dict,
    "objective": dict,
}  # fmt: skip
FREE = ("workers", "device", "patience", "watch")  # settings that may change when a run is resumed


class TrainingStopped(RuntimeError):
    """A training cannot go on; the sentence says where it was, why, and what is kept."""


class RunFolder:
    """Writes what `open_run` reads. Every file is replaced as a whole; one process at a time.

    Args:
        folder: is made if it is not there.
        identity: what this run is of: net, data, objective, settings, seed; plain values.

    Attributes:
        threads: how many torch computed with when the run began; None if that is not on record.
    """

    def __init__(self, folder: Path, identity: dict[str, Any]) -> None:
        self.folder = folder
        self.identity: dict[str, Any] = json.loads(json.dumps(identity))  # as it will come back
        for part in (folder, folder / "weights", folder / "watch"):
            part.mkdir(parents=True, exist_ok=True)
        self.threads: int | None = torch.get_num_threads()
        self._lock: FileLock | None = None

    def __enter__(self) -> RunFolder:
        try:
            self._lock = locked(self.folder)
        except ValueError as error:
            raise ValueError(
                f"another training is writing to {str(self.folder)!r}: wait until it is over, or name another folder"
            ) from error
        for part in (self.folder, self.folder / "weights", self.folder / "watch"):
            sweep(part)
        return self

    def __exit__(self, *_: object) -> None:
        if self._lock is not None:
            self._lock.release()

    # ---------------------------------------------------------------------------------------- the checkpoint

    @property
    def begun(self) -> bool:
        """Whether there is a checkpoint."""
        return (self.folder / LAST).is_file()

    def save(self, state: dict[str, Any]) -> None:
        """Replace the checkpoint: tensors and plain values."""
        with replaced(self.folder / LAST) as file:
            torch.save({"schema": SCHEMA, "identity": self.identity, "threads": self.threads, **state}, file)

    def load(self) -> dict[str, Any] | None:
        """The checkpoint, if there is one and it is of this run; nothing in it is run.

        Raises:
            ValueError: it cannot be read, or lacks something; or it is of another net, data set, objective or of other
                settings.
        """
        path = self.folder / LAST
        if not self.begun:
            if (self.folder / "run.json").is_file():
                raise ValueError(f"{str(self.folder)!r} holds a run without a checkpoint; name another folder")
            return None
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
            first = str(error).strip().split("\n")[0]
            raise ValueError(f"{str(path)!r} is no readable checkpoint ({first}); name another folder") from error
        if not isinstance(state, dict) or state.get("schema") != SCHEMA or not isinstance(state.get("identity"), dict):
            raise ValueError(f"{str(path)!r} is no checkpoint of this version; name another folder")
        differing = differences(state["identity"], self.identity)
        if differing:
            raise ValueError(
                f"{str(self.folder)!r} holds another run: {'; '.join(differing[:4])}. Name another folder, or train "
                f"as that run was"
            )
        for name, kind in PARTS.items():
            if not isinstance(state.get(name), kind):
                raise ValueError(f"{str(path)!r} is damaged: {name!r} is missing or no {kind.__name__}")
        threads = state.get("threads")
        self.threads = threads if isinstance(threads, int) else None
        return state

    def warn_of_threads(self) -> None:
        """Say so if torch computes with another number of threads than when the run began: it sums in another order."""
        now = torch.get_num_threads()
        if self.threads not in (None, now):
            warnings.warn(
                f"the run in {str(self.folder)!r} began with {self.threads} thread{'s' * (self.threads != 1)} and goes "
                f"on with {now}: its weights may differ in the last digits from those of an unbroken training; "
                f"torch.set_num_threads({self.threads}), or OMP_NUM_THREADS={self.threads}, beforehand avoids that",
                stacklevel=3,
            )

    # -------------------------------------------------------------------------------------- what people look at

    def describe(self, told: Mapping[str, Any]) -> None:
        """run.json: the identity and how far the run has come."""
        versions = {"torch": torch.__version__, "numpy": np.__version__, "python": platform.python_version()}
        threads = {} if self.threads is None else {"threads": self.threads}
        about = {
            "schema": SCHEMA, "kind": self.identity["objective"]["name"], **self.identity, **told,
            "versions": {**versions, **threads},
        }  # fmt: skip
        write_json(self.folder / "run.json", about)

    def table(self, rows: list[dict[str, float]]) -> None:
        """metrics.csv."""
        if rows:
            write_table(self.folder / "metrics.csv", rows)

    def weights(self, epoch: int, net: nn.Module) -> None:
        """weights/epoch_NNN.safetensors."""
        state = {name: tensor.detach().cpu().contiguous() for name, tensor in net.state_dict().items()}
        with replaced(self.folder / "weights" / f"epoch_{epoch:03d}.safetensors") as file:
            file.write(save(_unshared(state)))

    def maps(self, epoch: int, arrays: Mapping[str, Tensor]) -> None:
        """watch/epoch_NNN.npz, float16."""
        most = float(np.finfo(np.float16).max)
        kept = {name: one.detach().float().clamp(-most, most).cpu().numpy() for name, one in arrays.items()}
        halves = {name: one.astype(np.float16) for name, one in kept.items()}
        write_arrays(self.folder / "watch" / f"epoch_{epoch:03d}.npz", halves)


def _unshared(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tied weights each with memory of their own: the format takes no two names for one piece of memory."""
    seen: set[int] = set()
    found = {}
    for name, tensor in state.items():
        found[name] = tensor.clone() if tensor.data_ptr() in seen else tensor
        seen.add(tensor.data_ptr())
    return found


def differences(was: Mapping[str, Any], now: Mapping[str, Any], under: str = "") -> list[str]:
    """Where two identities differ, each in words; settings that may change are left out.

    Example:
        >>> differences({"seed": 1, "net": {"net": "A"}}, {"seed": 2, "net": {"net": "A"}})
        ['seed was 1 and is now 2']
    """
    found = []
    for name in dict.fromkeys([*was, *now]):
        place, old, new = f"{under}{name}", was.get(name), now.get(name)
        if place in {f"settings.{free}" for free in FREE}:
            continue
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            found += differences(old, new, f"{place}.")
        elif old != new and not _longer(place, was, old, new):
            found.append(f"{place} was {_short(old)} and is now {_short(new)}")
    return found


def _longer(place: str, settings: Mapping[str, Any], old: Any, new: Any) -> bool:
    """More epochs may be added where the learning rate does not depend on how many there are."""
    return place == "settings.epochs" and settings.get("schedule") == "constant" and new > old


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"
