"""What a comparison is made of: rows (a method with its parameters) and cells (its map, plain or enhanced)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ...evaluation.curves import Curve
from ...explanation import Explanation
from ...maps.catalogue import find
from ...maps.method import Method, Parameter

Traits = dict[str, Any]
# A name, a Method of one's own, or either with parameters.
Given = str | Method | tuple[str | Method, Mapping[str, Any]]


@dataclass(eq=False)
class Row:
    """A method and the parameters that were given for it; others are those kept for the network, or the defaults."""

    key: str
    method: Method
    given: dict[str, Any] = field(default_factory=dict)


@dataclass(eq=False)
class Cell:
    """One map of the grid, and how far it is.

    Attributes:
        state: unchecked → waiting → working → done; or unfit, failed, cancelled, costly (asks before it goes on).
        attempt: counts starts and cancellations: the result of an attempt that is over is dropped.
        patient: run however long it takes. text, hint, details: what there is to say in that state.
        curves: "insertion" and "deletion"; curve_state: "" → waiting → working → done, or failed.
    """

    row: Row
    enhanced: bool
    parameters: dict[str, Any]
    state: str = "unchecked"
    attempt: int = 0
    patient: bool = False
    text: str = ""
    hint: str = ""
    details: str = ""
    explanation: Explanation | None = None
    seconds: float = 0.0
    slot: str = ""
    number: int = 0
    curve_state: str = ""
    curve_text: str = ""
    curves: dict[str, Curve] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return self.row.key + ("+" if self.enhanced else "")

    @property
    def name(self) -> str:
        """"LayerCAM" or "LayerCAM, enhanced"."""
        return self.row.method.title + (", enhanced" if self.enhanced else "")

    def restart(self, state: str = "waiting") -> None:
        """Forget what was made; whatever runs for it now will be dropped."""
        self.state, self.attempt = state, self.attempt + 1
        self.text = self.hint = self.details = ""
        self.explanation = None
        self.forget_curves()

    def stop(self, state: str, text: str = "", hint: str = "", details: str = "") -> None:
        """Nothing more is made of this attempt, and why."""
        self.restart(state)
        self.text, self.hint, self.details = text, hint, details

    def forget_curves(self) -> None:
        self.curve_state, self.curve_text, self.curves = "", "", {}

    @property
    def cost(self) -> int:
        """Cheap ones first: one pass, a few passes, windows, many passes, windows of many passes."""
        many = "many forwards" in self.row.method.needs
        if self.row.method.kind == "evidence" and not self.enhanced:
            return 0
        return 1 + 2 * many + self.enhanced

    def words(self) -> Traits:
        """What the front end needs to know of this cell, its code excepted."""
        return {
            "id": self.id, "row": self.row.key, "method": self.row.method.name, "title": self.row.method.title,
            "enhanced": self.enhanced, "state": self.state, "text": self.text, "hint": self.hint,
            "details": self.details, "map": self._map(), "facts": self.facts, "settings": self.settings,
            "values": dict(self.parameters), "curve": self._curve(),
        }  # fmt: skip

    @property
    def facts(self) -> str:
        """"0.08 s · 1 forward, 1 back"."""
        found = self.explanation
        return "" if found is None else f"{seconds_text(self.seconds)} · {passes_text(found.made_by.get('passes', {}))}"

    @property
    def settings(self) -> str:
        """"S5 7×7 · masks 500": resolution and parameters."""
        size = resolution(self.explanation) if self.explanation else ""
        return " · ".join(part for part in (size, settings_text(self.parameters)) if part)

    def _map(self) -> Traits | None:
        found = self.explanation
        if found is None:
            return None
        height, width = found.map.shape
        flat = found.reason or ""
        return {"slot": self.slot, "number": self.number, "height": height, "width": width, "reason": flat}

    def _curve(self) -> Traits:
        drawn = {
            name: {"x": curve.fractions.round(4).tolist(), "y": curve.scores.round(4).tolist(), "auc": curve.auc}
            for name, curve in self.curves.items()
        }
        return {"state": self.curve_state, "text": self.curve_text, **drawn}


def rows(methods: Iterable[Given], first: int = 1) -> list[Row]:
    """Rows of what was given; a name or a parameter that is not known raises a ValueError with the nearest one."""
    return [row(one, first + i) for i, one in enumerate(methods)]


def row(given: Given, number: int) -> Row:
    """One row; its parameters are checked."""
    name, parameters = given if isinstance(given, tuple) else (given, {})
    method = find(name)
    method.check(dict(parameters))
    return Row(str(number), method, dict(parameters))


def parameter_words(parameter: Parameter, value: Any) -> Traits:
    """A parameter for the form: its type, range, default, meaning, and the value it has now."""
    kinds = {bool: "bool", int: "int", float: "float", str: "str"}
    return {
        "name": parameter.name, "kind": kinds[type(parameter.default)], "default": parameter.default, "value": value,
        "meaning": parameter.meaning, "low": parameter.low, "high": parameter.high,
        "choices": list(parameter.choices),
    }  # fmt: skip


def method_words(method: Method, values: Mapping[str, Any], why_not: str | None) -> Traits:
    """A method for the menu."""
    return {
        "value": method.name, "text": method.title, "formula": method.formula, "source": method.source,
        "needs": ", ".join(method.needs) or "nothing but forward passes", "why": why_not or "",
        "many": "many forwards" in method.needs,
        "parameters": [parameter_words(p, values.get(p.name, p.default)) for p in method.parameters],
    }  # fmt: skip


def settings_text(parameters: Mapping[str, Any]) -> str:
    """"masks 500 · cells 7", in the order of the catalogue."""
    return " · ".join(f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"
                      for name, value in parameters.items())  # fmt: skip


def resolution(found: Explanation) -> str:
    """"S5 7×7", "S3 28×28 … S5 7×7", or "28×28" for a map that no stage has made."""
    shapes = {name: f"{values.shape[0]}×{values.shape[1]}" for name, values in found.stage_maps.items()}
    named = [shape if name == "input" else f"{name} {shape}" for name, shape in shapes.items()]
    return named[0] if len(named) == 1 else f"{named[0]} … {named[-1]}"


def seconds_text(seconds: float) -> str:
    """"0.08 s", "3.2 s", "95 s", "4 min", "2.7 h"."""
    if seconds < 9.95:
        return f"{seconds:.2f} s" if seconds < 0.995 else f"{seconds:.1f} s"
    if seconds < 5400:
        return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def passes_text(made: Mapping[str, int]) -> str:
    """"4001 forward", "1 forward, 1 back": pictures that went through the network each way."""
    words = {"forward": "forward", "backward": "back"}
    return ", ".join(f"{made[way]} {word}" for way, word in words.items() if made.get(way))
