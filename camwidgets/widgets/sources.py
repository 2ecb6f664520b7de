"""Where an explorer's pictures and networks come from, and how each is written down as code."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ..classifiers.classifier import Classifier
from ..errors import unknown
from .worker import Superseded

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm"})
MOST_LISTED = 2000  # pictures of one folder that are listed; a select with more is of no use


@dataclass(frozen=True)
class Source:
    """One picture on offer: how it is shown, what opens it, and the expression that names it in code."""

    text: str
    group: str
    image: Any
    code: str


class Pictures:
    """The pictures on offer, by key, in the order shown."""

    def __init__(self) -> None:
        self._sources: dict[str, Source] = {}

    def __contains__(self, key: str) -> bool:
        return key in self._sources

    def __getitem__(self, key: str) -> Source:
        if key not in self._sources:
            raise unknown("picture", key, self._sources)
        return self._sources[key]

    def keys(self) -> list[str]:
        return list(self._sources)

    def options(self) -> list[dict[str, str]]:
        """For the picture menu: value, text and group of each."""
        return [{"value": key, "text": s.text, "group": s.group} for key, s in self._sources.items()]

    def add_samples(self) -> None:
        """The pictures that come with the package."""
        from .. import samples

        for name in samples.names():
            code = f"camwidgets.samples.picture({name!r})"
            self._sources[name] = Source(name, "Samples", _Sample(name), code)

    def offer(self, image: Any, pictures: Any) -> str:
        """What an explorer is given, and the samples behind it; returns the key of the picture to begin with."""
        first = None if image is None else self.add(image)
        listed = None if pictures is None else self.add_many(pictures)
        self.add_samples()
        return first or listed or next(iter(self._sources), "")

    def add_path(self, path: str | Path) -> str:
        """One picture file, or all pictures of a folder; returns the key of the (first) one.

        Raises FileNotFoundError or ValueError with one sentence when there is nothing to show.
        """
        given = Path(path).expanduser()
        if not given.exists():
            raise FileNotFoundError(f"no picture or folder at {str(path)!r}")
        return self._add_folder(given) if given.is_dir() else self._add_file(given, "Opened")

    def add_many(self, pictures: Any) -> str | None:
        """A folder, a list of paths and pictures, or a dict name → picture; returns the first key."""
        if isinstance(pictures, (str, Path)):
            return self.add_path(pictures)
        named = pictures if isinstance(pictures, Mapping) else None
        keys = [self.add(image, name) for name, image in named.items()] if named else [self.add(p) for p in pictures]
        return keys[0] if keys else None

    def add(self, image: Any, name: str = "", group: str = "Given") -> str:
        """A path, or a picture in memory under a name of its own."""
        if isinstance(image, (str, Path)) and not name:
            return self.add_path(image)
        shown = name or _own_name(image)
        key = name or _free(shown or "picture", self._sources)
        self._sources[key] = Source(shown or key, group, getattr(image, "image", image), "image")
        return key

    def add_upload(self, name: str, data: bytes) -> str:
        """An uploaded file. Its code names the file, which lies on the user's machine, not beside the kernel."""
        key = f"upload: {name}"
        self._sources[key] = Source(name, "Uploaded", data, repr(name))
        return key

    def _add_folder(self, folder: Path) -> str:
        found = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and p.is_file())
        if not found:
            raise ValueError(f"no picture in the folder {str(folder)!r}; looked for {', '.join(sorted(SUFFIXES))}")
        keys = [self._add_file(p, folder.name or str(folder)) for p in found[:MOST_LISTED]]
        return keys[0]

    def _add_file(self, path: Path, group: str) -> str:
        key = str(path)
        self._sources[key] = Source(path.name, group, path, repr(key))
        return key


class _Sample:
    """Opens a sample only when it is asked for."""

    def __init__(self, name: str) -> None:
        self.name = name

    def open(self) -> Any:
        from .. import samples

        return samples.picture(self.name)


def stamp(source: Source) -> tuple[int, int] | None:
    """When a picture's file was written and its size; None for what is in memory, or gone."""
    if not isinstance(source.image, Path):
        return None
    try:
        found = source.image.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def opened(source: Source) -> Any:
    """What `Classifier.preprocess` takes."""
    return source.image.open() if isinstance(source.image, _Sample) else source.image


class Networks:
    """The networks on offer: given classifiers first, then the embedded ones, then torchvision's."""

    def __init__(self, given: Iterable[Classifier] = ()) -> None:
        self.given: dict[str, Classifier] = {}
        for classifier in given:
            self.given[classifier.name if classifier.name not in self.given else _free(classifier.name, self.given)] = (
                classifier
            )
        self._loaded: dict[str, Classifier] = {}

    def options(self) -> list[dict[str, str]]:
        """For the network menu; names whose weights have to be downloaded say so."""
        found = [{"value": name, "text": name, "group": "Given"} for name in self.given]
        for name in embedded():
            if name not in self.given:
                found.append({"value": name, "text": name, "group": "Ready"})
        for name, size in torchvision_sizes().items():
            note = "" if cached(name) else f" ({size:.0f} MB to download)"
            found.append({"value": name, "text": f"{name}{note}", "group": "torchvision"})
        return found

    def names(self) -> list[str]:
        return [*self.given, *embedded(), *torchvision_sizes()]

    def ready(self, name: str) -> bool:
        """Whether `get` needs no download."""
        if name not in self.names():
            raise unknown("network", name, self.names())
        return name in self.given or name in self._loaded or name in embedded() or cached(name)

    def get(self, name: str) -> Classifier:
        """The classifier of that name. One loaded network is kept beside the given ones."""
        if name in self.given:
            return self.given[name]
        if name not in self._loaded:
            from ..classifiers.registry import load

            loaded = load(name, progress=False)
            self._loaded = {name: loaded}
        return self._loaded[name]

    @contextmanager
    def progress(self, name: str, tell: Callable[[str], None]) -> Iterator[None]:
        """Tells how far a download has come, while it runs inside; nothing where there is nothing to download."""
        if self.ready(name):
            yield
            return
        done = threading.Event()
        watcher = threading.Thread(target=_watch_download, args=(name, tell, done), name="camwidgets-download")
        watcher.start()
        try:
            yield
        finally:
            done.set()
            watcher.join()

    def code(self, name: str) -> str:
        """The line that makes `classifier`."""
        if name in self.given:
            return f"# classifier: the one that was given to the explorer as {name!r}"
        return f"classifier = camwidgets.load({name!r})"


def embedded() -> list[str]:
    """Names that `load` serves without a network connection."""
    from ..classifiers.registry import BUILT_IN

    return list(BUILT_IN)


@cache
def torchvision_sizes() -> dict[str, float]:
    """torchvision's classifiers → size of their weights in MB."""
    import torchvision

    names = torchvision.models.list_models(module=torchvision.models)
    return {name: float(_published(name).meta.get("_file_size", 0)) for name in names}


def cached(name: str) -> bool:
    """Whether torchvision's weights of that name lie in torch's cache."""
    return weights_file(name).is_file()


def weights_file(name: str) -> Path:
    import torch

    return Path(torch.hub.get_dir()) / "checkpoints" / Path(_published(name).url).name


def _watch_download(name: str, tell: Callable[[str], None], done: threading.Event) -> None:
    """torch.hub writes to FILE.….partial beside the final place; its size says how far it has come."""
    file, size = weights_file(name), torchvision_sizes()[name]
    while not done.wait(0.2):
        parts = [part.stat().st_size for part in file.parent.glob(f"{file.name}.*.partial")]
        try:
            tell(f"downloading {name}: {max(parts, default=0) / 2**20:.0f} of {size:.0f} MB …")
        except (OSError, Superseded):
            return  # nobody waits for it any more


def _published(name: str) -> Any:
    import torchvision

    return torchvision.models.get_model_weights(name).DEFAULT


def _own_name(image: Any) -> str:
    """What a picture in memory calls itself: a sample, an opened file, a scene of the toy world; else ""."""
    if hasattr(image, "image"):
        return f"{getattr(image, 'name', 'scene')}, scene {getattr(image, 'index', 0)}"
    return str(getattr(image, "info", {}).get("name", "")) or Path(str(getattr(image, "filename", "") or "")).name


def _free(name: str, taken: Mapping[str, Any]) -> str:
    return next(f"{name} {i}" for i in range(1, len(taken) + 2) if f"{name} {i}" not in taken)
