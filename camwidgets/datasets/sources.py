"""Where an item's picture and mask come from: small objects that name them and can be sent to another machine."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..images import Picture, open_image


class Source:
    """Where an item's picture comes from. Small and picklable: it names the picture and does not hold it."""

    def open(self) -> Picture:
        """The picture, RGB and upright; raises what `camwidgets.images.open_image` raises."""
        raise NotImplementedError

    def hash(self) -> str:
        """SHA-256 of the picture, 64 hexadecimal digits."""
        raise NotImplementedError

    def parts(self) -> dict[str, np.ndarray]:
        """Name → H×W bool of the parts that are known (the toy world's); else empty."""
        return {}

    def context(self) -> dict[str, np.ndarray]:
        """Name → H×W bool of the surroundings that are known (the toy world's); else empty."""
        return {}


class MaskSource:
    """Where an item's mask comes from. Small and picklable."""

    def read(self) -> np.ndarray:
        """H×W bool at the original's size."""
        raise NotImplementedError


@dataclass(frozen=True)
class PictureFile(Source):
    """A picture in a file."""

    path: Path

    def open(self) -> Picture:
        return open_image(self.path)

    def hash(self) -> str:
        """SHA-256 of the file's bytes.

        Raises:
            OSError: the file is not there or cannot be read.
        """
        digest = hashlib.sha256()
        with self.path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
        return digest.hexdigest()
