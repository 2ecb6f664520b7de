"""What the made worlds share: as many pictures as wanted, each a pure function of its number and the parameters."""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, cast, overload

from ..errors import unknown
from .checks import check_integer, check_steps

if TYPE_CHECKING:
    from typing_extensions import Self  # of Python 3.11; torch brings it to 3.10

Picture = TypeVar("Picture", covariant=True)


class World(Sequence[Picture]):
    """Pictures number start, start + step, … of a seed. Its kinds are frozen dataclasses with these fields and more."""

    seed: int
    n: int
    start: int
    step: int

    def _check_numbers(self) -> None:
        for name in ("seed", "n", "start"):
            check_integer(name, getattr(self, name), 0)
        check_steps(self.start, self.step, self.n)

    @abstractmethod
    def _paint(self, number: int) -> Picture:
        """The picture of that number, wherever it lies in this world."""

    def __len__(self) -> int:
        return self.n

    @overload
    def __getitem__(self, index: int) -> Picture: ...
    @overload
    def __getitem__(self, index: slice) -> Self: ...
    def __getitem__(self, index: int | slice) -> Picture | Self:
        if isinstance(index, slice):
            taken = range(self.start, self.start + self.step * self.n, self.step)[index]
            return self._with(start=max(taken.start, 0), step=taken.step, n=len(taken))
        return self._paint(self._number(index))

    def __iter__(self) -> Iterator[Picture]:
        return (self[i] for i in range(self.n))

    def replace(self, **changes: Any) -> Self:
        """The same world with some parameters changed; what they do not touch looks the same."""
        valid = [field.name for field in dataclasses.fields(cast(Any, self))]
        for name in changes:
            if name not in valid:
                raise unknown("parameter", name, valid)
        return self._with(**changes)

    def _with(self, **changes: Any) -> Self:
        return cast("Self", dataclasses.replace(cast(Any, self), **changes))

    def _number(self, index: int) -> int:
        place = int(index) + (self.n if index < 0 else 0)
        if not 0 <= place < self.n:
            raise IndexError(f"picture {index} is outside a world of {self.n} pictures")
        return self.start + self.step * place
