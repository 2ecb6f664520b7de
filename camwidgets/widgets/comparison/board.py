"""The grid of a comparison: its subject, its rows and cells, and what is drawn of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import traitlets as t

from ... import settings
from ...errors import unknown
from ..code import cell_code, cells_code
from ..ground import Ask, Ground, known_target
from ..sources import Networks, Pictures
from .cells import Cell, Given, Row, row
from .traits import ComparisonTraits


class Board(ComparisonTraits):
    """The part of `MethodComparison` that knows what stands where; its queue fills the cells."""

    def __init__(self, pictures: Pictures, networks: Networks, given: Sequence[Given], **traits: Any) -> None:
        self._count = 0
        self._rows: list[Row] = []
        self._all: dict[str, Cell] = {}  # by id; the enhanced ones stay while they are not shown
        self._ground: Ground | None = None
        self._answered: Ask | None = None
        self._free: list[str] = []
        self._slots = self._numbers = 0
        super().__init__(pictures, networks, **traits)
        for one in given:
            self._new_row(one)

    # ------------------------------------------------------------------ asking for a subject

    @t.validate("target")
    def _known_target(self, proposal: Any) -> Any:
        return known_target(proposal.value, self._ground, self._answered, self.network)

    def _revert(self) -> bool:
        answered, ground = self._answered, self._ground
        with self._one_message():
            if answered is None or ground is None:
                self.picture, self.target = "", None
                return False
            self.picture, self.network, self.target = answered.picture, answered.network, ground.target
        return True

    # ------------------------------------------------------------------ rows and cells

    @property
    def _shown(self) -> list[Cell]:
        """The cells of the grid, row by row, plain before enhanced."""
        kinds = (False, True) if self.enhanced else (False,)
        return [self._cell(one, enhanced) for one in self._rows for enhanced in kinds]

    def _cell(self, one: Row, enhanced: bool) -> Cell:
        id = one.key + "+" * enhanced
        if id not in self._all:
            self._all[id] = Cell(one, enhanced, one.method.check(one.given))
        return self._all[id]

    def _found(self, name: str) -> Cell:
        """A cell by id, or by what `explanations` calls it."""
        for cell in self._shown:
            if name in (cell.id, self._names()[cell.id]):
                return cell
        raise unknown("cell", name, self._names().values())

    def _names(self) -> dict[str, str]:
        """Cell id → what scripts call it: "gradcam", "gradcam enhanced"; a second of the same, "gradcam 2"."""
        names: dict[str, str] = {}
        for cell in self._shown:
            name = cell.row.method.name + (" enhanced" if cell.enhanced else "")
            taken = sum(other == name or other.startswith(f"{name} (") for other in names.values())
            names[cell.id] = f"{name} ({taken + 1})" if taken else name
        return names

    def _new_row(self, given: Given) -> Row:
        self._count += 1
        made = row(given, self._count)
        self._rows.append(made)
        return made

    def _drop_row(self, one: Row) -> None:
        self._rows.remove(one)
        for id in (one.key, one.key + "+"):
            cell = self._all.pop(id, None)
            if cell is not None:
                cell.restart("cancelled")
                self._give_back(cell)

    # ------------------------------------------------------------------ what is drawn

    def _stand_on(self, ground: Ground, ask: Ask) -> None:
        """Show a new ground: everything in one message, so that nothing half old is ever drawn."""
        new_network = self._ground is None or self._ground.classifier is not ground.classifier
        self._ground, self._answered, self._numbers = ground, ask, ground.number
        with self._one_message():
            for name, value in ground.traits().items():
                setattr(self, name, value)
            self.picture, self.network, self.target = ask.picture, ask.network, ground.target
            for cell in self._all.values():
                cell.restart("unchecked" if new_network or cell.state in ("unchecked", "unfit") else "waiting")
                cell.patient = False
                self._give_back(cell)
            if new_network:
                self._labels, self._networks = list(ground.classifier.labels), self.networks.options()
            self._progress = {}
            self._come_to_rest()
            self._draw()

    def _take_slot(self, cell: Cell) -> None:
        """A trait of its own for a cell's map: what one cell sends does not send the others again."""
        if not cell.slot:
            if not self._free:
                self._slots += 1
                self._free.append(f"_map_{self._slots}")
                self.add_traits(**{self._free[0]: t.Bytes(b"").tag(sync=True)})
            cell.slot = self._free.pop()
        assert cell.explanation is not None
        self._numbers += 1
        cell.number = self._numbers
        setattr(self, cell.slot, cell.explanation.map.astype("<f4").tobytes())

    def _give_back(self, cell: Cell) -> None:
        if cell.slot:
            setattr(self, cell.slot, b"")
            self._free.append(cell.slot)
            cell.slot = ""

    def _draw(self) -> None:
        with self._one_message():
            self._cells = [cell.words() for cell in self._shown]
            self._codes = {cell.id: self._code_of(cell) for cell in self._shown}
            self.code = self._code_of_all()

    def _code_of(self, cell: Cell) -> str:
        if self._ground is None or self._answered is None:
            return ""
        lines = self.networks.code(self._answered.network), self.pictures[self._answered.picture].code
        return cell_code(*lines, (self._ground.target, self._ground.label), cell)

    def _code_of_all(self) -> str:
        if self._ground is None or self._answered is None:
            return ""
        lines = self.networks.code(self._answered.network), self.pictures[self._answered.picture].code
        named = [(name, self._all[id]) for id, name in self._names().items()]
        return cells_code(*lines, (self._ground.target, self._ground.label), named)

    def _keep(self, cell: Cell) -> None:
        if self._ground is None:
            raise RuntimeError("parameters are kept for a network; there is none yet")
        settings.keep(self._ground.classifier, cell.row.method, **cell.parameters)
