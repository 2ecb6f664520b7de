"""Which patches of a folder of pictures excite a channel most: an index, built once, kept on disk.

One SQLite file per network and way of looking (named by the hash of weights, modules, precision, input size,
preprocessing and stages: `classifiers.identity.view_hash`) holds, per picture and tap, each channel's largest response
and where it is. Building can be stopped at any moment, killed included, and goes on where it was; a picture that has
changed since is looked at again, one that has gone is forgotten, a broken one is noted and passed over.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from ..classifiers.classifier import Classifier
from ..classifiers.identity import view_hash
from ..classifiers.taps import Tap
from ..evidence import record
from ..images import open_image
from .index_file import cache_folder, opened, prepare

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"})
BATCH = 8
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Patch:
    """One place in one picture: a channel's response, its position in the tap, its window in the network's input."""

    path: Path
    response: float
    y: int
    x: int
    window: tuple[int, int, int, int]


class PatchIndex:
    """The strongest responses of every channel over a folder of pictures.

    Args:
        classifier: whose channels. folder: searched with its subfolders. store: where the index is kept; None = the
            user's cache folder ($XDG_CACHE_HOME or ~/.cache, under camwidgets/).
    Raises:
        NotADirectoryError: no such folder. ValueError: no pictures in it, an index of a newer version, or a damaged one
        (each call that reads it; the message says what to do).

    Example:
        >>> import camwidgets, tempfile
        >>> net, folder = camwidgets.load("efficientnet_lite0"), tempfile.mkdtemp()
        >>> camwidgets.samples.picture("cat").save(f"{folder}/cat.png")
        >>> index = PatchIndex(net, folder, store=folder)
        >>> index.build()
        1
        >>> index.top("S5", 112, count=1)[0].path.name
        'cat.png'
    """

    def __init__(self, classifier: Classifier, folder: str | Path, store: str | Path | None = None) -> None:
        self.classifier, self.name = classifier, str(folder)
        self.folder = Path(folder).expanduser().resolve()
        if not self.folder.is_dir():
            raise NotADirectoryError(f"no folder of pictures at {str(folder)!r}")
        home = Path(store) if store is not None else cache_folder()
        home.mkdir(parents=True, exist_ok=True)
        self.file = home / f"patches-{view_hash(classifier)[:16]}.sqlite"
        with opened(self.file) as db:
            prepare(db, self.file)

    def build(self, progress: Progress | None = None, cancelled: Callable[[], bool] | None = None) -> int:
        """Look at every picture that is new or changed; returns how many pictures of the folder the index now holds.

        `progress(done, total)` is called after each few pictures; `cancelled()` may end the work at any of them: what
        was done stays. A picture that cannot be read, or that the network does not answer with finite numbers, is
        noted with the reason (`broken`) and looked at again only when it has changed; running out of memory is no
        picture's fault and ends the work.

        Raises:
            ValueError: no picture in the folder, or none that could be looked at.
        """
        files = self._pictures()
        if not files:
            raise ValueError(f"no picture in the folder {str(self.folder)!r}; looked for {', '.join(sorted(SUFFIXES))}")
        with opened(self.file) as db:
            todo = self._changed(db, files)
            for start in range(0, len(todo), BATCH):
                if cancelled is not None and cancelled():
                    break
                for path in todo[start : start + BATCH]:
                    self._look(db, path)
                db.commit()
                if progress is not None:
                    progress(len(files) - len(todo) + min(start + BATCH, len(todo)), len(files))
        return len(self) or self._none()

    def _none(self) -> int:
        """Where not one picture could be looked at it is not the pictures: that is said, and nothing is on record."""
        broken = self.broken()
        if broken:
            with opened(self.file) as db:
                db.execute("DELETE FROM pictures WHERE instr(path, ?) = 1", (self._prefix(),))
            path, reason = next(iter(broken.items()))
            raise ValueError(f"none of {len(broken)} pictures could be looked at; the first, {path.name!r}: {reason}")
        return 0

    def broken(self) -> dict[Path, str]:
        """Pictures that could not be read, and why."""
        with opened(self.file) as db:
            rows = db.execute(
                "SELECT path, error FROM pictures WHERE error != '' AND instr(path, ?) = 1", (self._prefix(),)
            )
            return {Path(os.fsdecode(path)): error for path, error in rows}

    def top(self, tap: str, channel: int, count: int = 9) -> list[Patch]:
        """The `count` pictures that excite a channel of a tap most, each with its strongest place, strongest first."""
        site = self._site(tap, channel)
        best: list[tuple[float, int, bytes]] = []
        with opened(self.file) as db:
            rows = db.execute(
                "SELECT path, peaks, places FROM responses WHERE tap = ? AND instr(path, ?) = 1",
                (str(site), self._prefix()),
            )
            for path, peaks, places in rows:
                value = float(np.frombuffer(peaks, "<f4")[channel])
                best.append((value, int(np.frombuffer(places, "<i4")[channel]), path))
                if len(best) > 64 * count:
                    best = sorted(best, key=lambda item: -item[0])[:count]
        best = sorted(best, key=lambda item: (-item[0], item[2]))[:count]
        return [self._patch(site, *item) for item in best]

    def peaks(self, tap: str, channel: int) -> np.ndarray:
        """A channel's largest response in each picture of the index, in no particular order."""
        site = self._site(tap, channel)
        with opened(self.file) as db:
            rows = db.execute(
                "SELECT substr(peaks, ?, 4) FROM responses WHERE tap = ? AND instr(path, ?) = 1",
                (4 * channel + 1, str(site), self._prefix()),
            )
            return np.array([np.frombuffer(peak, "<f4")[0] for (peak,) in rows], np.float32)

    def histogram(self, tap: str, channel: int, bins: int = 32) -> tuple[np.ndarray, np.ndarray]:
        """Counts and edges of a channel's largest response per picture, over the whole folder."""
        counts, edges = np.histogram(self.peaks(tap, channel), bins)
        return counts, edges

    def __len__(self) -> int:
        """How many pictures it holds."""
        with opened(self.file) as db:
            wanted = "SELECT COUNT(*) FROM pictures WHERE error = '' AND instr(path, ?) = 1"
            return int(db.execute(wanted, (self._prefix(),)).fetchone()[0])

    def missing(self) -> int:
        """How many pictures `build` would look at: new ones and changed ones."""
        with opened(self.file) as db:
            return len(self._changed(db, self._pictures()))

    def crop(self, patch: Patch) -> Image.Image:
        """The patch itself: the window of the picture, as the network saw it, that the response could see."""
        x = self.classifier.preprocess(self._read(patch.path))
        return Image.fromarray(self.classifier.pictures(x)[0]).crop(patch.window)

    # ------------------------------------------------------------------------------------------------ the file

    def _pictures(self) -> list[Path]:
        return sorted(p for p in self.folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())

    def _changed(self, db: sqlite3.Connection, files: list[Path]) -> list[Path]:
        """The files to look at; rows of files that have gone or changed are removed."""
        rows = db.execute("SELECT path, size, time FROM pictures WHERE instr(path, ?) = 1", (self._prefix(),))
        known = {path: (size, time) for path, size, time in rows}
        stamps = {os.fsencode(path): self._found(path) for path in files}
        now = {key: stamp for key, stamp in stamps.items() if stamp}  # others went since the folder was listed
        for key in [key for key in known if now.get(key) != known[key]]:
            db.execute("DELETE FROM pictures WHERE path = ?", (key,))
            db.execute("DELETE FROM responses WHERE path = ?", (key,))
        db.commit()
        return [path for path in files if (key := os.fsencode(path)) in now and known.get(key) != now[key]]

    def _look(self, db: sqlite3.Connection, path: Path) -> None:
        key, error = os.fsencode(path), ""
        found: list[tuple[str, bytes, bytes, bytes]] = []
        stamp = self._found(path)  # before it is read: what is written meanwhile counts as a change
        if stamp is None:
            return
        try:
            found = self._responses(path, key)
        except (MemoryError, torch.cuda.OutOfMemoryError):
            raise
        except Exception as problem:  # noqa: BLE001 - whatever one picture does, the others are looked at
            if self._found(path) is None:
                return
            error = str(problem) or type(problem).__name__
        db.executemany("INSERT OR REPLACE INTO responses VALUES (?, ?, ?, ?)", found)
        told = error.encode("utf-8", "backslashreplace").decode()  # it may quote a name that is no UTF-8
        db.execute("INSERT OR REPLACE INTO pictures VALUES (?, ?, ?, ?)", (key, *stamp, told))

    def _responses(self, path: Path, key: bytes) -> list[tuple[str, bytes, bytes, bytes]]:
        """Tap, picture, each channel's largest response and its place: a row for each tap."""
        rows = []
        with torch.no_grad(), record(self.classifier, open_image(self._read(path))) as recording:
            for tap, A in recording.activations.items():
                peaks, places = A[0].float().flatten(1).max(1)
                rows.append((str(tap), key, _bytes(peaks, "<f4"), _bytes(places, "<i4")))
        return rows

    def _found(self, path: Path) -> tuple[int, int] | None:
        """Its stamp; None if it has gone."""
        try:
            return self._stamp(path)
        except OSError:
            return None

    def _read(self, path: Path) -> Any:
        """What `open_image` takes for a picture of the index."""
        return path

    def _stamp(self, path: Path) -> tuple[int, int]:
        """Changes when the picture does."""
        state = path.stat()
        return state.st_size, state.st_mtime_ns

    def _prefix(self) -> bytes:
        return os.fsencode(self.folder / "x")[:-1]

    def _site(self, tap: str, channel: int) -> Tap:
        site = self.classifier.tap(tap)
        if site not in self.classifier.stages.values():
            raise ValueError(f"the index holds the stages' taps; {str(site)!r} is not one of them")
        if not 0 <= channel < site.channels:
            raise ValueError(f"channel {channel} is out of range: {str(site)!r} has channels 0 … {site.channels - 1}")
        return site

    def _patch(self, tap: Tap, response: float, place: int, path: bytes) -> Patch:
        y, x = divmod(place, tap.size[1])
        window = tap.receptive_field.window(y, x, self.classifier.input_size)
        return Patch(Path(os.fsdecode(path)), response, y, x, window)


class DatasetIndex(PatchIndex):
    """A `PatchIndex` over a sequence of pictures that lie in no folder: arrays, PIL pictures, paths, pairs (picture,
    label), or scenes with an `image`. Kept on disk as long as it lives; `Patch.path` is the picture's number.

    Example:
        >>> import camwidgets
        >>> from camwidgets.datasets.toyworld import ToyWorld
        >>> index = DatasetIndex(camwidgets.load("toy"), ToyWorld(seed=0, n=8))
        >>> index.build(), int(str(index.top("S5", 3, count=1)[0].path)) < 8
        (8, True)
    """

    def __init__(self, classifier: Classifier, pictures: Sequence[Any], name: str = "") -> None:
        if not len(pictures):
            raise ValueError("an empty data set was given to index")
        self._data = pictures
        self._home = tempfile.TemporaryDirectory(prefix="camwidgets-")  # goes with this object
        super().__init__(classifier, self._home.name, self._home.name)
        self.name = name or f"{len(pictures)} pictures"

    def _pictures(self) -> list[Path]:
        return [Path(f"{i:07d}") for i in range(len(self._data))]

    def _read(self, path: Path) -> Any:
        item = self._data[int(path.name)]
        return item.image if hasattr(item, "image") else item[0] if isinstance(item, tuple) else item

    def _stamp(self, path: Path) -> tuple[int, int]:
        return 0, 0  # a data set does not change while it is held

    def _prefix(self) -> bytes:
        return b""


def index_of(classifier: Classifier, source: Any) -> PatchIndex:
    """An index over `source`: an index itself, a folder, or a sequence of pictures. Not built yet."""
    if isinstance(source, PatchIndex):
        if source.classifier is not classifier and view_hash(source.classifier) != view_hash(classifier):
            raise ValueError(
                f"the index given is of {source.classifier.name}, not of {classifier.name}: their weights, modules, "
                f"input sizes, preprocessing or stages differ"
            )
        return source
    if isinstance(source, (str, Path)):
        return PatchIndex(classifier, source)
    if hasattr(source, "__len__") and hasattr(source, "__getitem__"):
        return DatasetIndex(classifier, source)
    raise TypeError(f"an index, a folder or a sequence of pictures is needed; got {type(source).__name__}")


def _bytes(values: torch.Tensor, kind: str) -> bytes:
    return values.cpu().numpy().astype(kind).tobytes()
