"""Catching the tapped tensors of one forward pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from .classifiers.activations import GATES, PRODUCTS, activation_of
from .classifiers.guards import this_thread, unfused
from .classifiers.taps import Tap


class Catcher(TorchFunctionMode):
    """Keeps the tapped tensors of one pass; where the network may overwrite them, it is handed copies."""

    def __init__(self, taps: Sequence[Tap], twice: bool) -> None:
        super().__init__()
        self.wanted = {(tap.module, tap.call): tap for tap in taps if not tap.function}
        self.functions = {(tap.module, tap.call): tap for tap in taps if tap.function}
        self.sequences = any(tap.layout == "tokens" for tap in taps)
        self.twice = twice
        self.calls: Counter[str] = Counter()
        self.sites: dict[str, Tensor] = {}
        self.versions: dict[str, int] = {}
        self.awaited: list[tuple[Tensor, Tap]] = []  # outputs whose activation function is still to come
        self.given: tuple[Tensor, Tensor] | None = None  # of a module in place: its input, the copy it works on

    @contextmanager
    def attached(self, module: nn.Module) -> Iterator[None]:
        names = {name for name, _ in (*self.wanted, *self.functions)}
        mine = this_thread()
        with ExitStack() as stack:
            for name in names:
                child = module.get_submodule(name)
                if getattr(child, "inplace", False) is True:
                    before = child.register_forward_pre_hook(
                        lambda m, i, name=name: self.enter_in_place(name, i) if mine() else None
                    )
                    stack.callback(before.remove)
                handle = child.register_forward_hook(
                    lambda m, i, out, name=name: self.hook(name, out) if mine() else None
                )
                stack.callback(handle.remove)
            if self.functions:
                stack.enter_context(self)
            elif self.sequences:
                stack.enter_context(unfused())
            yield

    def enter_in_place(self, name: str, args: Any) -> Any:
        """A tapped module in place works on a copy: its return value may be ignored (`self.relu(x)` as a statement)."""
        self.given = None
        if (name, self.calls[name]) not in self.wanted or not args or not isinstance(args[0], Tensor):
            return None
        self.given = args[0], args[0].clone()
        return self.given[1], *args[1:]

    def hook(self, name: str, out: Any) -> Any:
        key = (name, self.calls[name])
        self.calls[name] += 1
        if key in self.functions and isinstance(out, Tensor):
            self.awaited.append((out, self.functions[key]))
        if key not in self.wanted:
            return None
        if not isinstance(out, Tensor):
            raise ValueError(f"the tap {name!r} returns a {type(out).__name__}, not a tensor; tap a module inside it")
        x = self.given[0] if self.given is not None and out is self.given[1] else None
        self.given = None
        kept = self.keep(self.wanted[key], out)
        out = kept if x is None else overwritten(x, kept)
        if key in self.functions:
            self.awaited.append((out, self.functions[key]))
        return out

    def keep(self, tap: Tap, out: Tensor) -> Tensor:
        site = out.clone() if self.twice else out
        begins = not site.requires_grad  # nothing asked for a gradient above: the graph begins here
        if begins:
            site = site.detach().requires_grad_()
        self.sites[tap], self.versions[tap] = site, site._version
        # A leaf and a linear value (which an activation often overwrites) are handed on as copies; a rectified one
        # is hardly ever overwritten: it goes as it is, and if it was, `_pass` sees its version and starts again.
        return site.clone() if begins or self.twice or tap.activation is None else site

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        inputs = [t for t in (*args, *kwargs.values()) if isinstance(t, Tensor)]
        waiting = [(t, tap) for t, tap in self.awaited if any(t is one for one in inputs) and tap not in self.sites]
        tap = next((tap for _, tap in waiting if self.is_tap(func, tap, inputs, args, kwargs)), None)
        if tap is not None:
            self.awaited = [(t, one) for t, one in self.awaited if one is not tap]
            return self.keep_function(tap, func, args, kwargs)
        result = func(*args, **kwargs)
        for out in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(out, Tensor) and out.is_floating_point():
                self.awaited += [(out, tap) for _, tap in waiting if not any(out is t for t, _ in self.awaited)]
        return result

    def is_tap(self, func: Any, tap: Tap, inputs: list[Tensor], args: Any, kwargs: Any) -> bool:
        """Whether this call of a function is the activation that the tap is named after."""
        name = getattr(func, "__name__", "").strip("_")
        if name in PRODUCTS:  # x·σ(x), written out: both factors come from the tapped module
            mine = {id(t) for t, one in self.awaited if one is tap}
            return tap.function in GATES.values() and len(inputs) == 2 and all(id(t) in mine for t in inputs)
        return activation_of(name, args, kwargs) == tap.function

    def keep_function(self, tap: Tap, func: Any, args: Any, kwargs: Any) -> Tensor:
        """Run an activation function and keep what it returns.

        One that works in place may have its return value ignored (`x.relu_()` as a statement), so it works on a copy
        and `x` becomes a copy of the site.
        """
        name = getattr(func, "__name__", "")
        marked = name.startswith("__i") or (name.endswith("_") and not name.endswith("__"))
        if not marked and not any(value is True for value in (*args, kwargs.get("inplace"))):
            return self.keep(tap, func(*args, **kwargs))
        x = args[0] if args else kwargs["input"]
        if args:
            args = (x.clone(), *args[1:])
        else:
            kwargs = {**kwargs, "input": x.clone()}
        return overwritten(x, self.keep(tap, func(*args, **kwargs)))


def overwritten(x: Tensor, kept: Tensor) -> Tensor:
    """`x` with the values of `kept`; `kept` alone where it is of another size (put in from elsewhere)."""
    return x.copy_(kept) if x.shape == kept.shape else kept
