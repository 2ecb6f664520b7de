"""A classifier: a module, its preprocessing, its labels, its taps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import unknown
from ..images import ImageSource, open_image
from .checks import check_channels, check_finite, checked, fingerprint, hash_of, joined, named, one_each
from .guards import autocast, call, every_tensor, structure, undisturbed
from .locking import ModuleLock
from .preprocessing import Preprocess
from .taps import Tap, taps_table
from .targets import Prediction, checked_index, index_of_label
from .tracing import Attention, Trace, trace

Target = Any  # class index, label, callable on one picture's logits, or None for the top class


class Classifier:
    """What is explained: an image classifier with all that is needed to feed it and to name what it answers.

    Made by `camwidgets.load` or `camwidgets.wrap`. The module is the user's own object and is never changed: training
    flags, `requires_grad`, `.grad`, buffers and hooks are after every call what they were before.

    Attributes:
        module: the network. name: how it is called in tables and files. labels: one per logit.
        preprocessing: picture → tensor. input_size: (h, w). stages: "S1" (shallow) … → `Tap`. taps: all sites.
        dtype: autocast precision (`torch.bfloat16`, `torch.float16`) or None.

    Example:
        >>> import camwidgets
        >>> classifier = camwidgets.load("efficientnet_lite0")
        >>> classifier.predict(camwidgets.samples.picture("cat"), k=1)[0].label
        'tiger cat'
    """

    def __init__(
        self,
        module: nn.Module,
        preprocessing: Preprocess,
        labels: Sequence[str] | Mapping[Any, str] | None = None,
        *,
        name: str = "",
        input_size: tuple[int, int] = (224, 224),
        output: Callable[[Any], Tensor] | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        self.module = module
        self.preprocessing = preprocessing
        self.name = name or type(module).__name__
        self.input_size = input_size
        self.dtype = dtype
        self._given_labels = named(labels)
        self._output = output
        self._hash: tuple[Any, str] = (None, "")
        self._gap: tuple[Any, Tensor | None] = (None, None)
        self._known: tuple[Any, tuple[Trace, int]] | None = None

    @property
    def lock(self) -> ModuleLock:
        """One pass at a time through the module: `with classifier.lock:`.

        Every pass of this package takes it; it is the same for every classifier of the module, and for those whose
        module shares a part with it. A pass sets evaluation mode and `requires_grad` for as long as it lasts, so that
        a training loop of your own beside an explorer takes it too, around each step; the same thread may take it
        again.

        Example:
            >>> import camwidgets
            >>> classifier = camwidgets.load("toy")
            >>> with classifier.lock:
            ...     steps = 1  # optimizer.zero_grad(); loss(classifier.module(x), y).backward(); optimizer.step()
        """
        return ModuleLock(self.module)

    def __repr__(self) -> str:
        parameters = sum(p.numel() for p in self.module.parameters())
        head = f"{self.name}: {len(self.labels)} classes, {parameters / 1e6:.1f} M parameters, on {self.device}"
        return f"{head}\n{taps_table(self.stages)}"

    @property
    def device(self) -> torch.device:
        tensor: Tensor | None = next(self.module.parameters(), None)
        tensor = next(self.module.buffers(), None) if tensor is None else tensor
        return torch.device("cpu") if tensor is None else tensor.device

    def to(self, device: str | torch.device) -> Classifier:
        """Move the module to `device` ("cpu", "cuda", "mps" …) and return self."""
        self.module.to(device)
        return self

    def autocast(self, dtype: torch.dtype | None) -> Classifier:
        """Run forward passes in `dtype` (bfloat16, float16) by autocast, or None for full precision; returns self."""
        self.dtype = dtype
        return self

    def prepared(self) -> Classifier:
        """A faster private copy: BatchNorm folded into the convolutions, channels last in memory; self is untouched.

        Stages and taps keep their names. Logits and maps agree with the original's to about 1e-6 of their size, single
        positions of a map to about 1e-3: sums are rounded in another order, and a ReLU at 0 may fall the other way.
        Taps between a convolution and its BatchNorm are refused. Later changes of the original's weights do not reach
        the copy.

        Example:
            >>> import camwidgets
            >>> camwidgets.load("efficientnet_lite0").prepared().stages["S5"]
            'head'
        """
        from .prepared import prepare

        return prepare(self)

    @property
    def taps(self) -> dict[str, Tap]:
        """Every tappable site in the order of the forward pass: name → `Tap`."""
        return self._trace.taps

    @property
    def stages(self) -> dict[str, Tap]:
        """The stages, shallow to deep: "S1" → `Tap` …

        A stage holds all layers of one spatial resolution; in a transformer of one resolution, some of its blocks.
        """
        return self._trace.stages

    @property
    def attentions(self) -> tuple[Attention, ...]:
        """Every attention in the order of the forward pass: the tap that feeds it, and how many tokens it joins."""
        return self._trace.attentions

    @property
    def labels(self) -> list[str]:
        """One label per logit."""
        count = self._traced[1]
        if self._given_labels is None:
            return [f"class {i}" for i in range(count)]
        if len(self._given_labels) != count:
            raise ValueError(
                f"{len(self._given_labels)} labels were given for a network with {count} classes; wrap it with {count} "
                f"labels, or none"
            )
        return self._given_labels

    @property
    def _trace(self) -> Trace:
        return self._traced[0]

    @property
    def _traced(self) -> tuple[Trace, int]:
        """The taps and the number of classes, found by one pass over noise; again when the network was rebuilt."""
        built = structure(self.module)
        if self._known is None or self._known[0] != built:
            with self.lock:
                found = self._traced_anew()
                self._known = structure(self.module), found  # a lazy layer has its shape by now
                return found
        return self._known[1]

    def _traced_anew(self) -> tuple[Trace, int]:
        """By one pass over noise; the global random state is untouched."""
        noise = torch.randn((1, 3, *self.input_size), generator=torch.Generator().manual_seed(0))
        classes = 0

        def run() -> None:
            nonlocal classes
            classes = self.logits(self._on_device(noise)).shape[1]

        with self.lock, torch.inference_mode(False), torch.no_grad(), undisturbed(self.module):
            try:
                found = trace(self.module, run, self.input_size)
            except RuntimeError as error:
                check_channels(self.module, self.name, error)
                raise
        return found, classes

    def tap(self, name: str) -> Tap:
        """The tap of that name or stage; `ValueError` with the nearest valid name otherwise."""
        if name in self.stages:
            return self.stages[name]
        if name not in self.taps:
            raise unknown("tap", name, [*self.stages, *self.taps])
        return self.taps[name]

    def select(self, taps: str | Iterable[str]) -> dict[str, Tap]:
        """Named taps: "stages" gives all stages; otherwise stage and tap names, alone or in a list; shallow to deep."""
        if isinstance(taps, str) and taps == "stages":
            if not self.stages:
                raise ValueError(
                    f"{self.name} has no spatial activations to tap by itself; name taps out of `classifier.taps`"
                )
            return dict(self.stages)
        names = [taps] if isinstance(taps, str) else list(taps)
        if not names:
            raise ValueError(f"no stage was given; this network has: {', '.join(self.stages) or 'none'}")
        stage_of = {str(tap): stage for stage, tap in self.stages.items()}
        chosen = {str(name) if name in self.stages else stage_of.get(name, str(name)): self.tap(name) for name in names}
        depth = {tap: i for i, tap in enumerate(self.taps)}
        return dict(sorted(chosen.items(), key=lambda item: depth[item[1]]))

    def index(self, target: int | str) -> int:
        """The class index of a target: an index in range, or a label."""
        if isinstance(target, str):
            return index_of_label(target, self.labels)
        return checked_index(target, self._traced[1], self.name)

    def check_target(self, target: Target) -> None:
        """Raise what a target that is not valid deserves, before anything is run for it."""
        if target is None or callable(target):
            return
        for one in target if one_each(target) else [target]:
            self.index(one)

    def preprocess(self, image: ImageSource) -> Tensor:
        """A picture (or list of pictures, or an already preprocessed tensor) to an N×3×h×w tensor on the device."""
        if isinstance(image, Tensor):
            return self._on_device(checked(image))
        if isinstance(image, (list, tuple)):
            if not image:
                raise ValueError("an empty list of pictures was given")
            return joined([self.preprocess(one) for one in image])
        return self._on_device(self.preprocessing(open_image(image))[None])

    def _on_device(self, x: Tensor) -> Tensor:
        weight = next((p for p in self.module.parameters() if p.is_floating_point()), None)
        x = x.detach().to(self.device, torch.float32 if weight is None else weight.dtype)
        return x.clone() if x.is_inference() else x

    def pictures(self, x: Tensor) -> list[np.ndarray]:
        """What the network saw: each picture of the batch `x` as h×w×3 uint8."""
        return [self.preprocessing.show(one) for one in x]

    def logits(self, x: Tensor) -> Tensor:
        """The N×C logits of a preprocessed batch, in the caller's gradient mode and the module's own state."""
        with autocast(self.device, self.dtype):
            out = call(self.module, x)
        out = self._output(out) if self._output else out
        if not isinstance(out, Tensor):
            keys = f" with keys {list(out)}" if isinstance(out, dict) else ""
            raise TypeError(
                f"{self.name} returns a {type(out).__name__}{keys}, not a tensor of logits; pick them out with "
                f"wrap(module, output=lambda out: …)"
            )
        if out.ndim != 2:
            raise ValueError(f"{self.name} returns logits of shape {tuple(out.shape)}; N×classes is needed")
        return out

    def predict(self, image: ImageSource, k: int = 5) -> list[Prediction]:
        """The k most probable classes of one picture, most probable first."""
        x = self.preprocess(image)
        if len(x) != 1:
            raise ValueError(f"predict takes one picture; got a batch of {len(x)}")
        with self.lock, torch.inference_mode(False), torch.no_grad(), undisturbed(self.module):
            logits = self.logits(x)[0].float().cpu()
        return self.ranked(logits, k)

    def ranked(self, logits: Tensor, k: int = 5) -> list[Prediction]:
        """The k most probable classes of one vector of logits."""
        check_finite(logits, self.name)
        probabilities = logits.softmax(0)
        best = probabilities.argsort(descending=True, stable=True)[: max(1, int(k))].tolist()
        return [Prediction(i, self.labels[i], float(probabilities[i]), float(logits[i])) for i in best]

    def gap_weights(self) -> Tensor | None:
        """The C×K weights of a final `Linear` that is fed by global average pooling of the deepest tap, else None.

        Tested, not guessed from names: weights · mean(A) + bias must reproduce the logits on a random input. Tested
        again only when a weight has changed.
        """
        from .head import gap_linear

        seen = self._fingerprints()
        if self._gap[0] != seen:
            self._gap = (seen, gap_linear(self))
        return self._gap[1]

    def _fingerprints(self) -> tuple[Any, ...]:
        return tuple(map(fingerprint, every_tensor(self.module)))

    def weights_hash(self, *, anew: bool = False) -> str:
        """SHA-256 over all parameters and buffers (names, shapes, bytes); recomputed only when one has changed.

        A write to part of a tensor through `.data`, which PyTorch does not count, may go unnoticed; `anew` reads every
        byte, whatever is known (15 ms for 5 million parameters).
        """
        seen = self._fingerprints()
        if anew or self._hash[0] != seen:
            state = self.module.state_dict()
            counted = all(isinstance(value, Tensor) for value in state.values())  # else a change may go unseen
            self._hash = (seen if counted else None, hash_of(state))
        return self._hash[1]
