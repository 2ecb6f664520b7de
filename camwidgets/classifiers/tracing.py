"""Finding taps: one forward pass of an example, watched operation by operation.

Watching operations (not module types) finds activations wherever they come from: modules, functions, in-place,
shared modules, and swish written out as x·σ(x). Beside every tensor a `Note` says whether it is a rectified
activation, at which spatial size, and which window of the input it sees.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakTensorKeyDictionary

from .activations import GATES, NONNEGATIVE, activation_of
from .guards import this_thread, unfused
from .notes import Note, channels_of, flat, layout_of, moved, padded, passed_by_everything
from .receptive import join, pair, slid
from .staging import choose_stages
from .taps import BeforeSite, Layout, Tap, tap_name

POOLS = {"max_pool2d_with_indices", "max_pool2d", "avg_pool2d"}
GLOBAL = {"mean", "_adaptive_avg_pool2d", "adaptive_max_pool2d", "_adaptive_avg_pool2d_backward"}
MIXING = {"bmm", "baddbmm", "_softmax", "_safe_softmax", "_native_multi_head_attention"}
FUSED = "_scaled_dot_product"  # how the names of all operations that compute an attention in one begin
# Operations that move or join values without computing new ones: a rectified tensor stays rectified.
MOVING = {
    "view", "_unsafe_view", "reshape", "permute", "transpose", "clone", "contiguous", "alias", "detach", "slice",
    "split", "split_with_sizes", "chunk", "select", "unbind", "expand", "squeeze", "unsqueeze", "t", "_to_copy",
    "dropout", "native_dropout", "_reshape_alias", "to", "flatten", "lift_fresh",
}  # fmt: skip

JOINING = {"cat", "add"}  # of rectified values: rectified too, but no activation function ran that could be tapped


@dataclass(frozen=True)
class Attention:
    """One attention of the pass: the tap whose values feed it, and how many tokens look at each other in it.

    Fewer than the tap has: attention within windows (Swin).
    """

    tap: Tap
    length: int

    @property
    def whole(self) -> bool:
        """Whether every token sees every other."""
        return self.tap.layout == "tokens" and self.length == self.tap.tokens


@dataclass
class Trace:
    """What one traced pass leaves: every tappable site, the stage taps, and the attentions in order."""

    taps: dict[str, Tap]
    stages: dict[str, Tap]
    attentions: tuple[Attention, ...] = ()


def trace(module: nn.Module, run: Callable[[], Any], input_size: tuple[int, int]) -> Trace:
    """Run `run()` (one forward pass of `module` on one picture, no gradients) and find its taps.

    Stages are numbered from the highest resolution; `staging.choose_stages` says which taps they are.
    """
    tracer = _Tracer(input_size)
    with _watch_modules(module, tracer), unfused(), tracer:
        run()
    return tracer.result()


class _Tracer(TorchDispatchMode):
    def __init__(self, input_size: tuple[int, int]) -> None:
        super().__init__()
        self.input_size = input_size
        self.notes: Any = WeakTensorKeyDictionary()
        self.made_by: Any = WeakTensorKeyDictionary()  # tensor -> (module, call) that it is the output of
        self.calls: Counter[str] = Counter()
        self.order: dict[tuple[str, int], int] = {}  # (module, call) -> when it returned
        self.anchors: Any = WeakTensorKeyDictionary()  # tensor -> (module, call) whose output it was computed from
        # module, call, whether it has children, whether it has weights, inputs
        self.stack: list[tuple[str, int, bool, bool, list[Tensor]]] = []
        self.sites: list[tuple[str, int, str | None, int, Layout, Note]] = []
        self.modules_sites: set[tuple[str, int]] = set()
        self.given: dict[tuple[str, int], tuple[str, int] | None] = {}  # (module, call) -> the anchor of its input
        self.attentions: list[tuple[tuple[str, int], int]] = []
        self.clock = 0
        self.every_note: list[Note] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        name = func._overloadpacket.__name__
        inputs = [a for a in flat(args) if isinstance(a, Tensor)]
        self.clock += 1
        length = _attention_length(name, inputs, out)
        if length:
            self._attended(length, inputs)
        made = self._note(name.rstrip("_") if not name.startswith("_") else name, inputs, args, kwargs or {}, out)
        if made is not None:
            made.born = made.last_use = self.clock
            made.pooled_by = 1
            self.every_note.append(made)
            anchor = self._anchor(inputs)
            for tensor in flat(out):
                if isinstance(tensor, Tensor):
                    self._remember(name, tensor, made, anchor)
        return out

    def _attended(self, length: int, inputs: list[Tensor]) -> None:
        """Remember the site that feeds this attention: what the innermost module with weights that runs was given.

        Where attention is written into the network itself: what the projection to queries was given.
        """
        given = [self.anchors.get(one[0]) for *_, weights, one in reversed(self.stack) if one and weights]
        projection = self._anchor(inputs)
        given += [self.given.get(projection), projection] if projection else []
        key = next((key for key in given if key in self.modules_sites), None)
        if key is not None:
            self.attentions.append((key, length))

    def _anchor(self, inputs: list[Tensor]) -> tuple[str, int] | None:
        """The last module call that one of these tensors comes from by way of functions alone."""
        found = [self.anchors[t] for t in inputs if t in self.anchors]
        return max(found, key=self.order.__getitem__) if found else None

    def _remember(self, name: str, tensor: Tensor, note: Note, anchor: tuple[str, int] | None) -> None:
        self.notes[tensor] = note
        self.anchors.pop(tensor, None)
        if name.endswith("_"):
            self.made_by.pop(tensor, None)  # changed in place: no longer what that module put out
        fresh = note.kind == "rectified" and note.born == self.clock and name.strip("_") not in MOVING | JOINING
        if not fresh:
            if anchor:
                self.anchors[tensor] = anchor
            return
        inside = bool(self.stack) and not self.stack[-1][2]
        layout = layout_of(tensor, note) if tensor.ndim == 4 and anchor and not inside else None
        if layout and anchor:
            self.sites.append((*anchor, note.activation, channels_of(tensor, layout), layout, note))

    def _note(self, name: str, inputs: list[Tensor], args: Any, kwargs: Any, out: Any) -> Note | None:
        for tensor in inputs:
            if tensor not in self.notes and tensor.ndim == 4 and tuple(tensor.shape[-2:]) == self.input_size:
                self.notes[tensor] = Note(size=self.input_size)  # the picture itself, coming from outside
        known = [self.notes[t] for t in inputs if t in self.notes]
        first = out[0] if isinstance(out, (tuple, list)) else out
        if not known or not isinstance(first, Tensor):
            return None
        for note in known:
            note.last_use = self.clock
        main = max(known, key=lambda note: (note.size[0] * note.size[1], note.prefix >= 0))
        joined = [note for note in known if note.size == main.size]
        fields = join([note.field for note in joined])
        base = Note(size=main.size, field=fields, prefix=main.prefix, others=main.others, last=main.last)
        if name in ("convolution", "_convolution", "mkldnn_convolution"):
            return self._conv(base, args, first)
        if name in POOLS:
            return self._pool(base, main, args, first)
        if name in GLOBAL:
            size = tuple(first.shape[-2:]) if first.ndim == 4 else (1, 1)
            return Note(size=size, field=replace(base.field, whole=True))  # type: ignore[arg-type]
        if name.startswith("upsample") or name in ("pixel_shuffle",):
            return Note(size=tuple(first.shape[-2:]), field=base.field)  # type: ignore[arg-type]
        if name in MIXING or name.startswith(FUSED):
            return replace(base, field=replace(base.field, whole=True))
        found = self._elementwise(name, base, main, joined, inputs, args, kwargs, first)
        return moved(name, found, inputs, args, kwargs, first) if name in MOVING or name == "cat" else found

    def _elementwise(
        self, name: str, base: Note, main: Note, joined: list[Note], inputs: list[Tensor], args: Any, kwargs: Any,
        first: Tensor,
    ) -> Note:  # fmt: skip
        if name == "constant_pad_nd":
            return replace(padded(base, args, first), kind="pooled" if main.kind else None)
        activation = activation_of(name, args, kwargs)
        if activation:
            return replace(base, kind="rectified", activation=activation, before=self._before(inputs[0]))
        if name in GATES:
            return replace(base, gate_of=(main, GATES[name]))
        swish = self._swish(inputs) if name == "mul" and len(inputs) == 2 else None
        if swish:
            return replace(base, kind="rectified", activation=swish[1], before=self._before(swish[0]))
        if name in MOVING:
            return replace(main, size=base.size, field=base.field)
        if name in JOINING and all(note.kind for note in joined):
            kind = "rectified" if any(note.kind == "rectified" for note in joined) else "pooled"
            positive = all(note.activation in NONNEGATIVE for note in joined)
            if name == "cat" or (positive and len(joined) > 1):
                return replace(base, kind=kind, activation=main.activation or joined[0].activation)
        return base

    def _swish(self, inputs: list[Tensor]) -> tuple[Tensor, str] | None:
        """x and the kind of activation, if these two factors are x and a gate σ(x) of the same x."""
        for x, other in (inputs, inputs[::-1]):
            gate = self.notes[other].gate_of if other in self.notes else None
            if gate and x in self.notes and gate[0] is self.notes[x]:
                return x, gate[1]
        return None

    def _before(self, tensor: Tensor) -> BeforeSite | None:
        """The input of the activation module that runs now, or (bare function) the output of the module before."""
        module, call, has_children, _, inputs = self.stack[-1] if self.stack else ("", 0, True, False, [])
        if not has_children:
            return (module, call, "input") if any(tensor is one for one in inputs) else None
        made = self.made_by.get(tensor)
        return (*made, "output") if made else None

    def _conv(self, base: Note, args: Any, out: Tensor) -> Note:
        kernel = tuple(args[1].shape[2:])
        if len(kernel) != 2 or args[6]:  # transposed: the window is not tracked
            return replace(base, size=tuple(out.shape[-2:]))  # type: ignore[arg-type]
        stride, padding, dilation = args[3], args[4], args[5]
        return Note(size=tuple(out.shape[-2:]), field=slid(base.field, kernel, stride, padding, dilation))  # type: ignore[arg-type]

    def _pool(self, base: Note, main: Note, args: Any, out: Tensor) -> Note:
        kernel = args[1]
        stride = args[2] if len(args) > 2 and args[2] else kernel
        padding = args[3] if len(args) > 3 else (0, 0)
        if list(kernel) == list(stride) and not any(pair(padding)) and len(set(pair(kernel))) == 1:
            main.pooled_by = pair(kernel)[0]
        kind = "pooled" if main.kind else None
        window = slid(base.field, kernel, stride, padding, (1, 1))
        return Note(kind=kind, activation=main.activation, size=tuple(out.shape[-2:]), field=window)  # type: ignore[arg-type]

    def entered(self, name: str, has_children: bool, weights: bool, inputs: Any) -> None:
        tensors = [t for t in flat(inputs) if isinstance(t, Tensor)]
        self.stack.append((name, self.calls[name], has_children, weights, tensors))
        self.given[name, self.calls[name]] = self.anchors.get(tensors[0]) if tensors else None
        self.calls[name] += 1

    def left(self, out: Any) -> None:
        name, call, *_ = self.stack.pop()
        self.order[name, call] = self.clock
        if name and isinstance(out, Tensor) and out in self.notes:
            note = self.notes[out]
            layout = layout_of(out, note)
            if layout:
                self.sites.append((name, call, None, channels_of(out, layout), layout, note))
                self.modules_sites.add((name, call))
            self.made_by[out] = self.anchors[out] = (name, call)

    def result(self) -> Trace:
        taps: dict[str, Tap] = {}
        passed = passed_by_everything(self.every_note)
        for module, call, function, channels, layout, note in self.sites:
            rectified, sequence = note.kind == "rectified", layout == "tokens"
            tap = Tap(
                module, call, function, channels=channels, size=note.size, layout=layout,
                before=note.before if rectified else None, activation=note.activation if rectified else None,
                receptive_field=note.field, pooled_by=note.pooled_by, bypassed=note.born not in passed,
                prefix=note.prefix if sequence else 0, tokens=note.tokens if sequence else 0,
            )  # fmt: skip
            if function and tap in taps:
                continue  # a second activation after the same module: a name means the first
            taps[tap] = tap
        attentions = tuple(Attention(taps[tap_name(*key, None)], length) for key, length in self.attentions)
        stages = choose_stages(list(taps.values()), [one.tap for one in attentions])
        return Trace(taps, stages, attentions)


def _attention_length(name: str, inputs: list[Tensor], out: Any) -> int:
    """How many tokens look at each other if this operation is an attention (the heart of one), else 0."""
    if name.startswith(FUSED):
        return int(inputs[0].shape[-2])
    if name == "_native_multi_head_attention":
        return int(inputs[0].shape[1])
    square = name in ("_softmax", "_safe_softmax") and out.ndim > 2 and out.shape[-1] == out.shape[-2] > 1
    return int(out.shape[-1]) if square else 0


@contextmanager
def _watch_modules(module: nn.Module, tracer: _Tracer) -> Iterator[None]:
    handles: list[Any] = []
    mine = this_thread()
    try:
        for name, child in module.named_modules():
            nested = any(True for _ in child.children())
            weights = any(True for _ in child.parameters())

            def enter(m: Any, given: Any, name: str = name, nested: bool = nested, weights: bool = weights) -> None:
                if mine():
                    tracer.entered(name, nested, weights, given)

            def leave(m: Any, given: Any, out: Any) -> None:
                if mine():
                    tracer.left(out)

            handles += [child.register_forward_pre_hook(enter), child.register_forward_hook(leave)]
        yield
    finally:
        for handle in handles:
            handle.remove()
