"""What a trace knows of a tensor: its activation, its place in the picture, and the tokens it is made of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from .receptive import enlarged, slid
from .taps import BeforeSite, Layout, ReceptiveField


@dataclass
class Note:
    """What is known of one tensor during the trace."""

    kind: str | None = None  # "rectified", "pooled" (moved down a resolution since) or None
    activation: str | None = None
    before: BeforeSite | None = None  # where the value before the activation can be read
    size: tuple[int, int] = (1, 1)
    field: ReceptiveField = field(default_factory=ReceptiveField)
    gate_of: tuple[Note, str] | None = None  # (x, kind) where this is σ(x): x·σ(x) is a swish
    pooled_by: int = 1
    born: int = 0  # the operation that made it
    last_use: int = 0  # the last operation that read it
    prefix: int = 0  # tokens in front of those of the picture (class token, registers)
    others: int = 0  # all tokens that are not of the picture: those in front and those behind
    last: bool = False  # channels last, where the shape alone does not tell (as many channels as rows)

    @property
    def tokens(self) -> int:
        """How many tokens a sequence of this has."""
        return self.size[0] * self.size[1] + self.others


def layout_of(tensor: Tensor, note: Note) -> Layout | None:
    """Where the channels are, told by where the known spatial size (or number of tokens) stands in the shape."""
    if tensor.ndim == 3:
        sequence = tensor.shape[0] == 1 and tensor.shape[1] == note.tokens and note.prefix >= 0
        return "tokens" if sequence and note.size != (1, 1) else None
    if tensor.ndim != 4:
        return None
    first, last = tuple(tensor.shape[2:]) == note.size, tuple(tensor.shape[1:3]) == note.size
    if first and not (last and note.last):
        return "channels-first"
    return "channels-last" if last else None


def channels_of(tensor: Tensor, layout: Layout) -> int:
    """K of a tensor whose layout is known."""
    return int(tensor.shape[1] if layout == "channels-first" else tensor.shape[-1])


def moved(name: str, note: Note, inputs: list[Tensor], args: Any, kwargs: Any, out: Tensor) -> Note:
    """The note of values that only changed places: cut into patches, or into a sequence with other tokens.

    Token bookkeeping is for sequences 1×s×d. `cat` puts class and register tokens in front, a slice takes them off.
    """
    if out.ndim == 3 and name in ("cat", "slice"):
        return _joined(note, inputs, args, kwargs, out) if name == "cat" else _cut(note, inputs[0], args, out)
    if out.ndim == 4 and name == "slice":
        return _cropped(note, inputs[0], args, out)
    if out.ndim == 4:
        note = replace(note, last=_channels_last(name, note, inputs[0], args))
    if out.ndim not in (3, 4) or out.shape[0] != 1 or layout_of(out, note) is not None:
        return note
    k = _reduction(note, out)
    return replace(note, size=(note.size[0] // k, note.size[1] // k), field=enlarged(note.field, k)) if k > 1 else note


def _channels_last(name: str, note: Note, given: Tensor, args: Any) -> bool:
    if name == "permute" and given.ndim == 4:
        order = [dim % 4 for dim in args[1]]
        return order == [0, 2, 3, 1] or (note.last and order != [0, 3, 1, 2])
    return note.last or (given.ndim == 3 and layout_of(given, note) == "tokens")


def _joined(note: Note, inputs: list[Tensor], args: Any, kwargs: Any, out: Tensor) -> Note:
    dim = args[1] if len(args) > 1 else kwargs.get("dim", 0)
    place = next((i for i, t in enumerate(inputs) if layout_of(t, note) == "tokens"), None)
    if dim % 3 != 1 or place is None or note.prefix < 0:
        return note
    front = sum(t.shape[1] for t in inputs[:place])
    return replace(note, prefix=note.prefix + front, others=out.shape[1] - note.size[0] * note.size[1])


def _cut(note: Note, given: Tensor, args: Any, out: Tensor) -> Note:
    dim, start, _ = _slice(args, given)
    if dim != 1 or layout_of(given, note) != "tokens":
        return note
    others = out.shape[1] - note.size[0] * note.size[1]
    kept = start <= note.prefix and others >= note.prefix - start
    return replace(note, prefix=note.prefix - start, others=others) if kept else replace(note, prefix=-1)


def _cropped(note: Note, given: Tensor, args: Any, out: Tensor) -> Note:
    """A map of which rows or columns were left out, at an edge or every other one."""
    layout = layout_of(given, note)
    dim, start, step = _slice(args, given)
    first = 2 if layout == "channels-first" else 1
    axis = dim - first
    if layout is None or axis not in (0, 1) or out.shape[dim] == given.shape[dim]:
        return note
    size = (out.shape[first], out.shape[first + 1])
    steps = (step, 1) if axis == 0 else (1, step)
    window = slid(note.field, (1, 1), steps, (-start, 0) if axis == 0 else (0, -start), (1, 1))
    return replace(note, size=size, field=window)


def _slice(args: Any, given: Tensor) -> tuple[int, int, int]:
    """Dimension, first index and step of `slice(given, dim, start, end, step)`."""
    dim = (args[1] if len(args) > 1 else 0) % given.ndim
    start = (args[2] if len(args) > 2 else None) or 0
    return dim, start % given.shape[dim], args[4] if len(args) > 4 else 1


def _reduction(note: Note, out: Tensor) -> int:
    """k where k×k positions became one (patches cut by reshaping, Swin's merging of patches), else 1."""
    h, w = note.size
    if out.ndim == 3:  # only the picture itself: other tensors meet such numbers by chance
        patches = out.shape[1]
        k = round((h * w / patches) ** 0.5) if note.field.size == (1, 1) and 1 < patches < h * w else 1
        return k if h % k == 0 and w % k == 0 and (h // k) * (w // k) == patches else 1
    for down in (tuple(out.shape[2:]), tuple(out.shape[1:3])):
        k = h // down[0] if down[0] else 1
        if k > 1 and (down[0] * k, down[1] * k) == (h, w):
            return k
    return 1


def padded(base: Note, args: Any, out: Tensor) -> Note:
    """The note behind a padding of the spatial dimensions."""
    pads = [*args[1], 0, 0, 0, 0]
    channels_last = tuple(args[0].shape[1:3]) == base.size
    left, top = (pads[2], pads[4]) if channels_last else (pads[0], pads[2])
    size = out.shape[1:3] if channels_last else out.shape[-2:]
    jump, start = base.field.jump, base.field.start
    shifted = replace(base.field, start=(start[0] - top * jump[0], start[1] - left * jump[1]))
    return replace(base, size=tuple(size), field=shifted)  # type: ignore[arg-type]


def passed_by_everything(notes: list[Note]) -> set[int]:
    """The operations after whose result no earlier value is read any more: all later values depend on it alone."""
    passed, latest = set(), 0
    for note in notes:
        if latest <= note.born:
            passed.add(note.born)
        latest = max(latest, note.last_use)
    return passed


def flat(value: Any) -> Iterator[Any]:
    """All items of nested lists and tuples."""
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from flat(item)
    else:
        yield value
