"""Adversarial examples: pictures changed by at most ε so that the network errs ([000] 5.3.2.2)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ..classifiers.checks import check_finite, one_each
from ..classifiers.classifier import Classifier, Prediction, Target
from ..classifiers.given import check_classifier
from ..classifiers.guards import undisturbed
from ..decomposition.tree import decompose
from ..errors import choose, plain
from ..images import ImageSource
from .attacks import METHODS, AttackFunction, Ball, Steps, checked_result, fgsm, pgd
from .pixels import PixelModel, PixelSpace

if TYPE_CHECKING:
    from ..decomposition.diff import TreeDiff

BATCH = 8  # pictures attacked together: a pass with its graph takes some 100 MB a picture
SHOWN = 5  # classes of a prediction


@dataclass(frozen=True)
class Attack:
    """Pictures before and after an attack.

    Attributes:
        classifier: what was attacked. clean, adversarial: N×3×h×w network inputs.
        perturbation: N×3×h×w, in units of the full pixel range, |δ| ≤ ε by `norm`.
        classes: N class indices: moved away from or, if `targeted`, towards.
        before, after: N predictions, each the top 5. success: N: whether the class was left (`targeted`: reached).
        losses: (steps + 1)×N cross-entropies along the way (before and after only, for an attack given as a function).
        method, eps, norm, targeted, seed: how it was made.
    """

    classifier: Classifier = field(repr=False)
    clean: Tensor = field(repr=False)
    adversarial: Tensor = field(repr=False)
    perturbation: Tensor = field(repr=False)
    classes: tuple[int, ...]
    before: tuple[list[Prediction], ...] = field(repr=False)
    after: tuple[list[Prediction], ...] = field(repr=False)
    success: tuple[bool, ...]
    losses: Tensor = field(repr=False)
    method: str
    eps: float
    norm: str
    targeted: bool
    seed: int

    def __len__(self) -> int:
        return len(self.clean)

    def __str__(self) -> str:
        first, then = self.before[0][0], self.after[0][0]
        told = f"{first.label!r} {first.probability:.1%} → {then.label!r} {then.probability:.1%}"
        return f"{self.method}, ε = {self.eps:.4g} ({self.norm}): {told}" if len(self) == 1 else self._counted()

    def _counted(self) -> str:
        return f"{self.method}, ε = {self.eps:.4g} ({self.norm}): {sum(self.success)} of {len(self)} pictures broken"

    @property
    def pictures(self) -> list[np.ndarray]:
        """The clean pictures as the network saw them, h×w×3 uint8."""
        return self.classifier.pictures(self.clean)

    @property
    def adversarial_pictures(self) -> list[np.ndarray]:
        """The attacked pictures, rounded to 8 bits."""
        return self.classifier.pictures(self.adversarial)

    def amplified(self, i: int = 0) -> np.ndarray:
        """Perturbation i as a picture, h×w×3 uint8: grey = unchanged, its largest change at the end of the range."""
        delta = self.perturbation[i].float().cpu()
        scaled = 0.5 + 0.5 * delta / delta.abs().max().clamp(min=1e-12)
        return np.ascontiguousarray((scaled * 255).round().to(torch.uint8).permute(1, 2, 0).numpy())

    def tree_diff(self, i: int = 0, target: Target = None, **how: Any) -> TreeDiff:
        """From the tree of clean picture i to that of the attacked one; `how` as for `decompose`.

        Args:
            target: the class of both trees; None = what each picture is taken for.
        """
        pictures = self.clean[i : i + 1], self.adversarial[i : i + 1]
        clean, attacked = (decompose(self.classifier, x, target, **how) for x in pictures)
        return clean.diff(attacked)


def attack(
    classifier: Classifier,
    image: ImageSource,
    target: Target = None,
    eps: float = 4 / 255,
    norm: str = "linf",
    steps: int = 20,
    targeted: bool = False,
    seed: int = 0,
    method: str | AttackFunction = "pgd",
    *,
    step_size: float | None = None,
    restarts: int = 1,
    watch: Callable[[], None] | None = None,
) -> Attack:
    """Change a picture by at most ε so that the network errs. See `camwidgets.investigate.attacks` for the formulas.

    Args:
        image: a picture, a list of them, or a preprocessed N×3×h×w tensor.
        target: the class to move away from (None: what the network predicts) or, `targeted`, towards; one for all
            pictures, or one each. eps, norm: see `Ball`; ε is in units of the full pixel range, for any preprocessing.
        steps, step_size, restarts, seed: see `Steps` (PGD; the step is 2.5 ε / steps unless given).
        method: "pgd", "fgsm", or a function (model, pixels in [0, 1], classes) → pixels; the model it is given takes
            pixels, is in evaluation mode and cannot change the classifier's. The result is checked: shape, box, NaN, ε.
        watch: called before each of the attack's passes through the network; whatever it raises ends the work.
    Raises:
        ValueError: an ε, norm, step, class or picture that is none; what a function of yours returned is no attack.

    Example:
        >>> import camwidgets
        >>> found = attack(camwidgets.load("efficientnet_lite0"), camwidgets.samples.picture("cat"), steps=5)
        >>> found.success, bool(found.perturbation.abs().max() <= 4 / 255 + 1e-6)
        ((True,), True)

    Attacks of other libraries, each with the same ε as is given here:

        attack(net, picture, eps=e, method=lambda model, x, y: torchattacks.PGD(model, eps=e)(x, y))
        attack(net, picture, eps=e, method=lambda model, x, y: foolbox.attacks.LinfPGD()(
            foolbox.PyTorchModel(model, bounds=(0, 1)), x, y, epsilons=e)[1])
        attack(net, picture, eps=e, method=lambda model, x, y: torch.from_numpy(
            art.attacks.evasion.ProjectedGradientDescent(art.estimators.classification.PyTorchClassifier(
                model, torch.nn.CrossEntropyLoss(), x.shape[1:], classes, clip_values=(0, 1)), eps=e, eps_step=e / 4)
            .generate(x.numpy(), y.numpy())))
    """
    eps, steps, restarts, seed = (plain(value) for value in (eps, steps, restarts, seed))
    walk = Steps(steps, step_size, restarts, True, seed)
    name = method if isinstance(method, str) else getattr(method, "__name__", type(method).__name__)
    if isinstance(method, str):
        choose("method", method, METHODS)
    elif not callable(method):
        raise TypeError(f"method is 'pgd', 'fgsm' or a function (model, x, y) → x'; got {type(method).__name__}")
    if targeted and target is None:
        raise ValueError("a targeted attack needs its target class: target=…")
    check_classifier(classifier, "attack")
    classifier.check_target(target)
    with torch.inference_mode(False):  # what is made here is differentiated
        x, space = classifier.preprocess(image), PixelSpace.of(classifier)
        p = space.pixels(x)
    ball = Ball(eps, norm)
    ball.check((x.shape[2], x.shape[3]))
    parts = []
    with classifier.lock, torch.inference_mode(False), undisturbed(classifier.module):
        model = PixelModel(classifier, space, watch)
        logits = torch.cat([_logits(classifier, one) for one in x.split(BATCH)])
        classes = _classes(classifier, target, logits)
        for pixels, y in zip(p.split(BATCH), classes.split(BATCH), strict=True):
            parts.append(_run(method, model, pixels, y, ball, walk, targeted))
        moved, losses = torch.cat([m for m, _ in parts]), torch.cat([t for _, t in parts], 1)
        # A pixel that did not move stays what it was, bit for bit.
        adversarial = torch.where(moved == p, x, space.input(moved).to(x))
        after = torch.cat([_logits(classifier, one) for one in adversarial.split(BATCH)])
    reached = (after.argmax(1) == classes) if targeted else (after.argmax(1) != classes)
    return Attack(
        classifier, x, adversarial, moved - p, tuple(classes.tolist()),
        tuple(classifier.ranked(row, SHOWN) for row in logits.float().cpu()),
        tuple(classifier.ranked(row, SHOWN) for row in after.float().cpu()),
        tuple(reached.tolist()), losses.cpu(), name, float(eps), norm, targeted, seed,
    )  # fmt: skip


def _run(
    method: str | AttackFunction, model: PixelModel, p: Tensor, y: Tensor, ball: Ball, walk: Steps, targeted: bool
) -> tuple[Tensor, Tensor]:
    if method == "pgd":
        found = pgd(model, p, y, ball, walk, targeted=targeted)
        return found.pixels, found.losses
    if method == "fgsm":
        found = fgsm(model, p, y, ball, targeted=targeted)
        return found.pixels, found.losses
    assert callable(method)
    with torch.enable_grad():
        returned = method(model, p.clone(), y.clone())
    moved = checked_result(returned, p, ball, getattr(method, "__name__", type(method).__name__))
    with torch.no_grad():
        losses = [torch.nn.functional.cross_entropy(model(one).float(), y, reduction="none") for one in (p, moved)]
    return moved, torch.stack(losses)


def _logits(classifier: Classifier, x: Tensor) -> Tensor:
    with torch.no_grad():
        logits = classifier.logits(x)
    check_finite(logits, classifier.name)
    return logits


def _classes(classifier: Classifier, target: Target, logits: Tensor) -> Tensor:
    n = len(logits)
    if target is None:
        return logits.argmax(1)
    if callable(target):
        raise TypeError("an attack needs a class (index or label), not a callable")
    indices = [classifier.index(one) for one in target] if one_each(target) else [classifier.index(target)] * n
    if len(indices) != n:
        raise ValueError(f"{len(indices)} targets were given for {n} pictures; one for all, or one for each")
    return torch.tensor(indices, device=logits.device)
