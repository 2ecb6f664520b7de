"""GAIN's formulas: attention that is trained, not only looked at.

Li, Wu, Peng, Ernst & Fu, "Tell Me Where to Look: Guided Attention Inference Network", CVPR 2018, equations (1)–(9):

    w^c = GAP(∂s^c/∂f)                 (1)      A^c = ReLU(Σ_k w^c_k f_k)                  (2)
    I*^c = I − T(A^c) ⊙ I              (3)      T(A) = σ(ω(A − τ))                         (4)
    L_am = 1/n Σ_c s^c(I*^c)           (5)      L_self = L_cl + α L_am                     (6)
    L_e = 1/n Σ_c mean_ij (A^c − H^c)² (7)      L_ext = L_cl + α L_am + weight · L_e       (8, 9)

f are the features at a tap, c runs over the n classes of a picture. A^c is made of gradients, so L_am and L_e are
trained by second-order gradients: through any `nn.Module` with a tap, ReLU and max-pooling included (their second
derivative is 0 almost everywhere; what is trained flows through the weights that the gradients are made of).

What the paper leaves open, and what is done here: A is divided by its maximum (in the graph) before T and before L_e,
so that neither can be satisfied by scaling, and τ means the same everywhere; ω = 10, τ = 0.5; s^c in L_am is a
probability (`score="logit"` for the bare logit, which has no lowest value).

**What it costs.** Without mining: n backward passes from the scores to the tap, n the classes of the fullest picture,
and what is second order of the backward pass. Mining: one forward and backward pass more for every picture and class.
Against a plain step, measured on the toy net (one thread, 16 pictures, S5 … S4): one class a picture, without mining
the same time and memory (activations kept), with it 1.9 … 2.5 times the time and 2.0 times the memory; three classes
a picture, 1.0 … 1.5 times the time without, 4.4 … 5.2 times the time and 4.1 times the memory with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..catcher import Catcher
from ..classifiers import Tap, wrap
from ..errors import choose
from ..evidence import channels_first
from .classification import LABELS, plain
from .labelled import UNKNOWN
from .nets import scaled

OMEGA, TAU = 10.0, 0.5
SCORES = ("probability", "logit")
FILLS = ("grey", "picture")


@dataclass(frozen=True)
class Guided:
    """One pass: the answer, and a map for each picture and class present, all in the graph.

    Attributes:
        logits: B×C. pictures, classes: (P,) int64, which picture and class each map is of. maps: P×h×w, A^c ≥ 0.
    """

    logits: Tensor
    pictures: Tensor
    classes: Tensor
    maps: Tensor

    @property
    def scaled(self) -> Tensor:
        """The maps divided by their maxima, in [0, 1]; 0 everywhere where nothing speaks for the class."""
        return scaled(self.maps)


def guide(net: nn.Module, tap: Tap | str, x: Tensor, present: Tensor, create_graph: bool = True) -> Guided:
    """Run a network once and make its Grad-CAM maps (1, 2) of the classes present, in the graph.

    Args:
        net: x → B×C logits, in whatever mode it is in. tap: where; a name or stage is looked up by one pass more.
        x: B×3×H×W. present: B×C bool. create_graph: whether the maps can be trained; False costs less.
    Raises:
        ValueError: an unknown tap, shapes that do not go together, a tap that is not reached.
    """
    tap = tap if isinstance(tap, Tap) else tap_of(net, tap, (x.shape[-2], x.shape[-1]))
    with torch.enable_grad(), second_order():
        f, logits = _run(net, tap, x)
        if logits.ndim != 2 or logits.shape != present.shape:
            raise ValueError(
                f"the logits are {tuple(logits.shape)} and present is {tuple(present.shape)}; B×C is needed"
            )
        pictures, classes = present.to(logits.device).nonzero(as_tuple=True)
        maps = plain(f).new_zeros((len(pictures), *_places(f, tap)))
        slots = _slots(pictures)
        for slot in range(int(slots.max()) + 1 if len(slots) else 0):
            chosen = slots == slot
            scores = logits[pictures[chosen], classes[chosen]].sum()
            (g,) = torch.autograd.grad(scores, f, create_graph=create_graph, retain_graph=True, allow_unused=True)
            if g is not None:
                maps = maps.index_put((chosen.nonzero()[:, 0],), _grad_cam(f, g, tap)[pictures[chosen]])
    if not create_graph:
        logits, maps = logits.detach(), maps.detach()
    return Guided(plain(logits), pictures, classes, maps)


def trainable_map(net: nn.Module, tap: Tap | str, x: Tensor, present: Tensor, create_graph: bool = True) -> Tensor:
    """A^c = ReLU(Σ_k GAP(g_k) f_k) of the classes present, B×C×h×w ≥ 0, 0 for all others; in the graph. (1, 2).

    Args:
        as `guide`'s.

    Example:
        >>> from camwidgets.classifiers.toynet import ToyNet
        >>> present = torch.tensor([[True, False, True]])
        >>> A = trainable_map(ToyNet(3), "S5", torch.zeros(1, 3, 96, 96), present)
        >>> A.shape, A.requires_grad
        (torch.Size([1, 3, 6, 6]), True)
    """
    found = guide(net, tap, x, present, create_graph)
    whole = found.maps.new_zeros((*present.shape, *found.maps.shape[1:]))
    return whole.index_put((found.pictures, found.classes), found.maps)


def soft_mask(maps: Tensor, omega: float = OMEGA, tau: float = TAU) -> Tensor:
    """T(A) = σ(ω(A − τ)) (4), of maps in [0, 1]: near 1 where A > τ, near 0 elsewhere, with a slope everywhere.

    Example:
        >>> soft_mask(torch.tensor([0.0, 0.5, 1.0]), omega=10, tau=0.5)
        tensor([0.0067, 0.5000, 0.9933])
    """
    return (omega * (maps - tau)).sigmoid()


def erased(x: Tensor, maps: Tensor, omega: float = OMEGA, tau: float = TAU, under: Tensor | float = 0.0) -> Tensor:
    """I* = I − T(A) ⊙ (I − U): what is attended to fades to U; 0, the middle grey, is the paper's (3).

    x: P×3×H×W, maps: P×h×w in [0, 1]. The map is brought to the picture's size (bilinear) before T, so that the edge of
    what is erased is T's. under: U, a number or a tensor like x.
    """
    large = F.interpolate(maps[:, None], x.shape[-2:], mode="bilinear", align_corners=False)
    return x - soft_mask(large, omega, tau) * (x - under)


def mining_loss(
    net: nn.Module, x: Tensor, guided: Guided, *, omega: float = OMEGA, tau: float = TAU, score: str = "probability",
    loss: str = "multi-label", fill: str = "grey",
) -> Tensor:  # fmt: skip
    """L_am = mean over pictures of 1/n Σ_c s^c(I*^c) (5): what still speaks for a class without what is attended to.

    Args:
        fill: what comes in the place of what is erased: "grey" (3), or "picture", the same place of another picture of
            the batch (of a batch of one: grey). A grey blot can be learnt by itself ("a blot: no class"), a piece of a
            picture hardly.
        score: "probability" (σ of the logit, or softmax with loss="single-label") or "logit".
    Returns:
        A scalar in the graph; 0 if no picture has a class.
    """
    choose("score", score, SCORES)
    choose("loss", loss, LABELS)
    choose("fill", fill, FILLS)
    if not len(guided.pictures):
        return guided.logits.sum() * 0
    shown = x[guided.pictures]
    under = _others(x)[guided.pictures] if fill == "picture" else 0.0
    with second_order(), unrecorded(net):
        logits = net(erased(shown, guided.scaled.to(x.dtype), omega, tau, under))
    logits = plain(logits)
    if score == "probability":
        logits = logits.sigmoid() if loss == "multi-label" else logits.softmax(1)
    s = logits[torch.arange(len(logits), device=logits.device), guided.classes]
    return _by_picture(s, guided.pictures)


def _others(x: Tensor) -> Tensor:
    """For each picture of the batch another one; nothing (0) if there is none."""
    return x.roll(len(x) // 4 + 1, 0) if len(x) > 1 else torch.zeros_like(x)


def extra_loss(guided: Guided, masks: Tensor) -> Tensor:
    """L_e = mean over pictures of 1/n Σ_c mean_ij (A^c − H^c)² (7), A^c scaled to [0, 1].

    H^c is the share of each cell of the map that the mask gives to class c (area averaging); pixels of value 255 count
    neither in H nor in the mean. A picture whose mask is 255 everywhere has no part in it, nor has a class that its
    mask does not show.

    Args:
        masks: B×H×W uint8, 0 background, c + 1 class c, 255 unknown.
    Returns:
        A scalar in the graph; 0 if no mask says anything.
    """
    own = masks.to(guided.maps.device)[guided.pictures]
    wanted = (own == guided.classes[:, None, None] + 1).to(guided.maps.dtype)
    shown = wanted.flatten(1).any(1)
    if not shown.any():
        return guided.maps.sum() * 0
    known = (own != UNKNOWN).to(guided.maps.dtype)
    size = guided.maps.shape[-2:]
    H, weight = (F.interpolate(one[:, None], size, mode="area")[:, 0][shown] for one in (wanted, known))
    H = H / weight.clamp(min=1e-6)
    error = (guided.scaled[shown] - H) ** 2
    each = (weight * error).sum((-2, -1)) / weight.sum((-2, -1))
    return _by_picture(each, guided.pictures[shown])


def tap_of(net: nn.Module, name: str, size: tuple[int, int]) -> Tap:
    """The tap of that name or stage in a network that is fed pictures of `size`; found by one pass over noise."""
    return wrap(net, input_size=size).tap(str(name))


# ------------------------------------------------------------------------------------------------------ the pass


def _run(net: nn.Module, tap: Tap, x: Tensor) -> tuple[Tensor, Tensor]:
    """(the raw tensor at the tap, the logits); once more with copies if the network overwrote what was tapped."""
    for twice in (False, True):
        catcher = Catcher([tap], twice)
        with catcher.attached(net), unrecorded(net) if twice else nullcontext():
            logits = net(x)
        if tap not in catcher.sites:
            raise ValueError(f"the forward pass of this {type(net).__name__} did not reach the tap {str(tap)!r}")
        f = catcher.sites[tap]
        if f._version == catcher.versions[tap]:
            break
    return f, logits


def _grad_cam(f: Tensor, g: Tensor, tap: Tap) -> Tensor:
    f, g = channels_first(plain(f), tap), channels_first(plain(g), tap)
    return (g.mean((-2, -1), keepdim=True) * f).sum(1).relu()


def _places(f: Tensor, tap: Tap) -> tuple[int, int]:
    h, w = channels_first(f[:1].detach(), tap).shape[-2:]
    return int(h), int(w)


def _slots(pictures: Tensor) -> Tensor:
    """How many of its classes each (picture, class) has before it: pairs of one slot share a backward pass."""
    place = torch.arange(len(pictures), device=pictures.device)
    return place - torch.searchsorted(pictures, pictures) if len(pictures) else place


def _by_picture(values: Tensor, pictures: Tensor) -> Tensor:
    """Mean over the classes of each picture, then over the pictures that have any."""
    _, which, counts = pictures.unique(return_inverse=True, return_counts=True)
    return (values / counts[which]).sum() / len(counts)


@contextmanager
def unrecorded(net: nn.Module) -> Iterator[None]:
    """Inside, passes leave no trace in BatchNorm's running statistics: erased pictures are not what will be seen.

    Nor in its count of batches, by which BatchNorm(momentum=None) takes the mean of all.
    """
    norms = [part for part in net.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
    before = [(part.momentum, _copy(part.num_batches_tracked)) for part in norms]
    try:
        for part in norms:
            part.momentum = 0.0
        yield
    finally:
        for part, (momentum, count) in zip(norms, before, strict=True):
            part.momentum = momentum
            if count is not None and part.num_batches_tracked is not None:
                part.num_batches_tracked.copy_(count)


def _copy(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.clone()


@contextmanager
def second_order() -> Iterator[None]:
    """Inside, attention is computed operation by operation: the fused kernels have no second derivative."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    with sdpa_kernel(SDPBackend.MATH):
        yield
