"""A run: what a training left in its folder, read back. Nothing here trains, and nothing read can run code.

run.json                 what was trained on what, with which settings, how far it came
metrics.csv              a row an epoch: epoch, seconds, the parts of the loss, measurements
last.pt                  all that is needed to go on (`train` reads it)
weights/epoch_003.safetensors
watch/pictures.npz       the watched pictures: ids, pictures (n×H×W×3), present (n×C), masks (n×H×W, 255 unknown)
watch/epoch_003.npz      their maps after that epoch (0 = before training): "current" …, n×C×h×w float16
accumulated/             cumulative maps, where the objective keeps some
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from ..classifiers import Classifier, wrap
from ..classifiers.preprocessing import Preprocessing
from ..classifiers.states import adapt, read_state
from ..errors import unknown
from ..files import MOST_TEXT, read_arrays, read_json
from .labelled import UNKNOWN
from .netspec import rebuilt
from .objective import MEAN, STD

if TYPE_CHECKING:
    from pandas import DataFrame

SCHEMA = 1
STATUSES = ("running", "done", "stopped", "failed")
MOST_SIDE = 8192  # pixels
MOST_CLASSES = 100_000
_EPOCH = re.compile(r"epoch_(\d{3,9})\.safetensors")


@dataclass(frozen=True)
class Run:
    """A training that is going on or over. `open_run(folder)` reads it; ask again for what has happened since.

    Attributes:
        folder: where it lies. kind: the objective's name. classes: their names. size: (H, W) of the pictures.
        status: "running" (or killed), "done", "stopped" (by its user), "failed".
        epochs_done: whole epochs trained.
        about: run.json as it stands: data, net, objective, settings, seed, versions, seconds, reason.
        watched: ids of the pictures whose maps were kept.
    """

    folder: Path
    kind: str
    classes: tuple[str, ...]
    size: tuple[int, int]
    status: str
    epochs_done: int
    about: dict[str, Any] = field(repr=False)
    watched: list[str] = field(repr=False)
    _pictures: dict[str, NDArray[Any]] = field(repr=False, compare=False)

    @property
    def epochs(self) -> list[int]:
        """The epochs whose network and maps were kept, rising; 0 = before training."""
        found = (_EPOCH.fullmatch(path.name) for path in (self.folder / "weights").glob("epoch_*.safetensors"))
        numbers = sorted(int(one[1]) for one in found if one)
        return [n for n in numbers if n <= self.epochs_done]

    @property
    def hash(self) -> str:
        """16 hexadecimal digits: which run this is, and how far it had come when it was opened."""
        told = (self.kind, self.classes, self.size, self.status, self.epochs_done, sorted(self.about.items()))
        return hashlib.sha256(repr(told).encode()).hexdigest()[:16]

    def metrics(self) -> DataFrame:
        """A row an epoch: "epoch", "seconds", parts of the loss, measurements; empty before the first epoch's end."""
        import pandas

        path = self.folder / "metrics.csv"
        if not path.is_file():
            return pandas.DataFrame({"epoch": [], "seconds": []})
        try:
            if path.stat().st_size > MOST_TEXT:
                raise ValueError(f"it has more than {MOST_TEXT >> 20} MiB")
            frame = pandas.read_csv(path)
            frame = frame.astype({"epoch": int}).astype({"seconds": float})
        except (ValueError, KeyError, UnicodeError) as error:
            raise ValueError(f"{str(path)!r} is damaged: {error}") from error
        return frame[frame["epoch"] <= self.epochs_done].reset_index(drop=True)

    def picture(self, id: str) -> NDArray[np.uint8]:
        """A watched picture, H×W×3 uint8."""
        found: NDArray[np.uint8] = self._pictures["pictures"][self._place(id)]
        return found

    def present(self, id: str) -> list[int]:
        """The indices of the classes in a watched picture."""
        return [int(c) for c in np.flatnonzero(self._pictures["present"][self._place(id)])]

    def mask(self, id: str) -> NDArray[np.uint8] | None:
        """H×W uint8: 0 background, c + 1 class c, 255 unknown; None where the data had no mask."""
        if "masks" not in self._pictures:
            return None
        found: NDArray[np.uint8] = self._pictures["masks"][self._place(id)]
        return None if (found == UNKNOWN).all() else found

    def layers(self, epoch: int) -> list[str]:
        """The names of the maps kept at an epoch: "current", and "cumulative", "dropped" … where there are."""
        return sorted(self._arrays(epoch))

    def stack(self, epoch: int) -> dict[str, NDArray[Any]]:
        """All maps kept at an epoch by their names, from one reading: pictures as in `watched` × C × h × w, float16."""
        return self._arrays(epoch)

    def maps(self, epoch: int, id: str, which: str = "current") -> NDArray[np.float32] | None:
        """The maps of a watched picture after an epoch (0 = before training), C×h×w; None if there are none so called.

        Raises:
            ValueError: an epoch or a picture that was not kept, a damaged file.
        """
        place = self._place(id)
        found = self._arrays(epoch, (which,)).get(which)
        return None if found is None else found[place].astype(np.float32)

    def net(self, epoch: int | None = None, module: nn.Module | None = None) -> nn.Module:
        """The network as it was after an epoch (None = the last), on the CPU, in evaluation mode.

        Args:
            module: is filled with the weights and returned; needed where the kit cannot build the network by itself.
        Raises:
            ValueError: an epoch that was not kept, weights of another network, a network that the kit cannot build.
        """
        epoch = self.epochs_done if epoch is None else epoch
        path = self.folder / "weights" / f"epoch_{epoch:03d}.safetensors"
        if not path.is_file():
            kept = sorted(int(p.stem[6:]) for p in path.parent.glob("epoch_*.safetensors") if p.stem[6:].isdecimal())
            raise ValueError(f"no weights were kept for epoch {epoch!r}; valid: {', '.join(map(str, kept)) or 'none'}")
        state = read_state(path)
        if module is None:
            return rebuilt(self.about["net"], state, str(self.folder))
        module.load_state_dict(adapt(state, module, type(module).__name__))
        return module.eval()

    def classifier(self, epoch: int | None = None, module: nn.Module | None = None) -> Classifier:
        """The network as it was after an epoch, ready for `explain`, `decompose` and the explorers."""
        net = self.net(epoch, module)
        preprocessing = Preprocessing(self.size, min(self.size), "squash", (MEAN,) * 3, (STD,) * 3)
        when = self.epochs_done if epoch is None else epoch
        return wrap(net, preprocessing, self.classes, name=f"{self.kind}, epoch {when}", input_size=self.size)

    def _place(self, id: str) -> int:
        if id not in self.watched:
            raise unknown("watched picture", id, self.watched)
        return self.watched.index(id)

    def _arrays(self, epoch: int, names: tuple[str, ...] | None = None) -> dict[str, NDArray[Any]]:
        if isinstance(epoch, bool) or not isinstance(epoch, int) or epoch not in self.epochs:
            kept = ", ".join(map(str, self.epochs)) or "none"
            raise ValueError(f"no maps were kept for epoch {epoch!r}; valid: {kept}")
        path = self.folder / "watch" / f"epoch_{epoch:03d}.npz"
        if not path.is_file():
            return {}  # an objective without maps
        arrays = read_arrays(path, names)
        for name, array in arrays.items():
            whose, sides = (len(self.watched), len(self.classes)), array.shape[2:]
            if array.ndim != 4 or array.shape[:2] != whose or 0 in sides or array.dtype.kind != "f":
                raise ValueError(
                    f"{str(path)!r} is damaged: {name!r} is {array.dtype} of shape {array.shape}, not maps of "
                    f"{len(self.watched)} pictures × {len(self.classes)} classes"
                )
        return arrays


def open_run(folder: str | Path) -> Run:
    """The run that a training left (or is leaving) in a folder.

    Raises:
        FileNotFoundError: no such folder, or no run in it.
        ValueError: a damaged run, or one of a newer version.
    """
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {str(folder)!r}")
    path = folder / "run.json"
    if not path.is_file():
        raise FileNotFoundError(f"{str(folder)!r} holds no run: it has no run.json")
    about = read_json(path)
    _check(about, path)
    data = about["data"]
    classes, size = tuple(data["classes"]), (data["size"][0], data["size"][1])
    pictures = _watched(folder, classes, size)
    ids = [str(one) for one in pictures["ids"]] if pictures else []
    return Run(folder, about["kind"], classes, size, about["status"], about["epochs_done"], about, ids, pictures)


def _check(about: dict[str, Any], path: Path) -> None:
    """Every value of run.json that is used has its type and lies in its range."""
    if isinstance(about.get("schema"), int) and about["schema"] > SCHEMA:
        raise ValueError(
            f"{str(path)!r} was written by a newer version (schema {about['schema']}; this one reads {SCHEMA}): "
            f"update camwidgets"
        )
    raw = about.get("data")
    data: dict[str, Any] = raw if isinstance(raw, dict) else {}
    classes, size, done = data.get("classes"), data.get("size"), about.get("epochs_done")
    tests = {
        "schema": about.get("schema") == SCHEMA,
        "kind": isinstance(about.get("kind"), str),
        "status": about.get("status") in STATUSES,
        "epochs_done": isinstance(done, int) and not isinstance(done, bool) and done >= 0,
        "net": isinstance(about.get("net"), dict),
        "settings": isinstance(about.get("settings"), dict),
        "data.classes": isinstance(classes, list) and 0 < len(classes) <= MOST_CLASSES
        and all(isinstance(name, str) for name in classes),
        "data.size": isinstance(size, list) and len(size) == 2
        and all(isinstance(side, int) and 0 < side <= MOST_SIDE for side in size),
    }  # fmt: skip
    for name, good in tests.items():
        if not good:
            raise ValueError(f"{str(path)!r} is damaged: {name!r} is missing or not what it should be")


def watched_ids(folder: Path) -> list[str]:
    """The ids of the pictures that a run watches.

    Raises:
        FileNotFoundError, ValueError: the file that says so is not there, or damaged.
    """
    path = folder / "watch" / "pictures.npz"
    return _names(read_arrays(path, ("ids",)), path)


def _names(arrays: dict[str, NDArray[Any]], path: Path) -> list[str]:
    ids = arrays.get("ids")
    if ids is None or ids.ndim != 1 or ids.dtype.kind != "U":
        raise ValueError(f"{str(path)!r} is damaged: 'ids' is missing or no list of names")
    return [str(one) for one in ids]


def _watched(folder: Path, classes: tuple[str, ...], size: tuple[int, int]) -> dict[str, NDArray[Any]]:
    path = folder / "watch" / "pictures.npz"
    if not path.is_file():
        return {}
    found = read_arrays(path)
    ids = _names(found, path)
    n = len(ids)
    if len(set(ids)) < n:
        raise ValueError(f"{str(path)!r} is damaged: an id is there twice")
    shapes = {"pictures": (n, *size, 3), "present": (n, len(classes)), "masks": (n, *size)}
    for name, shape in shapes.items():
        if name == "masks" and name not in found:
            continue
        dtype = np.dtype(bool if name == "present" else np.uint8)
        if name not in found or found[name].shape != shape or found[name].dtype != dtype:
            raise ValueError(f"{str(path)!r} is damaged: {name!r} is missing or not of shape {shape} and type {dtype}")
    return found
