"""One file with everything of an investigation: settings, pictures, maps, trees, pages, each with its SHA-256.

A bundle is a zip of `manifest.json` and the files that it lists. Reading one runs nothing of it and writes nothing but
into a temporary folder: names, sizes, kinds and hashes are checked first, arrays are read without pickle, pages come
back as text. The hashes tell damage, not forgery: who can write a bundle can write its manifest; compare
`Bundle.digest` for that.
"""

from __future__ import annotations

import hashlib
import io
import json
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .. import __version__
from ..classifiers.classifier import Classifier
from ..decomposition.tree import Decomposition
from ..images import ImageSource, open_image
from . import sealed
from .sealed import Budget, read_arrays, read_members, seal

FORMAT = 1
TREE_FILES = ("tree.json", "tree.npz", "tree.graphml", "picture.png")


@dataclass(frozen=True)
class Bundle:
    """What a bundle holds.

    Attributes:
        config: plain values (settings, the log of `Edits`, seeds …). pictures: name → H×W×3 uint8. maps: name → array.
        pages: name → HTML text; it is as trustworthy as who made the bundle: nothing here shows it.
        digest: SHA-256 of the manifest, 64 hexadecimal digits: names the bundle's content. made_by: version that wrote
            it. files: every file of it, by name.
    """

    config: dict[str, Any]
    pictures: dict[str, np.ndarray] = field(repr=False)
    maps: dict[str, np.ndarray] = field(repr=False)
    pages: dict[str, str] = field(repr=False)
    digest: str
    made_by: str
    files: dict[str, bytes] = field(repr=False)

    @property
    def trees(self) -> tuple[str, ...]:
        """Names of the trees; see `tree`."""
        return tuple(sorted(n.split("/")[1] for n in self.files if n.startswith("trees/") and n.endswith("/tree.json")))

    def tree(self, name: str, classifier: Classifier | None = None) -> Decomposition:
        """A tree by name; with its classifier it can be expanded further (see `Decomposition.load`)."""
        from ..errors import choose

        choose("tree", name, self.trees)
        with tempfile.TemporaryDirectory(prefix="camwidgets-") as folder:
            for file in TREE_FILES:
                content = self.files.get(f"trees/{name}/{file}")
                if content is not None:
                    (Path(folder) / file).write_bytes(content)
            try:
                return Decomposition.load(folder, classifier)
            except (KeyError, TypeError, AttributeError, OSError) as error:
                raise ValueError(f"the tree {name!r} of the bundle cannot be read: {error!r}") from error


def save_bundle(
    path: str | Path,
    *,
    config: Mapping[str, Any] | None = None,
    pictures: Mapping[str, ImageSource] | None = None,
    maps: Mapping[str, np.ndarray] | None = None,
    trees: Mapping[str, Decomposition] | None = None,
    pages: Mapping[str, str] | None = None,
) -> Path:
    """Write a bundle to `path` (.zip), replacing it. Same content, same bytes.

    Args:
        config: plain values that JSON knows. pictures: pictures (array, PIL, path). maps: numeric arrays.
        trees: decompositions. pages: HTML texts. All by name: letters, digits, `. _ -` and spaces, up to 80 characters.
    Raises:
        ValueError: a name that is none, a value that JSON does not know, an array of objects.

    Example:
        >>> folder = tempfile.mkdtemp()
        >>> file = save_bundle(f"{folder}/found.zip", config={"eps": 0.1}, maps={"S5": np.eye(3)})
        >>> open_bundle(file).config, open_bundle(file).maps["S5"].shape
        ({'eps': 0.1}, (3, 3))
    """
    files: dict[str, bytes] = {}
    for name, picture in (pictures or {}).items():
        files[f"pictures/{name}.png"] = _png(picture)
    for name, values in (maps or {}).items():
        files[f"maps/{name}.npz"] = _npz(name, np.asarray(values))
    for name, page in (pages or {}).items():
        files[f"pages/{name}.html"] = page.encode("utf-8")
    for name, tree in (trees or {}).items():
        with tempfile.TemporaryDirectory(prefix="camwidgets-") as folder:
            tree.save(folder)
            files |= {f"trees/{name}/{file}": (Path(folder) / file).read_bytes() for file in TREE_FILES}
    try:
        plain = json.loads(json.dumps(dict(config or {}), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ValueError(f"the config must hold plain values that JSON knows: {error}") from error
    return seal(Path(path).expanduser(), files, {"format": FORMAT, "camwidgets": __version__, "config": plain})


def open_bundle(path: str | Path) -> Bundle:
    """Read a bundle; anything that is not as `save_bundle` writes it is refused in words, and nothing of it is kept.

    Raises:
        FileNotFoundError: no such file. ValueError: no zip, no bundle, damaged (hashes), or hostile: names that lead
            elsewhere, links, kinds of files that a bundle has not, members that unpack to too much, pickled objects.
    """
    source = Path(path).expanduser()
    if not source.is_file():
        raise FileNotFoundError(f"no bundle at {str(path)!r}")
    manifest, files = read_members(source)
    if manifest.get("format") != FORMAT:
        raise ValueError(f"{str(path)!r} has format {manifest.get('format')!r}; this version reads {FORMAT}")
    if not isinstance(manifest.get("config"), dict):
        raise ValueError(f"{str(path)!r} is no bundle: its manifest has no config")
    pictures, maps, pages, budget = {}, {}, {}, Budget(sealed.MOST_TOTAL)
    for name, content in files.items():
        room, _, rest = name.partition("/")
        if room == "pictures":
            pictures[rest.removesuffix(".png")] = _pixels(content, name, budget)
        elif room == "maps":
            maps[rest.removesuffix(".npz")] = _values(content, name, budget)
        elif room == "pages":
            pages[rest.removesuffix(".html")] = content.decode("utf-8")
        elif name.endswith(".npz"):  # of a tree: checked here, read when it is asked for
            read_arrays(content, name, budget)
        elif name.endswith(".png"):
            _pixels(content, name, budget)
    digest = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()
    made_by = str(manifest.get("camwidgets", ""))
    return Bundle(manifest["config"], pictures, maps, pages, digest, made_by, files)


def _pixels(content: bytes, name: str, budget: Budget) -> np.ndarray:
    """A picture, counted before it is decoded: a few kB can unpack to 200 MB, and a bundle may hold thousands."""
    try:
        with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
            budget.take(3 * image.width * image.height)
            return np.array(open_image(image))
    except (ValueError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"the picture {name!r} is refused: {error}") from error


def _values(content: bytes, name: str, budget: Budget) -> np.ndarray:
    arrays = read_arrays(content, name, budget)
    if "values" not in arrays:
        raise ValueError(f"the arrays {name!r} are refused: none of them is called 'values'")
    return arrays["values"]


def _png(picture: ImageSource) -> bytes:
    buffer = io.BytesIO()
    open_image(picture).save(buffer, "PNG")
    return buffer.getvalue()


def _npz(name: str, values: np.ndarray) -> bytes:
    if values.dtype.kind not in "biuf":
        raise ValueError(f"the map {name!r} must be an array of numbers; got {values.dtype}")
    npy = io.BytesIO()
    np.save(npy, values, allow_pickle=False)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        # np.savez would write the time of day into it.
        file.writestr(zipfile.ZipInfo("values.npy"), npy.getvalue(), zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


