"""Gradient attacks in pixel space: FGSM and PGD, in L∞ and L2 balls, and the checks on anybody else's.

p are pixels in [0, 1], N×3×h×w, whatever the network's preprocessing; L is the cross-entropy of softmax(logits):

    FGSM  p' = Π(p + ε · s(∇L))                  Goodfellow et al. 2015, arXiv:1412.6572, eq. in section 4
    PGD   p_{t+1} = Π(p_t + α · s(∇L(p_t)))      Madry et al. 2018, arXiv:1706.06083, eq. in section 2.1

s(g) = sign(g) in L∞ and g/‖g‖₂ in L2; Π projects to the ball of radius ε around p, then to the box [0, 1] (which never
leaves the ball, for p lies in the box). Towards a target class, L is descended instead.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..errors import choose

NORMS = ("linf", "l2")
METHODS = ("pgd", "fgsm")
ROUNDING = 1e-5  # float32: what an attack may exceed its ball and box by

Model = Callable[[Tensor], Tensor]
AttackFunction = Callable[[Any, Tensor, Tensor], Tensor]  # (model on pixels, N×3×h×w pixels, N classes) → pixels


@dataclass(frozen=True)
class Ball:
    """The perturbations allowed: ‖δ‖ ≤ ε and p + δ in [0, 1].

    Attributes:
        eps: L∞: 0 … 1, the most that a pixel's channel may change, in units of the full range (4/255 = four grey
            levels of 255). L2: 0 … √(3hw), the Euclidean norm over all pixels and channels in the same units.
        norm: "linf" or "l2".
    """

    eps: float
    norm: str = "linf"

    def check(self, size: tuple[int, int]) -> None:
        """Refuse an ε that is no radius for pictures of `size` (h, w)."""
        choose("norm", self.norm, NORMS)
        most = 1.0 if self.norm == "linf" else math.sqrt(3 * size[0] * size[1])
        if isinstance(self.eps, bool) or not isinstance(self.eps, (int, float)) or not 0 <= self.eps <= most:
            raise ValueError(
                f"ε is a number from 0 to {most:.4g} in units of the full pixel range ({self.norm}); got {self.eps!r}"
            )

    def direction(self, g: Tensor) -> Tensor:
        """s(g): the steepest step of length 1 in this norm; 0 where the gradient is 0."""
        if self.norm == "linf":
            return g.sign()
        # Scaled first: the square of a tiny gradient underflows.
        g = g / _each(g.abs().flatten(1).amax(1)).clamp(min=torch.finfo(g.dtype).tiny)
        return g / _each(g.flatten(1).norm(dim=1)).clamp(min=1e-12)

    def project(self, p: Tensor, moved: Tensor) -> Tensor:
        """Π: `moved` back into the ball around `p` and into the box."""
        delta = moved - p
        if self.norm == "linf":
            delta = delta.clamp(-self.eps, self.eps)
        else:
            delta = delta * (self.eps / _each(delta.flatten(1).norm(dim=1)).clamp(min=1e-30)).clamp(max=1)
        return (p + delta).clamp(0, 1)

    def start(self, p: Tensor, generator: torch.Generator) -> Tensor:
        """A random place of the ball (uniform in it), clipped to the box; each picture's own, whatever the batch."""
        one = (1, *p.shape[1:])
        if self.norm == "linf":
            noise = 2 * torch.rand(one, generator=generator, dtype=torch.float64) - 1
        else:
            noise = torch.randn(one, generator=generator, dtype=torch.float64)
            radius = float(torch.rand(1, generator=generator, dtype=torch.float64)) ** (1 / noise.numel())
            noise = noise * (radius / float(noise.norm()))
        return self.project(p, p + self.eps * noise.to(p))

    def size(self, delta: Tensor) -> Tensor:
        """N norms of N perturbations."""
        flat = delta.flatten(1)
        return flat.abs().amax(1) if self.norm == "linf" else flat.norm(dim=1)


@dataclass(frozen=True)
class Steps:
    """How PGD walks.

    Attributes:
        steps: iterations, at least 1. size: α in pixel units; None = 2.5 ε / steps. restarts: random starts, at least
            1; the best end of each picture is kept. random_start: False starts the first walk at the picture itself.
        seed: of the random starts.
    """

    steps: int = 20
    size: float | None = None
    restarts: int = 1
    random_start: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "restarts"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} is a whole number, at least 1; got {value!r}")
        if self.size is not None and not (isinstance(self.size, (int, float)) and 0 < self.size < math.inf):
            raise ValueError(f"a step's size is a number above 0 in units of the full pixel range; got {self.size!r}")


@dataclass(frozen=True)
class Found:
    """What an attack found: N×3×h×w pixels, and the losses (steps + 1)×N of the walk that was kept."""

    pixels: Tensor
    losses: Tensor


def loss_and_gradient(model: Model, p: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """(N losses L, N×3×h×w directions of ∂L/∂p): each picture by itself, whatever else is in the batch.

    L = log(1 + e^m) with m = log Σ_{j≠y} e^{z_j} − z_y, so that ∂L/∂p = σ(m) ∂m/∂p. What is returned is ∂m/∂p: the same
    direction, and never 0 for a network so sure that softmax_y = 1 in its precision (∂L/∂p underflows there).
    """
    with torch.enable_grad():
        leaf = p.detach().clone().requires_grad_()
        logits = model(leaf)
        if logits.shape[1] < 2:
            raise ValueError("an attack needs a network with two classes at least; this one has a single logit")
        logits = logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits
        own = torch.nn.functional.one_hot(y, logits.shape[1]).bool()
        margin = logits.masked_fill(own, -torch.inf).logsumexp(1) - logits[own]
        (g,) = torch.autograd.grad(margin.sum(), leaf)
    return torch.nn.functional.softplus(margin.detach()), g


def fgsm(model: Model, p: Tensor, y: Tensor, ball: Ball, *, targeted: bool = False) -> Found:
    """One step of length ε along s(∇L), or against it towards the target class."""
    before, g = loss_and_gradient(model, p, y)
    moved = ball.project(p, p + (-1 if targeted else 1) * ball.eps * ball.direction(g))
    return Found(moved, torch.stack([before, _losses(model, moved, y)[0]]))


def pgd(model: Model, p: Tensor, y: Tensor, ball: Ball, steps: Steps | None = None, *, targeted: bool = False) -> Found:
    """Projected gradient steps from a random place of the ball; of several restarts each picture keeps its best."""
    steps = steps or Steps()
    sign, generator = (-1 if targeted else 1), torch.Generator().manual_seed(steps.seed)
    alpha = steps.size if steps.size is not None else 2.5 * ball.eps / steps.steps
    best, kept = p, p.new_zeros((steps.steps + 1, len(p)))
    won = torch.zeros(len(p), dtype=torch.bool, device=p.device)
    height = torch.full((len(p),), -torch.inf, device=p.device)
    for i in range(steps.restarts):
        here = ball.start(p, generator) if steps.random_start or i else p
        trace = []
        for _ in range(steps.steps):
            losses, g = loss_and_gradient(model, here, y)
            trace.append(losses)
            here = ball.project(p, here + sign * alpha * ball.direction(g))
        last, hit = _losses(model, here, y)
        reached, climbed = (hit if targeted else ~hit), (sign * last).to(height)
        better = (reached & ~won) | ((reached == won) & (climbed > height))  # success first, then the loss
        kept = torch.where(better, torch.stack([*trace, last]).to(kept), kept)
        best, won = torch.where(_each(better), here, best), won | reached
        height = torch.where(better, climbed, height)
    return Found(best, kept)


def checked_result(moved: object, p: Tensor, ball: Ball, name: str) -> Tensor:
    """What somebody else's attack returned, if it is a picture inside the ball and the box; rounding is cut off."""
    if not isinstance(moved, Tensor):
        raise TypeError(f"the attack {name} must return a tensor of pixels; it returned {type(moved).__name__}")
    if moved.shape != p.shape:
        raise ValueError(
            f"the attack {name} was given pixels of shape {tuple(p.shape)} and returned {tuple(moved.shape)}"
        )
    moved = moved.detach().to(p)
    if not torch.isfinite(moved).all():
        raise ValueError(f"the attack {name} returned NaN or infinite pixels; finite ones in 0 … 1 are needed")
    low, high = float(moved.min()), float(moved.max())
    if low < -ROUNDING or high > 1 + ROUNDING:
        raise ValueError(
            f"the attack {name} left the box of pixels: its result reaches from {low:.4g} to {high:.4g}, and must lie "
            f"in 0 … 1"
        )
    moved = moved.clamp(0, 1)
    far = float(ball.size(moved - p).max())
    if far > ball.eps * (1 + ROUNDING) + ROUNDING:
        raise ValueError(
            f"the attack {name} left its ball: a perturbation of {far:.4g} ({ball.norm}) is more than "
            f"ε = {ball.eps:.4g}; give both the same ε"
        )
    return moved


def _losses(model: Model, p: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """N losses, and whether each picture is given the class y."""
    with torch.no_grad():
        logits = model(p)
    return torch.nn.functional.cross_entropy(logits, y, reduction="none"), logits.argmax(1) == y


def _each(values: Tensor) -> Tensor:
    """N values, one for each picture of a batch."""
    return values.reshape(-1, 1, 1, 1)
