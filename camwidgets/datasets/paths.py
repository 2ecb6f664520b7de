"""Files of a data set: which are pictures, and that names in annotations stay inside the data set's folder."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator, Sequence
from pathlib import Path

SUFFIXES = (
    ".jpg", ".jpeg", ".jpe", ".png", ".webp", ".gif", ".tif", ".tiff", ".bmp", ".dib", ".ppm", ".pgm", ".pbm", ".pnm",
    ".tga", ".jp2", ".avif", ".heic", ".heif",
)  # fmt: skip


def is_picture(name: str) -> bool:
    """Whether a file's name is that of a picture; hidden files (`._a.jpg`, which macOS leaves behind) are not.

    Example:
        >>> is_picture("n01440764_10026.JPEG"), is_picture("._a.jpg"), is_picture("labels.csv")
        (True, False, False)
    """
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES  # noqa: PTH122 - a name, no path


def inside(root: Path, name: str, where: str) -> Path:
    """The file that an annotation names, which must lie in the data set's folder.

    Judged by the name alone: a link inside the folder is its owner's own doing, and large data sets are often linked.

    Args:
        root: the folder. name: as the annotation gives it, relative or absolute; `\\` is taken for `/`.
        where: the annotation's file and line, for the message.
    Raises:
        ValueError: the name is empty, or leads out of the folder.

    Example:
        >>> inside(Path("data"), "images/./a.jpg", "index.csv line 2").as_posix()
        'data/images/a.jpg'
    """
    given = name.strip().replace("\\", "/")
    if not given or "\0" in given:
        raise ValueError(f"{where}: {name!r} names no file")
    if given.startswith("/"):
        try:
            given = Path(posixpath.normpath(given)).relative_to(Path(os.path.abspath(root))).as_posix()  # noqa: PTH100
        except ValueError:
            given = ".."
    given = posixpath.normpath(given)
    if given == ".." or given.startswith(("../", "/")) or (len(given) > 1 and given[1] == ":"):
        raise ValueError(f"{where}: {name!r} leads out of the data set's folder; files must lie in {str(root)!r}")
    return root / given


def pictures_of(classes: Sequence[Path], root: Path) -> list[tuple[Path, list[Path]]]:
    """The pictures below each class folder. A link shows no picture again that lies in the folder of another class."""
    homes = {one: os.path.realpath(one) for one in classes}
    been = {os.path.realpath(root), *(homes[one] for one in classes if not one.is_symlink())}
    found = {}
    for one in sorted(classes, key=lambda one: (one.is_symlink(), one)):
        if not one.is_symlink():
            been.discard(homes[one])
        found[one] = list(pictures_below(one, been))
    return [(one, found[one]) for one in classes]


def pictures_below(folder: Path, been: set[str] | None = None) -> Iterator[Path]:
    """Every picture file in a folder and the folders in it, sorted; circles of links are cut.

    Args:
        been: the real paths of folders that were seen already, which are left out; it takes up those seen now.
    """
    been = set() if been is None else been
    for place, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in been:
            folders.clear()
            continue
        been.add(real)
        folders[:] = sorted(one for one in folders if not one.startswith("."))
        yield from (Path(place) / name for name in sorted(names) if is_picture(name))


def folders_in(folder: Path) -> list[Path]:
    """The folders directly in a folder, sorted, hidden ones left out."""
    return sorted(one for one in folder.iterdir() if one.is_dir() and not one.name.startswith((".", "__")))


def relative(path: Path, root: Path) -> str:
    """The path from the data set's folder, with `/` on every system: an id that is the same everywhere."""
    return path.relative_to(root).as_posix()


def existing_folder(source: str | os.PathLike[str]) -> Path:
    """The folder, or a sentence.

    Raises:
        FileNotFoundError, NotADirectoryError
    """
    folder = Path(source).expanduser()
    if not folder.exists():
        raise FileNotFoundError(f"there is no data set at {str(folder)!r}")
    if not folder.is_dir():
        raise NotADirectoryError(f"{str(folder)!r} is a file; a folder of pictures is needed here")
    return folder
