"""Attacks: ball and box whatever the preprocessing, closed forms, other people's attacks, peaks and sweeps."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor, nn

import camwidgets
from camwidgets import Classifier, wrap
from camwidgets.classifiers.preprocessing import Preprocessing
from camwidgets.datasets.toyworld import ToyWorld
from camwidgets.figures.investigate import peaks_figure, sweep_figure
from camwidgets.investigate import MeanPeaks, PixelModel, PixelSpace, attack, mean_peaks, peaks, rival, sweep
from camwidgets.investigate.attacks import Ball, Steps, fgsm, pgd
from camwidgets.investigate.peaks import peak_responses, responses
from camwidgets.investigate.sweep import stage_maps
from tests.nets import Small, settled, state

LITE0 = (127 / 255, 128 / 255)
MOMENTS = {
    "ImageNet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "Lite0": ((LITE0[0],) * 3, (LITE0[1],) * 3),
    "none": ((0.0,) * 3, (1.0,) * 3),
    "0 … 255": ((0.0,) * 3, (1 / 255,) * 3),
    "inverted": ((0.5,) * 3, (-0.5,) * 3),
}


def net(preprocessing: str = "ImageNet", side: int = 16, seed: int = 0) -> Classifier:
    mean, std = MOMENTS[preprocessing]
    rule = Preprocessing((side, side), side, "squash", mean, std)
    return wrap(settled(Small(), seed).eval(), rule, name="small", input_size=side)


def photo(seed: int = 0, side: int = 16) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)


class Linear(nn.Module):
    """Logits = W p, of 3·4·4 pixels, with nothing else."""

    def __init__(self, classes: int = 3, seed: int = 0) -> None:
        super().__init__()
        weights = np.random.default_rng(seed).normal(size=(classes, 48))
        self.weight = nn.Parameter(torch.from_numpy(weights))

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) @ self.weight.T


# --------------------------------------------------------------------------------------------------- ball and box


@settings(max_examples=60, deadline=None)
@given(
    eps=st.floats(0, 1),
    norm=st.sampled_from(["linf", "l2"]),
    rule=st.sampled_from(list(MOMENTS)),
    method=st.sampled_from(["pgd", "fgsm"]),
    seed=st.integers(0, 2**32),
    steps=st.integers(1, 4),
    aim=st.one_of(st.none(), st.integers(0, 4)),
)
def test_a_perturbation_stays_in_its_ball_and_box(
    eps: float, norm: str, rule: str, method: str, seed: int, steps: int, aim: int | None
) -> None:
    classifier = net(rule)
    pictures = [photo(seed % 7), photo(seed % 11 + 1)]
    found = attack(classifier, pictures, aim, eps, norm, steps, aim is not None, seed, method)
    size = found.perturbation.abs().amax((1, 2, 3)) if norm == "linf" else found.perturbation.flatten(1).norm(dim=1)
    assert float(size.max()) <= eps + 1e-6 * max(1, eps)
    # By hand, from what the network is really fed: the preprocessing undone in double precision.
    mean, std = (torch.tensor(m, dtype=torch.float64).view(1, 3, 1, 1) for m in MOMENTS[rule])
    before, after = (x.double() * std + mean for x in (found.clean, found.adversarial))
    assert float(after.min()) >= -1e-6
    assert float(after.max()) <= 1 + 1e-6
    moved = after - before
    size = moved.abs().amax((1, 2, 3)) if norm == "linf" else moved.flatten(1).norm(dim=1)
    assert float(size.max()) <= eps + 2e-6 * math.sqrt(768)


def test_a_transform_that_declares_nothing_is_asked_by_black_grey_and_white() -> None:
    rule = Preprocessing((16, 16), 16, "squash", (0.2, 0.3, 0.4), (0.5, 0.25, 2.0))
    space = PixelSpace.of(wrap(settled(Small()), rule.__call__, input_size=16))
    assert space.mean.flatten().tolist() == pytest.approx([0.2, 0.3, 0.4], abs=1e-6)
    assert space.std.flatten().tolist() == pytest.approx([0.5, 0.25, 2.0], abs=1e-6)
    x = rule(Image.fromarray(photo()))[None]
    assert torch.allclose(space.pixels(x)[0], torch.from_numpy(photo()).permute(2, 0, 1) / 255, atol=1e-6)
    for bad in (lambda image: rule(image) ** 2, lambda image: rule(image) * torch.linspace(1, 2, 16)):
        with pytest.raises(ValueError, match="ε has no meaning in pixels"):
            PixelSpace.of(wrap(settled(Small()), bad, input_size=16))


def test_ball_by_hand() -> None:
    p = torch.full((1, 3, 1, 1), 0.5)
    moved = p + torch.tensor([0.3, -0.4, 0.0]).view(1, 3, 1, 1)
    assert Ball(0.1).project(p, moved).flatten().tolist() == pytest.approx([0.6, 0.4, 0.5])
    assert Ball(0.25, "l2").project(p, moved).flatten().tolist() == pytest.approx([0.65, 0.3, 0.5])
    assert Ball(1.0).project(p, 4 * moved - 3 * p).flatten().tolist() == pytest.approx([1.0, 0.0, 0.5])
    assert Ball(0.1, "l2").direction(torch.tensor([3e-30, 0.0, 4e-30]).view(1, 3, 1, 1)).flatten().tolist() == (
        pytest.approx([0.6, 0.0, 0.8])
    )


# --------------------------------------------------------------------------------------------------- closed forms


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), eps=st.floats(0, 0.3), norm=st.sampled_from(["linf", "l2"]))
def test_fgsm_on_a_linear_net_is_its_closed_form_and_the_loss_never_falls(seed: int, eps: float, norm: str) -> None:
    model = Linear(seed=seed).double()
    p = torch.from_numpy(np.random.default_rng(seed).uniform(size=(4, 3, 4, 4)))
    y = torch.tensor([0, 1, 2, 0])
    found = fgsm(model, p, y, Ball(eps, norm))
    W, q = model.weight.detach().numpy(), p.flatten(1).numpy()
    z = q @ W.T
    soft = np.exp(z - z.max(1, keepdims=True))
    soft /= soft.sum(1, keepdims=True)
    g = (soft - np.eye(3)[y]) @ W  # ∂/∂p of −log softmax_y(W p)
    s = np.sign(g) if norm == "linf" else g / np.linalg.norm(g, axis=1, keepdims=True)
    expected = np.clip(q + eps * s, 0, 1)
    assert np.allclose(found.pixels.flatten(1).numpy(), expected, atol=1e-12)
    assert bool((found.losses[1] >= found.losses[0] - 1e-12).all())  # convex, and every pixel moves uphill or stays
    after = expected @ W.T
    expected_loss = np.log(np.exp(after).sum(1)) - after[np.arange(4), y]
    assert np.allclose(found.losses[1].numpy(), expected_loss)
    down = fgsm(model, p, y, Ball(min(eps, 1e-4), norm), targeted=True)
    assert bool((down.losses[1] <= down.losses[0] + 1e-12).all())


def test_pgd_on_a_linear_net_of_two_classes_reaches_the_corner() -> None:
    model = Linear(2, 3).double()
    p = torch.full((1, 3, 4, 4), 0.5, dtype=torch.float64)
    found = pgd(model, p, torch.tensor([0]), Ball(0.1), Steps(steps=20))
    away = torch.sign(model.weight[1] - model.weight[0]).reshape(1, 3, 4, 4)  # the most that a linear loss can rise
    assert torch.allclose(found.pixels, p + 0.1 * away)
    assert found.losses.shape == (21, 1)
    assert bool((found.losses[1:] >= found.losses[:-1] - 1e-12).all())


def test_restarts_keep_the_best_of_each_picture_and_a_seed_decides_all() -> None:
    classifier = net(seed=4)
    pictures = [photo(i) for i in range(6)]
    how: dict[str, Any] = {"eps": 2 / 255, "steps": 3, "target": 1}
    one, three = (attack(classifier, pictures, restarts=n, **how) for n in (1, 3))
    better = torch.tensor(three.success) & ~torch.tensor(one.success) | (three.losses[-1] >= one.losses[-1] - 1e-6)
    assert bool(better.all())
    again = attack(classifier, pictures, restarts=3, **how)
    assert torch.equal(three.adversarial, again.adversarial)
    assert not torch.equal(one.adversarial, attack(classifier, pictures, seed=1, **how).adversarial)
    # A picture's attack does not depend on what else is in the batch.
    alone = attack(classifier, pictures[4], restarts=3, **how)
    assert torch.allclose(alone.adversarial[0], three.adversarial[4], atol=1e-5)


def test_a_targeted_attack_goes_to_its_class() -> None:
    classifier = net(seed=1)
    found = attack(classifier, photo(), 3, 0.3, steps=60, targeted=True)
    assert found.classes == (3,)
    assert found.success == (found.after[0][0].index == 3,)
    assert float(found.losses[-1, 0]) < float(found.losses[0, 0])
    probability = {one.index: one.probability for one in found.after[0]}
    assert probability[3] > {one.index: one.probability for one in found.before[0]}[3]


def test_eps_zero_changes_nothing() -> None:
    classifier = net("Lite0")
    for norm in ("linf", "l2"):
        found = attack(classifier, photo(), eps=0, norm=norm)
        assert torch.equal(found.clean, found.adversarial)
        assert found.before[0][0].index == found.after[0][0].index
        assert found.success == (False,)


def test_a_saturated_network_still_has_a_direction() -> None:
    module = Linear(2, 0).float()
    with torch.no_grad():
        module.weight.mul_(60)  # softmax of the top class is exactly 1 in single precision
    classifier = wrap(module, Preprocessing((4, 4), 4, "squash", (0.0,) * 3, (1.0,) * 3), input_size=4)
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.uniform(0.3, 0.7, (1, 3, 4, 4)).astype(np.float32))
    with torch.no_grad():
        assert float(module(x)[0].softmax(0).max()) == 1
    found = attack(classifier, x, eps=0.05, method="fgsm")
    assert float(found.perturbation.abs().min()) == pytest.approx(0.05, abs=1e-6)


# ------------------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"eps": -0.1}, "from 0 to 1"),
        ({"eps": 1.5}, "from 0 to 1"),
        ({"eps": 30, "norm": "l2"}, "from 0 to 27.71"),
        ({"eps": float("nan")}, "from 0 to 1"),
        ({"eps": "big"}, "from 0 to 1"),
        ({"steps": 0}, "steps is a whole number, at least 1; got 0"),
        ({"restarts": 0}, "restarts is a whole number"),
        ({"step_size": 0}, "step's size"),
        ({"norm": "l1"}, "unknown norm 'l1'"),
        ({"method": "cw"}, "unknown method 'cw'"),
        ({"targeted": True}, "needs its target class"),
        ({"target": 9}, "out of range"),
        ({"target": [0, 1]}, "2 targets were given for 1 pictures"),
    ],
)
def test_bad_settings(how: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        attack(net(), photo(), **how)


def test_what_is_no_picture_is_refused() -> None:
    with pytest.raises(ValueError, match="the input is no picture"):
        attack(net("none"), torch.full((1, 3, 16, 16), 1.2))
    with pytest.raises(TypeError, match="not a callable"):
        attack(net(), photo(), lambda z: z[0])
    with pytest.raises(TypeError, match="method is"):
        attack(net(), photo(), method=3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rule", "error", "message"),
    [
        (lambda x: x[:, :2], ValueError, r"returned \(1, 2, 16, 16\)"),
        (lambda x: x + math.nan, ValueError, "NaN or infinite"),
        (lambda x: x + 0.5, ValueError, "left the box"),
        (lambda x: (x + 0.1).clamp(0, 1), ValueError, "left its ball: a perturbation of 0.1 "),
        (lambda x: x.numpy(), TypeError, "it returned ndarray"),
    ],
)
def test_an_attack_of_somebody_s_own_is_checked(rule: Any, error: type[Exception], message: str) -> None:
    classifier = net()
    before = state(classifier.module)
    with pytest.raises(error, match=message):
        attack(classifier, photo(), eps=0.05, method=lambda model, x, y: rule(x))
    assert state(classifier.module) == before


def test_an_attack_of_somebody_s_own_gets_pixels_and_cannot_touch_the_module() -> None:
    classifier = net("ImageNet")
    classifier.module.train()
    before = state(classifier.module)
    seen: dict[str, Any] = {}

    def mine(model: PixelModel, x: Tensor, y: Tensor) -> Tensor:
        seen.update(low=float(x.min()), high=float(x.max()), y=y.tolist(), device=next(model.parameters()).device)
        model.train()  # as some libraries do
        leaf = x.clone().requires_grad_()
        torch.nn.functional.cross_entropy(model(leaf), y).backward()
        model.zero_grad()
        assert leaf.grad is not None
        return (x + 0.02 * leaf.grad.sign()).clamp(0, 1)

    found = attack(classifier, photo(), eps=0.02, method=mine)
    assert state(classifier.module) == before
    assert found.method == "mine"
    assert seen["low"] >= 0
    assert seen["high"] <= 1
    assert seen["y"] == [found.before[0][0].index]
    ours = attack(classifier, photo(), eps=0.02, method="fgsm")
    assert torch.allclose(found.adversarial, ours.adversarial, atol=1e-5)
    assert float(found.losses[1, 0]) == pytest.approx(float(ours.losses[1, 0]), rel=1e-4)


@pytest.mark.parametrize("method", ["pgd", "fgsm"])
def test_the_module_is_left_as_it_was(method: str) -> None:
    classifier = net()
    classifier.module.train()
    for parameter in classifier.module.parameters():
        parameter.grad = torch.ones_like(parameter)
    before = state(classifier.module)
    attack(classifier, [photo(0), photo(1)], method=method, steps=2)
    assert state(classifier.module) == before
    with torch.inference_mode():
        attack(classifier, photo(), method=method, steps=2)


# ------------------------------------------------------------------------------------------------- peaks and sweeps


def test_peaks_by_hand() -> None:
    classifier = net(seed=2)
    found = attack(classifier, photo(3), eps=0.2, steps=10)
    one = peaks(found, top=2)
    stage = list(classifier.stages)[-1]
    with camwidgets.record(classifier, found.clean) as clean, camwidgets.record(classifier, found.adversarial) as moved:
        A, B = (r.activations[classifier.stages[stage]][0] for r in (clean, moved))
        first, second = clean.evidence(one.true).at(stage), moved.evidence(one.wrong).at(stage)
    for (a, g), channels in ((first, one.true_channels), (second, one.wrong_channels)):
        assert list(channels) == (a * g)[0].sum((1, 2)).argsort(descending=True)[:2].tolist()
    assert one.true_clean == pytest.approx([float(A[k].max()) for k in one.true_channels])
    assert one.true_attacked == pytest.approx([float(B[k].max()) for k in one.true_channels])
    assert one.wrong_clean == pytest.approx([float(A[k].max()) for k in one.wrong_channels])
    assert one.true == found.before[0][0].index
    assert one.wrong == next(p.index for p in found.after[0] if p.index != one.true)
    assert len(peaks_figure(one).data) == 2
    with pytest.raises(ValueError, match="top is a number of channels"):
        peaks(found, top=0)


def test_peaks_of_a_clipped_stage_are_read_before_the_clip() -> None:
    classifier, cat = camwidgets.load("efficientnet_lite0"), camwidgets.samples.picture("cat")
    evidence = camwidgets.capture(classifier, cat, taps="S5")
    found = peak_responses(evidence, "S5")
    A = evidence.at("S5")[0][0].amax((1, 2))
    assert float(A.max()) == 6
    assert float(found.max()) > 6.5
    assert torch.allclose(found.clamp(max=6), A, atol=1e-5)


def test_mean_peaks_of_the_toy_world_true_falls_and_wrong_rises() -> None:
    told: list[tuple[int, int]] = []
    found = mean_peaks(
        camwidgets.load("toy"), ToyWorld(seed=8, n=20), steps=8, progress=lambda *at: told.append(at)
    )
    table = found.to_frame()
    assert bool((table[table["of"] == "true"]["change"] < 0).all())
    assert table[table["of"] == "wrong"]["change"].mean() > 0.5
    assert found.looked == 20 >= found.right >= found.broken > 5
    assert told[-1] == (20, 20)
    assert isinstance(found, MeanPeaks)
    title = str(peaks_figure(found).layout.title.text)
    assert f"means over {found.broken} broken of {found.right} rightly classified pictures" in title
    assert found.unreadable == {}
    with pytest.raises(TypeError, match="cannot be given"):
        mean_peaks(camwidgets.load("toy"), ToyWorld(seed=8, n=2), targeted=True)
    with pytest.raises(ValueError, match="the attack broke 0"):
        mean_peaks(camwidgets.load("toy"), ToyWorld(seed=8, n=2), eps=0.0)


def test_mean_peaks_leave_out_what_cannot_be_read() -> None:
    scenes = ToyWorld(seed=8, n=6)
    data: list[Any] = [(scene.image, scene.name) for scene in scenes]
    with_bad = mean_peaks(camwidgets.load("toy"), [*data[:3], (b"no picture", 0), *data[3:]], steps=4, eps=16 / 255)
    without = mean_peaks(camwidgets.load("toy"), data, steps=4, eps=16 / 255)
    assert list(with_bad.unreadable) == ["3"]
    assert (with_bad.looked, with_bad.right, with_bad.broken) == (without.looked, without.right, without.broken)
    assert with_bad.clean["true"] == pytest.approx(without.clean["true"], rel=1e-4)
    with pytest.raises(ValueError, match="none of the 1 pictures could be read; the first, '0'"):
        mean_peaks(camwidgets.load("toy"), [(b"no picture", 0)])


def test_numbers_of_numpy_s_are_numbers() -> None:
    rows = np.array([2, 1])
    eps: Any = np.float32(0.0625)
    found = attack(net(), photo(), eps=eps, steps=rows[0], restarts=rows[1], seed=rows[1])
    same = attack(net(), photo(), eps=0.0625, steps=2, seed=1)
    assert torch.equal(found.adversarial, same.adversarial)
    assert len(sweep(net(), photo(), [eps], steps=rows[0], top=rows[0]).channels) == 2
    with pytest.raises(ValueError, match="steps is a whole number"):
        attack(net(), photo(), steps=np.float64(2.0))  # type: ignore[arg-type]


def test_a_sweep_marks_where_the_class_flips_and_channels_drop_out() -> None:
    classifier, scene = camwidgets.load("toy"), ToyWorld(seed=8, n=1)[0]
    found = sweep(classifier, scene.image, [8 / 255, 1 / 255, 0.0, 40 / 255], steps=6, trees=1)
    assert [frame.eps for frame in found.frames] == [0.0, 1 / 255, 8 / 255, 40 / 255]
    flips = [frame.eps for frame in found.frames if frame.predictions[0].index != found.target]
    assert found.flip == (flips[0] if flips else None)
    assert found.flip is not None
    for i, k in enumerate(found.channels):
        assert found.frames[0].ranks[i] == i + 1
        gone = [frame.eps for frame in found.frames if frame.ranks[i] > 4]
        assert found.drops[k] == (gone[0] if gone else None)
    assert found.frames[-1].probability < found.frames[0].probability
    assert all(f.tree is not None and f.tree.target == f.predictions[0].index for f in found.frames)
    assert set(found.frames[0].maps) == set(classifier.stages)
    assert found.at(7.9 / 255).eps == 8 / 255
    assert list(found.to_frame().index) == [frame.eps for frame in found.frames]
    assert len(sweep_figure(found).data) == 5
    assert found.frames[1].attack.amplified().shape == (96, 96, 3)


def test_the_trees_of_an_attack() -> None:
    found = attack(camwidgets.load("toy"), ToyWorld(seed=8, n=3)[1].image, eps=40 / 255, steps=6)
    assert found.success == (True,)
    moved = found.tree_diff(depth=2)
    assert (moved.before.target, moved.after.target) == (found.before[0][0].index, found.after[0][0].index)
    assert moved.parting == "S5"
    assert found.tree_diff(target=found.classes[0], depth=1).after.target == found.classes[0]


def test_a_sweep_can_be_ended_and_refuses_what_it_cannot_do() -> None:
    classifier = net()
    before = state(classifier.module)

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep(classifier, photo(), progress=stop)
    assert state(classifier.module) == before
    with pytest.raises(ValueError, match="no ε was given"):
        sweep(classifier, photo(), [])
    with pytest.raises(ValueError, match="from 0 to 1"):
        sweep(classifier, photo(), [2.0])
    with pytest.raises(ValueError, match="takes one picture"):
        sweep(classifier, [photo(), photo(1)])


def test_the_rival_of_a_sweep_by_hand() -> None:
    classifier = net()
    found = sweep(classifier, photo(), [0.02, 0.1], steps=3, top=2, stage="S1", trees=1)
    assert found.stage == "S1"
    kept = (0, 3)
    other = rival(found, channels={"S1": kept})
    flipped = [frame for frame in found.frames if frame.predictions[0].index != found.target]
    assert other.target == (flipped[0] if flipped else found.frames[-1]).predictions[0 if flipped else 1].index
    for i, frame in enumerate(found.frames):
        x, top = frame.attack.adversarial, frame.predictions[0].index
        evidence = camwidgets.capture(classifier, x, other.target)
        F = responses(evidence, "S1")
        assert other.probabilities[i] == float(evidence.probabilities[0, other.target])
        for how in ("clean", "attacked"):
            assert other.peaks[how][i] == tuple(float(F[k].max()) for k in other.channels[how])
        for k in kept:
            np.testing.assert_array_equal(other.responses["S1", k][i], F[k].numpy())
        for maps, target in ((other.maps, other.target), (other.top_maps, top)):
            for name, values in stage_maps(camwidgets.capture(classifier, x, target)).items():
                np.testing.assert_array_equal(maps[i][name], values)
    A, g = camwidgets.capture(classifier, found.frames[-1].attack.adversarial, other.target).at("S1")
    best = (A * g)[0].mean((1, 2)).argsort(descending=True, stable=True)[:2]
    assert other.channels["attacked"] == tuple(best.tolist())
    assert list(other.to_frame().columns) == ["chosen", "rank", "channel", "clean", "attacked", "change"]
    with pytest.raises(ValueError, match="unknown stage 'S9'"):
        rival(found, channels={"S9": [0]})
    with pytest.raises(ValueError, match="S1 has the channels 0 …"):
        rival(found, channels={"S1": [999]})
    with pytest.raises(ValueError, match="unknown stage 'S9'"):
        sweep(classifier, photo(), stage="S9")


def test_the_rival_of_a_targeted_sweep_is_its_target() -> None:
    classifier = net()
    first = sweep(classifier, photo(), [0.0])
    aim = first.frames[0].predictions[2].index
    assert rival(sweep(classifier, photo(), [1 / 255], aim, targeted=True, steps=2)).target == aim


def test_an_attack_of_one_s_own_over_a_sweep() -> None:
    classifier, asked = net("none"), []

    def strong(model: PixelModel, x: Tensor, y: Tensor, eps: float) -> Tensor:
        asked.append(eps)
        return (x + eps).clamp(0, 1)

    def fixed(model: PixelModel, x: Tensor, y: Tensor) -> Tensor:
        return (x + torch.tensor([0.2, -0.1, 0.0]).reshape(1, 3, 1, 1)).clamp(0, 1)

    grey = np.full((16, 16, 3), 127, np.uint8)
    found = sweep(classifier, grey, [0.05, 0.1], method=strong)
    assert asked == [0.05, 0.1]  # at ε = 0 nothing is asked of it
    assert [frame.attack.method for frame in found.frames] == ["strong"] * 3
    shrunk = sweep(classifier, grey, [0.1, 0.4], method=fixed)
    deltas = [frame.attack.perturbation[0].amax((1, 2)).tolist() for frame in shrunk.frames]
    np.testing.assert_allclose(np.array(deltas), np.array([[0, 0, 0], [0.1, -0.05, 0], [0.2, -0.1, 0]]), atol=1e-6)
    whole = float(shrunk.frames[-1].attack.perturbation.norm())
    in_l2 = sweep(classifier, grey, [0.25 * whole], method=fixed, norm="l2").frames[1].attack.perturbation
    torch.testing.assert_close(in_l2, 0.25 * shrunk.frames[-1].attack.perturbation, atol=1e-6, rtol=0)
    with pytest.raises(ValueError, match="the attack fixed left the box"):
        sweep(classifier, grey, [0.1], method=renamed(lambda model, x, y: x + 2, "fixed"))
    with pytest.raises(ValueError, match="NaN or infinite"):
        sweep(classifier, grey, [0.1], method=lambda model, x, y: x * math.nan)


def test_an_attack_that_works_in_place_is_followed_as_any_other() -> None:
    def inplace(model: PixelModel, x: Tensor, y: Tensor) -> Tensor:
        y.zero_()
        return x.add_(0.2).clamp_(0, 1)

    def at_eps(model: PixelModel, x: Tensor, y: Tensor, eps: float) -> Tensor:
        return x.add_(eps).clamp_(0, 1)

    grey = np.full((16, 16, 3), 127, np.uint8)
    for method in (inplace, at_eps):
        found = sweep(net("none"), grey, [0.05, 0.1], method=method)
        sizes = [float(frame.attack.perturbation.abs().max()) for frame in found.frames]
        assert sizes == pytest.approx([0, 0.05, 0.1], abs=1e-6)


def test_a_random_attack_of_one_strength_is_run_once_and_its_frames_lie_on_a_line() -> None:
    asked = []

    def noise(model: PixelModel, x: Tensor, y: Tensor) -> Tensor:
        asked.append(1)
        return x + 0.2 * (2 * torch.rand_like(x) - 1)

    found = sweep(net("none"), np.full((16, 16, 3), 127, np.uint8), [0.02, 0.04], method=noise)
    assert len(asked) == 1
    small, large = (frame.attack.perturbation for frame in found.frames[1:])
    torch.testing.assert_close(2 * small, large, atol=1e-6, rtol=0)
    assert found.frames[1].attack.method == "noise"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_ball_holds_whatever_the_network_s_precision(dtype: torch.dtype, norm: str) -> None:
    rule = Preprocessing((16, 16), 16, "squash", *MOMENTS["ImageNet"])
    classifier = wrap(settled(Small()).eval().to(dtype), rule, input_size=16)
    eps = 1 / 255 if norm == "linf" else 0.1

    def brighter(model: PixelModel, x: Tensor, y: Tensor) -> Tensor:
        assert torch.isfinite(model(x)).all()
        return (x + 1 / 255).clamp(0, 1) if norm == "linf" else x

    methods: tuple[Any, ...] = ("pgd", "fgsm", brighter)
    for method in methods:
        found = attack(classifier, photo(), eps=eps, norm=norm, steps=3, method=method)
        assert float(Ball(eps, norm).size(found.perturbation).max()) <= eps * (1 + 1e-5)
        assert found.adversarial.dtype == dtype
    for shape in ("linf", "l2"):
        still = attack(classifier, photo(), eps=0, norm=shape, method="fgsm")
        assert torch.equal(still.clean, still.adversarial)


def test_an_attack_within_inference_mode_whatever_the_precision() -> None:
    for dtype in (torch.float32, torch.float64):
        rule = Preprocessing((16, 16), 16, "squash", *MOMENTS["ImageNet"])
        classifier = wrap(settled(Small()).eval().to(dtype), rule, input_size=16)
        with torch.inference_mode():
            found = attack(classifier, photo(), eps=0.05, steps=2)
        assert torch.equal(found.perturbation, attack(classifier, photo(), eps=0.05, steps=2).perturbation)


def test_a_targeted_sweep_needs_its_target() -> None:
    with pytest.raises(ValueError, match="needs its target class"):
        sweep(net(), photo(), [1 / 255], targeted=True)


def renamed(function: Any, name: str) -> Any:
    function.__name__ = name
    return function


@pytest.mark.parametrize("method", ["pgd", "fgsm", lambda model, x, y: x + 0 * model(x).sum()])
def test_an_attack_can_be_ended_before_any_of_its_passes(method: Any) -> None:
    classifier = net()
    classifier.module.train()
    before, passes = state(classifier.module), []

    def watch() -> None:
        passes.append(1)
        if len(passes) == stop:
            raise KeyboardInterrupt

    for stop in (1, 2):
        passes.clear()
        if callable(method) and stop == 2:
            continue
        with pytest.raises(KeyboardInterrupt):
            attack(classifier, photo(), method=method, steps=3, watch=watch)
        assert len(passes) == stop
        assert state(classifier.module) == before
    passes, stop = [], 0
    attack(classifier, photo(), steps=3, watch=watch)
    assert len(passes) == 4  # a gradient for each step, and the loss at the end


# ---------------------------------------------------------------------------------------------------- photographs


@pytest.mark.slow
def test_pgd_breaks_lite0_on_photographs(photographs: Path) -> None:
    folder = photographs / "ilsvrc_dev"
    with (folder / "index.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))[::6][:20]
    classifier = camwidgets.load("efficientnet_lite0").prepared()
    x = torch.cat([classifier.preprocess(folder / row["file"]) for row in rows])
    labels = [int(row["imagenet_class_index"]) for row in rows]
    found = attack(classifier, x, labels, 4 / 255, steps=10)
    right = [i for i, y in enumerate(labels) if found.before[i][0].index == y]
    assert len(right) >= 10
    assert sum(found.success[i] for i in right) >= 0.95 * len(right)




def test_the_benchmark_counts_what_attack_says(capsys: pytest.CaptureFixture[str]) -> None:
    from benchmarks import adversarial

    classifier, data = camwidgets.load("toy"), adversarial.pairs("toy", 6, Path())
    row = adversarial.rate("ours", classifier, data, 16 / 255, steps=4)
    found = attack(classifier, [p for p, _ in data], [y for _, y in data], 16 / 255, steps=4)
    right = [found.before[i][0].index == y for i, (_, y) in enumerate(data)]
    broken = sum(r and s for r, s in zip(right, found.success, strict=True))
    assert (row["right"], row["broken"]) == (str(sum(right)), str(broken))
    assert adversarial.main(["--networks", "toy", "--pictures", "6", "--steps", "3", "--eps", "16"]) == 0
    told = capsys.readouterr().out
    assert "FGSM" in told
    assert told.count("wrong") == 4
