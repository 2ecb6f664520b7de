"""Trainable Grad-CAM, what is mined and what is shown: by hand, by finite differences, on real networks."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import camwidgets
from camwidgets.datasets.toyworld import ToyWorld
from camwidgets.learning.gain import GainObjective, mask_of_boxes
from camwidgets.learning.guidance import (
    Guided,
    erased,
    extra_loss,
    guide,
    mining_loss,
    soft_mask,
    tap_of,
    trainable_map,
)
from camwidgets.learning.labelled import Example, Labelled, open_labelled
from camwidgets.learning.nets import scaled
from camwidgets.learning.objective import Batch, View
from camwidgets.learning.training import train

from .nets import Small
from .training_nets import Tiny, world


class Two(nn.Module):
    """features: the picture's first two channels, rectified; head: mean, then W = [[4, −8], [0, 4]]."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.ReLU()
        self.head = nn.Linear(2, 2, bias=False).double()
        with torch.no_grad():
            self.head.weight.copy_(torch.tensor([[4.0, -8.0], [0.0, 4.0]]))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x[:, :2]).mean((2, 3)))


class Kinked(nn.Module):
    """Convolutions, ReLUs (in place if wished), max-pooling; small enough for finite differences."""

    def __init__(self, inplace: bool = False, norm: bool = False) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(3)
            self.conv1 = nn.Conv2d(3, 3, 3, padding=1)
            self.norm = nn.BatchNorm2d(3) if norm else nn.Identity()
            self.relu1 = nn.ReLU(inplace)
            self.pool = nn.MaxPool2d(2)
            self.conv2 = nn.Conv2d(3, 4, 3, padding=1)
            self.relu2 = nn.ReLU(inplace)
            self.hidden = nn.Linear(4, 5)
            self.head = nn.Linear(5, 3)
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.relu1(self.norm(self.conv1(x))))
        x = self.relu2(self.conv2(x))
        return self.head(F.relu(self.hidden(x.mean((2, 3)))))


def _mined(*args: Any, **given: Any) -> Tensor:
    return mining_loss(*args, **given).detach()


def _shown(guided: Guided, masks: Tensor) -> Tensor:
    return extra_loss(guided, masks).detach()


@pytest.fixture
def x() -> Tensor:
    return torch.randn(3, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(5))


PRESENT = torch.tensor([[True, False, True], [False, False, False], [False, True, True]])


def test_the_map_by_hand() -> None:
    """f₁ = (1 2; 0 3), f₂ = (0 1; 1 0), four places: w¹ = (1, −2), A¹ = ReLU(f₁ − 2 f₂); w² = (0, 1), A² = f₂."""
    picture = torch.tensor([[[1.0, 2.0], [-5.0, 3.0]], [[0.0, 1.0], [1.0, -1.0]], [[9.0, 9.0], [9.0, 9.0]]])
    found = trainable_map(
        Two(), tap_of(Two(), "features", (2, 2)), picture[None].double(), torch.tensor([[True, True]])
    )
    torch.testing.assert_close(found[0, 0], torch.tensor([[1.0, 0.0], [0.0, 3.0]]).double())
    torch.testing.assert_close(found[0, 1], torch.tensor([[0.0, 1.0], [1.0, 0.0]]).double())
    torch.testing.assert_close(scaled(found)[0, 0], torch.tensor([[1 / 3, 0.0], [0.0, 1.0]]).double())
    assert torch.equal(scaled(torch.zeros(1, 2, 2)), torch.zeros(1, 2, 2))


def test_the_map_is_grad_cam() -> None:
    """The same numbers as `explain` computes for a shipped network, class by class."""
    classifier = camwidgets.load("toy")
    scene = ToyWorld(seed=4, n=3, objects=(2, 2))[1]
    xs = classifier.preprocess(scene.image)
    present = torch.tensor(scene.labels[None] > 0)
    found = trainable_map(classifier.module, classifier.stages["S5"], xs, present)
    for name in scene.names:
        evidence = camwidgets.capture(classifier, xs, name, "S5")
        A, g = evidence.at("S5")
        expected = torch.relu((g.mean((2, 3), keepdim=True) * A).sum(1))[0]
        torch.testing.assert_close(found[0, classifier.index(name)].detach(), expected)
    assert not found[0, ~present[0]].any()


def test_a_map_is_nothing_but_its_own_pictures_and_class(x: Tensor) -> None:
    """Pairs share backward passes; one by one they come out the same. Grad is made only where it is asked for."""
    net = Kinked()
    together = trainable_map(net, "relu2", x, PRESENT)
    for b, c in PRESENT.nonzero().tolist():
        alone = torch.zeros(1, 3, dtype=torch.bool)
        alone[0, c] = True
        torch.testing.assert_close(trainable_map(net, "relu2", x[b : b + 1], alone)[0, c], together[b, c])
    plain = guide(net, "relu2", x, PRESENT, create_graph=False)
    assert not plain.maps.requires_grad
    assert all(p.grad is None for p in net.parameters())
    none = guide(net, "relu2", x, torch.zeros_like(PRESENT))
    assert none.maps.shape == (0, 4, 4)
    with torch.no_grad():
        torch.testing.assert_close(guide(net, "relu2", x, PRESENT, create_graph=False).maps, plain.maps)


def test_the_soft_mask_by_hand() -> None:
    A = torch.tensor([0.0, 0.3, 0.5, 1.0], dtype=torch.float64)
    expected = [1 / (1 + math.exp(-8 * (a - 0.3))) for a in A.tolist()]
    torch.testing.assert_close(soft_mask(A, 8, 0.3), torch.tensor(expected, dtype=torch.float64))


def test_what_is_attended_to_is_erased() -> None:
    x = torch.full((1, 3, 4, 4), 2.0, dtype=torch.float64)
    maps = torch.tensor([[[1.0, 0.0], [0.0, 0.0]]], dtype=torch.float64)
    found = erased(x, maps, omega=100, tau=0.3)
    assert found[0, 0, 0, 0] < 1e-6  # bilinear: the map is 1 there
    assert found[0, :, 3, 3].eq(2).all() or abs(float(found[0, 0, 3, 3]) - 2) < 1e-6
    large = F.interpolate(maps[:, None], (4, 4), mode="bilinear", align_corners=False)
    torch.testing.assert_close(found, x * (1 - torch.sigmoid(100 * (large - 0.3))))


def test_what_is_erased_can_show_another_picture() -> None:
    """T = 1 everywhere: all that is asked is the other picture; and a batch of one has no other."""
    picture = torch.tensor([1.0, 0.25, 0.0], dtype=torch.float64).view(1, 3, 1, 1)
    two = torch.cat([picture, 0.5 * picture])
    tap = camwidgets.Tap("features", size=(1, 1), activation="relu", channels=2)
    net, first = Two(), torch.tensor([[True, False]] * 2)
    own = net(two)[:, 0].detach()
    found = {}
    for fill in ("grey", "picture"):
        guided = guide(net, tap, two, first)
        found[fill] = float(_mined(net, two, guided, omega=200.0, tau=0.25, score="logit", fill=fill))
    assert found["grey"] == pytest.approx(0.0, abs=1e-9)
    assert found["picture"] == pytest.approx(float(own.mean()))  # each in the other's place
    assert float(own.mean()) > 0.1
    alone = guide(net, tap, picture, first[:1])
    assert float(_mined(net, picture, alone, omega=200.0, tau=0.25, score="logit", fill="picture")) < 1e-9


def test_the_mining_loss_by_hand() -> None:
    """One place: A is 1 there, T = σ(ω(1 − τ)), and x fades to (1 − T) x; s = 4 (1 − T) x₁ for the first class."""
    picture = torch.tensor([1.0, 0.25, 0.0], dtype=torch.float64).view(1, 3, 1, 1)
    T = 1 / (1 + math.exp(-2 * (1 - 0.25)))
    net = Two()
    tap = camwidgets.Tap("features", size=(1, 1), activation="relu", channels=2)
    given = {"omega": 2.0, "tau": 0.25}
    s = [(4 * 1 - 8 * 0.25) * (1 - T), 4 * 0.25 * (1 - T)]
    for present, expected in (
        ([[True, False]], s[0]),
        ([[True, True]], (s[0] + s[1]) / 2),
    ):
        guided = guide(net, tap, picture, torch.tensor(present))
        assert float(_mined(net, picture, guided, score="logit", **given)) == pytest.approx(expected)
    guided = guide(net, tap, picture, torch.tensor([[True, False]]))
    sigmoid, softmax = 1 / (1 + math.exp(-s[0])), math.exp(s[0]) / (math.exp(s[0]) + math.exp(s[1]))
    assert float(_mined(net, picture, guided, **given)) == pytest.approx(sigmoid)
    assert float(_mined(net, picture, guided, loss="single-label", **given)) == pytest.approx(softmax)
    two = picture.repeat(2, 1, 1, 1) * torch.tensor([1.0, 0.5]).double().view(2, 1, 1, 1)
    guided = guide(net, tap, two, torch.tensor([[True, True], [True, False]]))
    expected = ((s[0] + s[1]) / 2 + s[0] / 2) / 2  # the mean over pictures of the mean over classes
    assert float(_mined(net, two, guided, score="logit", **given)) == pytest.approx(expected)


def test_the_extra_loss_by_hand() -> None:
    """2×2 maps of a 4×4 mask: cells half covered want ½; unknown pixels weigh nothing; absent pictures have no part."""
    mask = torch.zeros(3, 4, 4, dtype=torch.uint8)
    mask[0, :2, :2] = 2  # class 1 fills the first cell
    mask[0, 2:, 2] = 2  # and half of the last
    mask[1] = 255
    mask[2, 0, 0], mask[2, 0, 1] = 1, 255  # of the first cell three pixels are known, one of them class 0
    maps = torch.tensor([[[4.0, 0.0], [0.0, 2.0]], [[1.0, 1.0], [1.0, 1.0]], [[3.0, 0.0], [3.0, 3.0]]]).double()
    pictures, classes = torch.tensor([0, 1, 2]), torch.tensor([1, 1, 0])
    guided = Guided(torch.zeros(3, 2), pictures, classes, maps)
    first = 0.0  # (1 0; 0 ½) is what is wanted
    third = (0.75 * (1 - 1 / 3) ** 2 + 0 + 1 + 1) / 3.75
    assert float(_shown(guided, mask)) == pytest.approx((first + third) / 2)
    nothing = extra_loss(guided, torch.full_like(mask, 255))
    assert float(nothing) == 0
    other = Guided(torch.zeros(1, 2), torch.tensor([0]), torch.tensor([0]), maps[:1])
    assert float(_shown(other, mask)) == 0  # the mask does not show class 0


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("which", ["mining", "extra", "map"])
def test_second_order_gradients_by_finite_differences(which: str, norm: bool, x: Tensor) -> None:
    """gradcheck moves the weights themselves: forward, backward and backward again through ReLU and max-pooling."""
    net = Kinked(norm=norm)
    tap = tap_of(net, "relu2", (8, 8))
    masks = torch.zeros(3, 8, 8, dtype=torch.uint8)
    masks[0, 2:6, 1:4], masks[2, 4:, 4:] = 3, 2
    losses: dict[str, Callable[[Guided], Tensor]] = {
        "mining": lambda guided: mining_loss(net, x, guided),
        "extra": lambda guided: extra_loss(guided, masks),
        "map": lambda guided: (guided.maps * torch.arange(16.0).view(4, 4)).sum(),
    }

    def loss(*_: Tensor) -> Tensor:
        return losses[which](guide(net, tap, x, PRESENT))

    weights = tuple(p for name, p in net.named_parameters() if not (norm and name == "conv1.bias"))
    assert torch.autograd.gradcheck(loss, weights, eps=1e-6, atol=1e-6, rtol=1e-4)
    grads = torch.autograd.grad(loss(), weights, allow_unused=True)
    assert sum(float(g.abs().sum()) for g in grads if g is not None) > 1e-3


def test_in_place_activations_change_nothing(x: Tensor) -> None:
    found = []
    for inplace in (False, True):
        net = Kinked(inplace)
        guided = guide(net, "conv2", x, PRESENT)  # what the ReLU behind it overwrites
        (guided.maps.sum() + mining_loss(net, x, guided)).backward()
        found.append([p.grad for p in net.parameters()])
    for plain, inplace_ in zip(*found, strict=True):
        assert (plain is None) == (inplace_ is None)
        if plain is not None:
            torch.testing.assert_close(plain, inplace_)


def test_erased_pictures_leave_no_trace_in_running_statistics() -> None:
    net, twin = Small().train(), Small().train()
    twin.load_state_dict(net.state_dict())
    x = torch.randn(4, 3, 16, 16)
    present = torch.eye(5, dtype=torch.bool)[:4]
    guided = guide(net, tap_of(net, "relu2", (16, 16)), x, present)
    mining_loss(net, x, guided).backward()
    twin(x)
    assert torch.equal(net.norm1.running_mean, twin.norm1.running_mean)  # type: ignore[arg-type]
    assert torch.equal(net.norm1.running_var, twin.norm1.running_var)  # type: ignore[arg-type]
    assert net.norm1.momentum == 0.1


def test_erased_pictures_are_not_counted_among_the_batches() -> None:
    """BatchNorm(momentum=None) takes the mean of all batches, each of weight 1 / count: only real ones count."""
    torch.manual_seed(0)
    nets = [Small().train(), Small().train()]
    for net in nets:
        net.load_state_dict(nets[0].state_dict())
        net.norm1.momentum = None
    x, present = torch.randn(4, 3, 16, 16), torch.eye(5, dtype=torch.bool)[:4]
    for some in (x, 2 * x + 1):
        mining_loss(nets[0], some, guide(nets[0], tap_of(nets[1].eval(), "relu2", (16, 16)), some, present)).backward()
        nets[1].train()(some)
    assert int(nets[0].norm1.num_batches_tracked) == 2  # type: ignore[arg-type]
    assert torch.equal(nets[0].norm1.running_mean, nets[1].norm1.running_mean)  # type: ignore[arg-type]
    assert nets[0].norm1.momentum is None


@pytest.mark.parametrize("name", ["toy", "toy-vit", "defects", "resnet18"])
def test_any_network_with_a_tap_can_be_guided(name: str) -> None:
    classifier = camwidgets.load(name, None if name == "resnet18" else "DEFAULT")
    net = classifier.module
    size = 64 if name == "resnet18" else classifier.input_size[0]
    x = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        present = F.one_hot(net(x).argmax(1), len(classifier.labels)).bool()
    stage = list(classifier.stages)[-2 if name == "toy-vit" else -1]
    guided = guide(net, tap_of(net, stage, (size, size)), x, present)
    (guided.maps.sum() + mining_loss(net, x, guided)).backward()
    grads = [p.grad for p in net.parameters() if p.grad is not None]
    assert grads
    assert all(torch.isfinite(g).all() for g in grads)
    assert any(g.any() for g in grads)


@pytest.mark.parametrize("tap", ["conv1", "S9"])
def test_taps_are_named(tap: str, x: Tensor) -> None:
    if tap == "S9":
        with pytest.raises(ValueError, match="unknown tap 'S9'"):
            trainable_map(Kinked(), tap, x, PRESENT)
    else:
        assert trainable_map(Kinked(), tap, x, PRESENT).shape == (3, 3, 8, 8)
    with pytest.raises(ValueError, match="B×C is needed"):
        trainable_map(Kinked(), "relu2", x, PRESENT[:, :2])
    with pytest.raises(ValueError, match="did not reach the tap"):
        trainable_map(Kinked(), camwidgets.Tap("relu2", 1), x, PRESENT)


# ------------------------------------------------------------------------------------------------------ objective


@pytest.fixture(scope="module")
def data() -> Labelled:
    return world(16, objects=(1, 2)).painted()


def test_masks_bring_the_maps_to_the_objects(data: Labelled, tmp_path: Path) -> None:
    """With a strong L_e the share of the maps' mass inside the masks rises, for the pictures with masks."""
    net = Tiny(3, norm=False)
    masked = data.ids[:8]

    def inside(net: nn.Module, epoch: int = 0, objective: Any = None) -> dict[str, float]:
        shares = []
        for example in data[:8]:
            x = (example.picture[None].float() / 255 - 0.5) / 0.25
            maps = trainable_map(net, "relu", x, example.present[None])[0].detach()
            for c in example.present.nonzero().flatten().tolist():
                assert example.mask is not None
                where = F.interpolate((example.mask == c + 1)[None, None].float(), maps.shape[-2:], mode="area")[0, 0]
                if where.any() and maps[c].any():
                    shares.append(float((maps[c] * where).sum() / maps[c].sum()))
        return {"inside": float(np.mean(shares))}

    before = inside(net.eval())["inside"]
    objective = GainObjective("relu", extra=masked, weight=100.0, alpha=0.0)
    run = train(
        net, data, objective, tmp_path, epochs=12, batch=8, rate=0.01, measure=inside, augment=False, progress=None
    )
    frame = run.metrics()
    assert list(frame.columns) == ["epoch", "seconds", "total", "classification", "extra", "inside"]
    assert frame["extra"].iloc[-1] < frame["extra"].iloc[0]
    assert frame["inside"].iloc[-1] > before + 0.03
    maps = run.maps(12, run.watched[0])
    assert maps is not None
    assert maps[run.present(run.watched[0])].max() == pytest.approx(1)


def test_the_parts_add_up(data: Labelled, tmp_path: Path) -> None:
    objective = GainObjective("relu", extra=data.ids[:3], alpha=0.5, weight=3.0)
    frame = train(Tiny(), data, objective, tmp_path, epochs=1, batch=4, progress=None).metrics()
    total = frame["classification"] + 0.5 * frame["mining"] + 3 * frame["extra"]
    np.testing.assert_allclose(frame["total"], total, rtol=1e-5)


def test_the_loss_is_as_the_data_are(data: Labelled) -> None:
    objective = GainObjective("relu")
    for given, loss in ((data, "multi-label"), (world(6, objects=(1, 1)), "single-label")):
        objective.check(given)
        assert objective.settings()["loss"] == loss


def test_a_guided_training_goes_on_as_if_unbroken(data: Labelled, tmp_path: Path) -> None:
    given: dict[str, Any] = {"epochs": 2, "batch": 6, "progress": None}

    def objective() -> GainObjective:
        return GainObjective("relu", extra=data.ids[:3])

    whole, broken = Tiny(1), Tiny(1)
    train(whole, data, objective(), tmp_path / "a", **given)
    asked = iter([False] * 4 + [True] * 9)
    run = train(broken, data, objective(), tmp_path / "b", cancelled=lambda: next(asked), **given)
    assert run.status == "stopped"
    again = Tiny(5)
    assert train(again, data, objective(), tmp_path / "b", **given).status == "done"
    for one, other in zip(whole.state_dict().values(), again.state_dict().values(), strict=True):
        assert torch.equal(one, other)
    with pytest.raises(ValueError, match=r"objective\.settings\.extra\.n was 3 and is now 2"):
        train(Tiny(1), data, GainObjective("relu", extra=data.ids[:2]), tmp_path / "b", **given)


def test_half_precision_trains(data: Labelled, tmp_path: Path) -> None:
    """bf16 by autocast on the CPU: the second derivative included, all finite."""
    net = Tiny()
    objective = GainObjective("relu", extra=data.ids[:3])
    run = train(net, data, objective, tmp_path, epochs=1, batch=8, precision="bf16", progress=None)
    assert np.isfinite(run.metrics().to_numpy(float)).all()


def test_boxes_and_masks_say_the_same(data: Labelled) -> None:
    boxes = [(1, (2, 3, 10, 20)), (0, (5, 5, 8, 8))]
    mask = mask_of_boxes(boxes, data.size, 4)
    assert mask[4, 9] == 2
    assert mask[6, 6] == 1
    assert mask[20, 9] == 0
    assert (mask == 2).sum() == 8 * 17 - 9
    id = next(one.id for one in data if one.present[1])
    by_box, by_mask, by_array = (GainObjective("relu", extra={id: given}) for given in (boxes, mask, mask.numpy()))
    for objective in (by_box, by_mask, by_array):
        objective.check(data)
    assert by_box.settings() == by_mask.settings() == by_array.settings()


def test_extra_pictures_move_and_their_masks_with_them(data: Labelled) -> None:
    """Pictures that are their own masks, drawn beside a batch that is augmented: mirrored ones and shifted ones."""
    one = next(one for one in data if one.present[0])
    corner = torch.zeros(96, 96, dtype=torch.uint8)
    corner[24:48, 12:30] = 1
    objective = GainObjective("relu", extra={one.id: corner})
    objective.check(data)
    white = (corner[None] * 255).expand(3, -1, -1)
    objective._extra = [Example(one.id, white, one.present, corner)]
    found = {}
    for seed in range(8):
        for augmented in (True, False):
            still = View(torch.zeros(2, dtype=torch.bool), (0, 0), (96, 96))
            x, generator = torch.zeros(2, 3, 96, 96), torch.Generator().manual_seed(seed)
            given = Batch(
                ("a", "b"), x, torch.ones(2, 4).bool(), None, 1, 1, generator, still, augmented
            )
            shown, present, masks = objective._joined(given)
            assert masks is not None
            assert masks[:2].eq(255).all()
            assert torch.equal(present[2], one.present)
            assert torch.equal(shown[2, 0] > 0, masks[2] == 1)  # 0 is the middle grey, relit or not
            assert (masks[2] == 1).sum() == 24 * 18
            found[seed, augmented] = tuple((masks[2] == 1).nonzero()[0].tolist())
    assert {found[seed, False] for seed in range(8)} == {(24, 12)}
    moved_to = {found[seed, True] for seed in range(8)}
    assert len({y for y, _ in moved_to}) > 2  # shifted
    assert {x < 48 for _, x in moved_to} == {True, False}  # mirrored, some of them


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"alpha": -1}, "alpha must lie between"),
        ({"weight": float("nan")}, "weight must lie between"),
        ({"tau": 1.5}, "tau must lie between 0 and 1"),
        ({"omega": 0}, "omega must lie between"),
        ({"extra_batch": 0}, "extra_batch must lie between"),
        ({"score": "odds"}, "unknown score 'odds'; valid: probability, logit"),
        ({"fill": "gray"}, "unknown fill 'gray'; valid: grey, picture"),
        ({"loss": "hinge"}, "unknown loss 'hinge'"),
    ],
)
def test_settings_out_of_range_are_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        GainObjective("S5", **given)


def test_data_that_cannot_be_learned_from_is_refused(data: Labelled, tmp_path: Path) -> None:
    single = world(6, objects=(1, 1))
    absent = next(one for one in data if not one.present[3])
    empty = torch.zeros(96, 96, dtype=torch.uint8)
    for objective, given, said in (
        (GainObjective("relu", loss="multi-label"), single, "several labels a picture are needed"),
        (GainObjective("relu", loss="single-label"), data, "exactly one is needed"),
        (GainObjective("relu", extra=["nobody"]), data, "unknown picture with extra supervision 'nobody'"),
        (GainObjective("relu", extra=[]), data, "names no picture"),
        (GainObjective("relu", extra={data.ids[0]: empty[:48]}), data, r"uint8 of \(96, 96\)"),
        (GainObjective("relu", extra={data.ids[0]: empty.numpy() > 0}), data, r"is bool of \(96, 96\).*need uint8"),
        (GainObjective("relu", extra={data.ids[0]: empty.numpy() + 9}), data, "holds 9"),
        (GainObjective("relu", extra={data.ids[0]: empty + 9}), data, "holds 9; valid: 0, 1"),
        (GainObjective("relu", extra={data.ids[0]: empty}), data, "shows none of the classes"),
        (GainObjective("relu", extra={absent.id: [(3, (0, 0, 9, 9))]}), data, "shows none of the classes"),
        (GainObjective("relu", extra={data.ids[0]: [(3, (0, 0, 900, 9))]}), data, "is no box"),
        (GainObjective("relu9"), data, "unknown tap 'relu9'.*did you mean 'relu'"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=said):
            train(Tiny(), given, objective, tmp_path / "run", epochs=1, progress=None)
        assert not (tmp_path / "run").exists()


def test_pictures_without_a_class_are_allowed_but_not_only_such(tmp_path: Path) -> None:
    mixed = open_labelled("textures", n=8, defect_share=0.5, size=96)
    sound = open_labelled("textures", n=4, defect_share=0.0, size=96)

    class One(Tiny):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x)[:, :1]

    run = train(One(), mixed, GainObjective("relu"), tmp_path / "a", epochs=1, batch=1, progress=None)
    assert run.status == "done"
    with pytest.raises(ValueError, match="there is no map to guide"):
        train(One(), sound, GainObjective("relu"), tmp_path / "b", epochs=1, progress=None)
