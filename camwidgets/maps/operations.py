"""Running a network with a rule of one's own for each of its operations.

Libraries that change how a network propagates backwards (zennit, captum) hang on *modules*, so that an addition, an
activation that is a function, or a module that is called twice escapes them, and models have to be rewritten by hand.
Here every operation on what comes from the input is seen as it is called, in the calling thread only, and can be run
as a small module of its own. The user's modules are neither copied nor touched; operations that work in place are run
out of place, and what they would have overwritten is replaced wherever it is used again.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from ..catcher import Catcher
from ..classifiers.activations import GATES, activation_of
from ..classifiers.checks import check_finite
from ..classifiers.guards import undisturbed

if TYPE_CHECKING:
    from ..classifiers.classifier import Classifier
    from ..classifiers.taps import Tap

SHAPING = frozenset((
    "alpha_dropout", "cat", "chunk", "clone", "concat", "concatenate", "contiguous", "detach", "dropout", "dropout1d",
    "dropout2d", "dropout3d", "expand", "expand_as", "feature_dropout", "flatten", "flip", "float", "double", "get",
    "getitem", "identity", "movedim", "narrow", "pad", "permute", "pixel_shuffle", "channel_shuffle", "reshape",
    "roll", "select", "split", "squeeze", "stack", "swapaxes", "t", "to", "transpose", "type", "type_as", "unbind",
    "unflatten", "unsqueeze", "view", "view_as",
))  # fmt: skip
SIGMOIDS = frozenset(GATES)
SEEN_DEVIATION = 1e-2  # of the largest logit: beyond this, what was rewritten is not the network (folding rounds)


class NoRule(ValueError):
    """The network does something that the method has no rule for."""


class Rewriting(TorchFunctionMode):
    """Sees every operation on descendants of the input; subclasses say in `operate` how each one is run.

    Attributes:
        known: id → every tensor that came out of an operation seen here (kept, so that ids stay theirs).
        gates: ids of the outputs of sigmoids. rectifiers: kinds of activation met, sigmoids apart.
    """

    def __init__(self, network: str) -> None:
        super().__init__()
        self.network = network
        self.known: dict[int, Tensor] = {}
        self.gates: set[int] = set()
        self.rectifiers: set[str] = set()
        # id of a tensor overwritten in place → (itself, so that the id stays its own; what it holds now)
        self._instead: dict[int, tuple[Tensor, Tensor]] = {}

    def begin(self, x: Tensor) -> Tensor:
        """The leaf whose descendants are seen."""
        x = x.detach().clone().requires_grad_()
        self.known[id(x)] = x
        return x

    def check(self, name: str, live: list[Tensor]) -> None:
        """Refuse what has no rule because it cannot be seen, or works on a part of a tensor."""
        if any(id(t) not in self.known for t in live):
            raise NoRule(
                f"{self.network} computes something before {name} that cannot be seen operation by operation "
                f"(TorchScript, a custom autograd function)"
            )
        if name == "setitem":
            raise NoRule(f"{self.network} writes into a part of a tensor, and there is no rule for that")

    def operate(self, name: str, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], live: list[Tensor]) -> Any:
        """Run one operation on the tensors `live` that come from the input. `name`: without underscores."""
        raise NotImplementedError

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        args = self._current(args)
        kwargs = self._current(kwargs or {})
        # A weight of inference mode may say that it asks for gradients; it never gets any.
        live = [t for t in _tensors([args, kwargs]) if t.requires_grad and not t.is_inference()]
        if not live or not torch.is_grad_enabled():
            return func(*args, **kwargs)
        called = getattr(func, "__name__", str(func))
        name = called.strip("_")
        self.check(name, live)
        if name == "copy" and isinstance(args[1], Tensor):
            same = args[1].shape == args[0].shape
            return self._keep(args[1] if same else args[1].expand_as(args[0]), args[0])
        in_place = _works_in_place(called, args, kwargs)
        name = name[1:] if called.startswith("__i") and name in ("iadd", "imul", "isub", "idiv") else name
        run = _out_of_place(func) if in_place else func
        result = self.operate(name, run, args, kwargs, live)
        if name in SIGMOIDS and isinstance(result, Tensor):
            self.gates.add(id(result))
        return self._keep(result, (args[0] if args else kwargs["input"]) if in_place else None)

    def activation(self, name: str, args: Any, kwargs: Any) -> str | None:
        """The kind of rectifier that an operation is, "sigmoid" for gates, or None."""
        kind = "sigmoid" if name in SIGMOIDS else activation_of(name, args, kwargs)
        if kind and kind != "sigmoid":
            self.rectifiers.add(kind)
        return kind

    def _keep(self, result: Any, overwritten: Any) -> Any:
        for tensor in _tensors(result):
            self.known[id(tensor)] = tensor
        if isinstance(overwritten, Tensor):
            self._instead[id(overwritten)] = overwritten, result
        return result

    def _current(self, value: Any) -> Any:
        """The same arguments with tensors that were overwritten in place replaced by what they hold now."""
        if not self._instead:
            return value
        if isinstance(value, Tensor):
            while id(value) in self._instead and self._instead[id(value)][1] is not value:
                value = self._instead[id(value)][1]
            return value
        if isinstance(value, (list, tuple)) and type(value) in (list, tuple):
            return type(value)(self._current(one) for one in value)
        if isinstance(value, dict):
            return {key: self._current(one) for key, one in value.items()}
        return value

    def forget(self) -> None:
        """Let go of every tensor: hooks on a graph refer back to it by ways that Python's collector cannot see."""
        self.known.clear()
        self._instead.clear()
        self.gates.clear()

    def finish(self, logits: Tensor) -> Tensor:
        """The logits, if everything between the input and them was seen."""
        logits = self._current(logits)
        if id(logits) not in self.known:
            raise NoRule(f"{self.network} cannot be seen operation by operation (TorchScript, a compiled network)")
        return logits


class _OutOfPlace(Rewriting):
    """Nothing but that: every operation that works in place is run out of place."""

    def check(self, name: str, live: list[Tensor]) -> None:
        return

    def operate(self, name: str, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], live: list[Tensor]) -> Any:
        return func(*args, **kwargs)

    def _keep(self, result: Any, overwritten: Any) -> Any:
        super()._keep(result, overwritten)
        self.known.clear()
        return result


def logits_out_of_place(classifier: Classifier, x: Tensor) -> Tensor:
    """The N×C logits; gradients reach x also where the network works in place behind somebody's backward hook.

    (Autograd refuses that: "Output 0 of BackwardHookFunction is a view and is being modified inplace".)
    """
    rewriting = _OutOfPlace(classifier.name)
    try:
        with rewriting:
            logits = classifier.logits(x)
        found: Tensor = rewriting._current(logits)
        return found
    finally:
        rewriting.forget()


@contextmanager
def rewritten(
    classifier: Classifier, rewriting: Rewriting, x: Tensor, tap: Tap | None = None
) -> Iterator[tuple[Tensor, Tensor]]:
    """One forward pass of `x` under `rewriting`, without autocast: (site, N×C logits), graph attached.

    The site is what the tap holds, or the input where no tap is given.

    Raises:
        NoRule: an operation has no rule, or the logits are not those of the network itself.
    """
    plain = copy.copy(classifier)  # the wrapper, not the network: autocast is left aside
    plain.dtype = None
    with (
        classifier.lock, torch.inference_mode(False), torch.enable_grad(), undisturbed(classifier.module),
        ExitStack() as stack,
    ):  # fmt: skip
        stack.callback(rewriting.forget)
        with torch.no_grad():
            expected = plain.logits(x)
        check_finite(expected, classifier.name)
        leaf = rewriting.begin(x)
        catcher = Catcher([tap] if tap is not None else [], twice=False)
        with rewriting, catcher.attached(classifier.module):
            logits = plain.logits(leaf)
        logits = rewriting.finish(logits)
        if float((logits.detach() - expected).abs().max()) > SEEN_DEVIATION * float(expected.abs().max()):
            raise NoRule(f"{classifier.name} answers something else when it is run operation by operation")
        yield leaf if tap is None else catcher.sites[tap], logits


def trial_input(classifier: Classifier) -> Tensor:
    """A preprocessed picture of noise, to try a network with; the global random state is untouched."""
    values = torch.randn((1, 3, *classifier.input_size), generator=torch.Generator().manual_seed(3))
    return classifier.preprocess(values)


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [t for one in value for t in _tensors(one)] if isinstance(value, (list, tuple)) else []


def _works_in_place(called: str, args: Any, kwargs: Any) -> bool:
    if called.startswith("__i") and called in ("__iadd__", "__imul__", "__isub__", "__idiv__"):
        return True
    return (called.endswith("_") and not called.endswith("__")) or kwargs.get("inplace") is True


def _out_of_place(func: Any) -> Any:
    def run(*args: Any, **options: Any) -> Any:
        first = args[0] if args else options.pop("input")
        return func(first.clone(), *args[1:], **options)

    return run
