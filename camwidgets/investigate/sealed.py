"""Zips whose members are all accounted for: written with a manifest of hashes, read with everything checked first."""

from __future__ import annotations

import hashlib
import io
import json
import re
import stat
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

MANIFEST = "manifest.json"
MOST_FILES = 10_000
MOST_BYTES = 512 << 20  # of one member, unpacked
MOST_TOTAL = 2 << 30  # of all of them
# room/name.kind, or trees/name/file: no other name is written, and none is read. A part never begins with a dot.
_PART = r"[\w\-][\w\-. ]{0,79}"
_NAME = re.compile(
    rf"(pictures/{_PART}\.png|maps/{_PART}\.npz|pages/{_PART}\.html"
    rf"|trees/{_PART}/(tree\.json|tree\.npz|tree\.graphml|picture\.png))"
)


def seal(path: Path, files: Mapping[str, bytes], about: Mapping[str, Any]) -> Path:
    """Write files and a manifest of their hashes; `about` goes into the manifest."""
    for name in files:
        if not _allowed(name):
            raise ValueError(
                f"{name!r} cannot be a name in a bundle: letters, digits, '. _ -' and spaces, up to 80 characters, not "
                f"beginning with a dot"
            )
    entries = {
        name: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
        for name, content in sorted(files.items())
    }
    text = json.dumps({**about, "files": entries}, indent=1, ensure_ascii=False, allow_nan=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in [(MANIFEST, text.encode("utf-8")), *sorted(files.items())]:
            file.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)  # no time of day
    return path


def read_members(path: Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The manifest and every file of a sealed zip, in memory, once all is as the manifest says.

    Raises:
        ValueError: anything else, in one sentence.
    """
    try:
        with zipfile.ZipFile(path) as file:
            return _read(path.name, file)
    except (
        zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError,
        MemoryError,
    ) as error:  # fmt: skip
        raise ValueError(f"{path.name!r} is no readable zip file: {error}") from error


def _read(bundle: str, file: zipfile.ZipFile) -> tuple[dict[str, Any], dict[str, bytes]]:
    members = file.infolist()
    if len(members) > MOST_FILES:
        raise ValueError(f"{bundle!r} is refused: {len(members)} files; at most {MOST_FILES} are read")
    names = [member.filename for member in members]
    twice = next((name for name in names if names.count(name) > 1), None) if len(set(names)) < len(names) else None
    if twice is not None:
        raise ValueError(f"{bundle!r} is refused: it holds {twice!r} more than once")
    for member in members:
        _check(bundle, member)
    if sum(member.file_size for member in members) > MOST_TOTAL:
        raise ValueError(f"{bundle!r} is refused: it unpacks to more than {MOST_TOTAL >> 30} GiB")
    if MANIFEST not in names:
        raise ValueError(f"{bundle!r} is no bundle: it has no {MANIFEST}")
    manifest = _manifest(bundle, _content(bundle, file, MANIFEST))
    listed = manifest["files"]
    for name in names:
        if name != MANIFEST and name not in listed:
            raise ValueError(f"{bundle!r} is refused: its manifest does not list {name!r}")
    files = {}
    for name, entry in listed.items():
        if name not in names:
            raise ValueError(f"{bundle!r} is damaged: {name!r} is missing")
        files[name] = _content(bundle, file, name)
        if not isinstance(entry, dict) or hashlib.sha256(files[name]).hexdigest() != entry.get("sha256"):
            raise ValueError(f"{bundle!r} is damaged: {name!r} is not what its manifest says (SHA-256 differs)")
    return manifest, files


def _check(bundle: str, member: zipfile.ZipInfo) -> None:
    """Refuse a member by what the zip says of it, before a byte of it is unpacked."""
    name, kind = member.filename, stat.S_IFMT(member.external_attr >> 16)
    # What the zip itself holds, before Python shortened it at a zero byte or turned its slashes.
    if name != MANIFEST and not (_allowed(name) and member.orig_filename == name):
        raise ValueError(f"{bundle!r} is refused: a bundle has no file called {member.orig_filename!r}")
    if kind not in (0, stat.S_IFREG):
        raise ValueError(f"{bundle!r} is refused: {name!r} is a link or another special file")
    if member.flag_bits & 1:
        raise ValueError(f"{bundle!r} is refused: {name!r} is encrypted")
    if member.file_size > MOST_BYTES:
        raise ValueError(f"{bundle!r} is refused: {name!r} unpacks to more than {MOST_BYTES >> 20} MiB")


def _allowed(name: str) -> bool:
    return _NAME.fullmatch(name) is not None and ".." not in name and name.isprintable()


def _content(bundle: str, file: zipfile.ZipFile, name: str) -> bytes:
    """A member's bytes; no more than it said of itself, whatever it unpacks to."""
    said = file.getinfo(name).file_size
    with file.open(name) as stream:
        content = stream.read(said + 1)
    if len(content) != said:
        raise ValueError(f"{bundle!r} is refused: {name!r} does not unpack to the size that it says")
    return content


def _manifest(bundle: str, content: bytes) -> dict[str, Any]:
    try:
        manifest = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{bundle!r} is no bundle: its manifest cannot be read ({error})") from error
    if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), dict):
        raise ValueError(f"{bundle!r} is no bundle: its manifest lists no files")
    return manifest


class Budget:
    """How much may still be unpacked; one for everything of a bundle, so that many small bombs are no large one."""

    def __init__(self, left: int) -> None:
        self.left = left

    def take(self, size: int) -> None:
        """Count `size` bytes, before they are unpacked; ValueError once it is too much."""
        self.left -= size
        if self.left < 0:
            raise ValueError("with it, the bundle unpacks to too much")


def read_arrays(content: bytes, name: str, budget: Budget) -> dict[str, np.ndarray]:
    """The arrays of an .npz in memory; no pickle, and no more than a member may hold once unpacked.

    Raises:
        ValueError: it is no .npz, unpacks to too much, or holds objects.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as inner:
            size = sum(member.file_size for member in inner.infolist())
        if size > MOST_BYTES:
            raise ValueError(f"it unpacks to more than {MOST_BYTES >> 20} MiB")
        budget.take(size)
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            return {key: _numeric(arrays[key]) for key in arrays.files}
    except Exception as error:  # a dozen kinds: of zip, of zlib, of a header that lies, MemoryError among them
        raise ValueError(f"the arrays {name!r} are refused: {error}") from error


def _numeric(values: Any) -> np.ndarray:
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "biuf":
        raise ValueError("it holds something other than arrays of numbers")
    return values
