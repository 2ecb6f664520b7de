"""Taps: named activation sites of a network, and what is known about them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Layout = Literal["channels-first", "channels-last", "tokens"]
BeforeSite = tuple[str, int, str]  # (module, call, "input" or "output"): where a value can be read

# Activations that stop growing: at the ceiling their gradient is zero, so a decision is taken before them.
CLIPPED = frozenset({"relu6", "hardtanh", "clamp"})


@dataclass(frozen=True)
class ReceptiveField:
    """The window of the input that one position of a tap can see, in input pixels.

    Position (i, j) sees rows `start[0] + i·jump[0]` … `+ size[0]` (exclusive), likewise columns. Global gates
    (squeeze-and-excitation) are not counted: with them every position depends on the whole picture a little.
    `whole` is true where attention or pooling mixes all positions for good.
    """

    size: tuple[int, int] = (1, 1)
    jump: tuple[int, int] = (1, 1)
    start: tuple[float, float] = (0.0, 0.0)
    whole: bool = False

    def window(self, row: int, column: int, size: tuple[int, int]) -> tuple[int, int, int, int]:
        """The window of position (row, column) as (x0, y0, x1, y1), cut to a picture of `size` (h, w)."""
        if self.whole:
            return 0, 0, size[1], size[0]
        y0, x0 = (round(s + i * j) for s, i, j in zip(self.start, (row, column), self.jump, strict=True))
        y1, x1 = y0 + self.size[0], x0 + self.size[1]
        return max(0, x0), max(0, y0), min(size[1], x1), min(size[0], y1)


class Tap(str):
    """One activation site: (module, which call of it in a forward pass).

    A tap *is* its name, so it prints, compares and serves as a key like one. Names: `layer4` (the module's output),
    `layer1.0.relu@2` (third call of a module that is called several times), `features:relu` (the first such
    activation function that what comes out of `features` meets outside any module).

    Attributes:
        module: name of the module whose output is tapped. call: which call of it (0 = first).
        function: name of the activation function that follows it, or None.
        channels: K. size: (h, w) at the classifier's input size. layout: where the channels are in the raw tensor.
        activation: relu, relu6, silu, … or None for a linear site.
        before: where the value before the activation can be read (module, call, its input or output), if anywhere.
        receptive_field: see `ReceptiveField`. pooled_by: k if a k×k max-pool at stride k follows, else 1.
        bypassed: whether a skip connection or parallel branch goes around it (it does not carry the whole decision).
        prefix, tokens: of the layout "tokens" (N×s×d): the number of tokens in front of the h·w of the picture (class
            token, registers), and the length s of the sequence; 0 elsewhere.
    """

    module: str
    call: int
    function: str | None
    channels: int
    size: tuple[int, int]
    layout: Layout
    activation: str | None
    before: BeforeSite | None
    receptive_field: ReceptiveField
    pooled_by: int
    bypassed: bool
    prefix: int
    tokens: int

    def __new__(
        cls,
        module: str,
        call: int = 0,
        function: str | None = None,
        *,
        channels: int = 0,
        size: tuple[int, int] = (0, 0),
        layout: Layout = "channels-first",
        activation: str | None = None,
        before: BeforeSite | None = None,
        receptive_field: ReceptiveField | None = None,
        pooled_by: int = 1,
        bypassed: bool = False,
        prefix: int = 0,
        tokens: int = 0,
    ) -> Tap:
        tap = super().__new__(cls, tap_name(module, call, function))
        tap.module, tap.call, tap.function = module, call, function
        tap.channels, tap.size, tap.layout = channels, size, layout
        tap.activation, tap.before = activation, before
        tap.receptive_field = receptive_field or ReceptiveField()
        tap.pooled_by, tap.bypassed = pooled_by, bypassed
        tap.prefix, tap.tokens = prefix, tokens
        return tap

    @property
    def stride(self) -> int:
        """Input pixels from one position to the next."""
        return max(self.receptive_field.jump)

    @property
    def clipped(self) -> bool:
        """Whether the activation saturates (ReLU6): see `CLIPPED`."""
        return self.activation in CLIPPED


def tap_name(module: str, call: int, function: str | None) -> str:
    """`layer1.0.relu@2`, `features:relu` …"""
    return module + (f":{function}" if function else "") + (f"@{call}" if call else "")


def taps_table(stages: dict[str, Tap]) -> str:
    """The stages as a text table: stage, tap, resolution, channels, receptive field."""
    rows = [("stage", "tap", "resolution", "channels", "activation", "receptive field")]
    for stage, tap in stages.items():
        field = tap.receptive_field
        window = "whole picture" if field.whole else f"{field.size[0]}×{field.size[1]} px"
        size = f"{tap.size[0]}×{tap.size[1]}"
        rows.append((stage, str(tap), size, str(tap.channels), tap.activation or "", window))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows)
