"""Changes made to pictures: regions to the pixel, retouching by hand, undo and redo, the log, and what comes of it."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

import camwidgets
from camwidgets import Classifier, wrap
from camwidgets.classifiers.preprocessing import Preprocessing
from camwidgets.datasets.toyworld import ToyWorld
from camwidgets.decomposition.ablation import ablate
from camwidgets.investigate import Edits, Region
from camwidgets.investigate.interventions import MOST_EDITS, MOST_POINTS
from camwidgets.investigate.retouch import blur, inpaint, paint, paste, surroundings, swap_background
from tests.nets import Small, settled, state
from tests.test_failures import GREEN, RED, Colours, flat

SIZE = (16, 16)


def net(seed: int = 0) -> Classifier:
    rule = Preprocessing(SIZE, 16, "squash", (0.4,) * 3, (0.2,) * 3)
    return wrap(settled(Small(), seed).eval(), rule, name="small", input_size=16)


def photo(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (16, 16, 3), dtype=np.uint8)


# -------------------------------------------------------------------------------------------------------- regions


def test_regions_to_the_pixel() -> None:
    box = Region.box(2, 3, 5, 4).mask(SIZE)
    assert sorted(zip(*np.nonzero(box), strict=True)) == [(3, 2), (3, 3), (3, 4)]
    assert int(Region.box(-5, -5, 3, 2).mask(SIZE).sum()) == 6  # cut to the picture
    triangle = Region.polygon([(0, 0), (4, 0), (0, 4)]).mask(SIZE)
    assert triangle[0, :5].all()
    assert triangle[:5, 0].all()
    assert not triangle[3, 3]
    dot = Region.brush([(8, 8)], 1).mask(SIZE)
    assert int(dot.sum()) == 5
    stroke = Region.brush([(2, 8), (10, 8)], 1.5).mask(SIZE)
    assert stroke[8, 1:12].all()
    assert stroke[7, 2:11].all()
    assert not stroke[10].any()
    mask = np.eye(16, dtype=bool)
    assert np.array_equal(Region.of_mask(mask).mask(SIZE), mask)


@pytest.mark.parametrize(
    "region",
    [
        Region.box(1, 2, 6, 7),
        Region.polygon([(1, 1), (9, 2), (4, 12)]),
        Region.brush([(1, 1), (9.5, 2), (4, 12)], 2.5),
        Region.of_mask(np.arange(256).reshape(16, 16) % 3 == 0),
    ],
)
def test_a_region_survives_json(region: Region) -> None:
    again = Region.from_json(json.loads(json.dumps(region.to_json())))
    assert np.array_equal(again.mask(SIZE), region.mask(SIZE))


def test_regions_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="the mask has 8×4 pixels, the picture 16×16"):
        Region.of_mask(np.ones((4, 8), bool)).mask(SIZE)
    with pytest.raises(ValueError, match="nothing of the box lies in the picture"):
        Region.box(40, 40, 50, 50).mask(SIZE)
    with pytest.raises(ValueError, match="nothing of the mask"):
        Region.of_mask(np.zeros(SIZE, bool)).mask(SIZE)
    with pytest.raises(ValueError, match="x0 < x1"):
        Region.box(5, 0, 2, 4)
    with pytest.raises(ValueError, match="3 to"):
        Region.polygon([(0, 0), (1, 1)])
    with pytest.raises(ValueError, match="radius"):
        Region.brush([(0, 0)], 0)
    with pytest.raises(ValueError, match="not finite"):
        Region.brush([(0, float("nan"))], 1)
    with pytest.raises(ValueError, match="a mask is H×W"):
        Region.of_mask(np.full(SIZE, 3))
    with pytest.raises(ValueError, match="unknown region 'star'"):
        Region.from_json({"kind": "star"})


# ----------------------------------------------------------------------------------------------------- retouching


def test_only_the_region_changes() -> None:
    picture, mask = photo(), Region.box(4, 4, 10, 12).mask(SIZE)
    before = picture.copy()
    for changed in (paint(picture, mask), paint(picture, mask, (1, 2, 3)), blur(picture, mask), inpaint(picture, mask)):
        assert np.array_equal(changed[~mask], before[~mask])
        assert not np.array_equal(changed[mask], before[mask])
        assert changed.dtype == np.uint8
    assert np.array_equal(picture, before)
    assert paint(picture, mask)[5, 5].tolist() == np.round(before[~mask].mean(0)).tolist()


def test_inpainting_restores_what_is_biharmonic() -> None:
    ys, xs = np.mgrid[:32, :32] / 31.0
    smooth = 40 + 60 * xs + 90 * ys + 40 * xs * ys + 20 * (xs**3 - 3 * xs * ys**2)  # harmonic: Δ of it is 0
    picture = np.repeat(smooth[..., None], 3, 2).round().astype(np.uint8)
    mask = Region.brush([(10, 10), (20, 18)], 5).mask((32, 32))
    filled = inpaint(paint(picture, mask, (0, 255, 0)), mask)
    assert np.abs(filled.astype(int) - picture)[mask].max() <= 2
    corner = Region.box(0, 0, 6, 6).mask((32, 32))
    filled = inpaint(paint(picture, corner, (0, 255, 0)), corner)
    assert np.abs(filled.astype(int) - picture)[corner].max() < 20
    with pytest.raises(ValueError, match="nothing is left to fill it from"):
        inpaint(picture, np.ones((32, 32), bool))


def test_inpainting_is_the_least_squares_answer() -> None:
    """Against a dense solve of the same problem, written down the slow way."""
    rng = np.random.default_rng(0)
    values, mask = rng.uniform(60, 190, (9, 8)), np.zeros((9, 8), bool)
    mask[2:6, 0:4] = True  # touches the picture's edge
    picture = np.repeat(values.round()[..., None], 3, 2).astype(np.uint8)
    n = values.size
    L = np.zeros((n, n))
    for y in range(9):
        for x in range(8):
            for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0)):
                if 0 <= y + dy < 9 and 0 <= x + dx < 8:
                    L[8 * y + x, 8 * (y + dy) + x + dx] += 1
                    L[8 * y + x, 8 * y + x] -= 1
    hole, known = mask.ravel(), picture[..., 0].ravel().astype(float)
    u, *_ = np.linalg.lstsq(L[:, hole], -L[:, ~hole] @ known[~hole], rcond=None)
    assert np.abs(inpaint(picture, mask)[..., 0].ravel()[hole] - u.clip(0, 255)).max() <= 0.51


def test_pasting_swapping_and_backdrops() -> None:
    picture, patch = photo(), photo(1)[:4, :6]
    out = paste(picture, patch, 12, -2)
    assert np.array_equal(out[:2, 12:], patch[2:, :4])
    assert np.array_equal(out[2:], picture[2:])
    with pytest.raises(ValueError, match="outside the picture"):
        paste(picture, patch, 16, 0)
    with pytest.raises(ValueError, match="a patch is h×w×3 uint8"):
        paste(picture, patch.astype(float), 0, 0)
    mask = Region.box(0, 0, 8, 16).mask(SIZE)
    swapped = swap_background(picture, mask, photo(2))
    assert np.array_equal(swapped[mask], picture[mask])
    assert np.array_equal(swapped[~mask], photo(2)[~mask])
    with pytest.raises(ValueError, match="they must be of one size"):
        swap_background(picture, mask, photo()[:8])
    backdrop = surroundings(picture, mask)
    assert np.array_equal(backdrop[:, :8], picture[:, :8])
    assert (backdrop[:, 8:] == picture[:, 7:8]).all()
    with pytest.raises(ValueError, match="empty region"):
        surroundings(picture, np.zeros(SIZE, bool))
    with pytest.raises(ValueError, match="a colour is three whole numbers"):
        paint(picture, mask, (0, 0, 256))
    with pytest.raises(ValueError, match="sigma"):
        blur(picture, mask, -1)


# ---------------------------------------------------------------------------------------------------------- edits


def test_undo_redo_and_the_log() -> None:
    edits = Edits(net(), photo())
    with pytest.raises(ValueError, match="nothing to undo"):
        edits.undo()
    first = edits.paint(Region.box(0, 0, 8, 8), (0, 0, 0)).picture
    second = edits.blur(Region.brush([(10, 10)], 4), 2.0).picture
    assert not np.array_equal(first, second)
    assert np.array_equal(edits.undo().picture, first)
    assert np.array_equal(edits.undo().picture, photo())
    assert np.array_equal(edits.redo().redo().picture, second)
    with pytest.raises(ValueError, match="nothing to redo"):
        edits.redo()
    edits.undo().inpaint(Region.box(2, 2, 5, 5))
    assert [edit.kind for edit in edits.log] == ["paint", "inpaint"]
    with pytest.raises(ValueError, match="nothing to redo"):
        edits.redo()
    with pytest.raises(ValueError, match="8×8 pixels, the picture 16×16"):
        edits.undo().paint(Region.of_mask(np.ones((8, 8), bool)))
    assert [edit.kind for edit in edits.redo().log] == ["paint", "inpaint"]  # a refused change forgets nothing


def test_a_log_is_replayed_to_the_bit(tmp_path: object) -> None:
    classifier = net()
    edits = Edits(classifier, photo())
    edits.paint(Region.polygon([(0, 0), (7, 0), (0, 9)]), (9, 200, 3)).blur(Region.box(3, 3, 12, 12), 1.5)
    edits.inpaint(Region.brush([(1, 12), (8, 13)], 2)).paint(Region.box(14, 14, 16, 16))
    edits.swap_background(Region.of_mask(photo()[..., 0] > 99), photo(5)).paste(photo(6)[:5, :3], 4, 11)
    log = json.loads(json.dumps(edits.to_json()))
    again = Edits.replay(classifier, photo(), log)
    assert np.array_equal(again.picture, edits.picture)
    assert torch.equal(again.input(), edits.input())
    assert json.loads(json.dumps(again.to_json())) == log
    with pytest.raises(ValueError, match="the log is of another picture"):
        Edits.replay(classifier, photo(1), log)
    for bad in ({"kind": "paint"}, {"kind": "blur", "region": [], "options": {}}, "paint"):
        with pytest.raises(ValueError, match=r"change 1 of the log cannot be read|blur needs a region"):
            Edits.replay(classifier, photo(), log | {"edits": [bad]})
    with pytest.raises(ValueError, match="has format 9; this version reads 1"):
        Edits.replay(classifier, photo(), log | {"format": 9})
    for missing in ("edits", "picture_sha256"):
        with pytest.raises(ValueError, match="this is no log of Edits"):
            Edits.replay(classifier, photo(), {k: v for k, v in log.items() if k != missing})


@pytest.mark.parametrize(
    "bad",
    [
        {"kind": "inpaint", "region": {"kind": "box", "points": [[1, 2]]}, "options": {}},
        {"kind": "inpaint", "region": {"kind": "mask", "png": "bm9uZQ=="}, "options": {}},
        {"kind": "paste", "region": None, "options": {"patch": {"png": "bm9uZQ=="}, "x": 1, "y": 1}},
        {"kind": "paste", "region": None, "options": {"patch": {}, "x": 1, "y": 1}},
        {"kind": "paste", "region": None, "options": {"patch": [1], "x": 1, "y": 1}},
        {"kind": "off", "region": None, "options": {"channels": [0]}},
    ],
)
def test_changes_that_cannot_be_read(bad: dict[str, object]) -> None:
    classifier = net()
    log = Edits(classifier, photo()).to_json()
    with pytest.raises(ValueError, match="change 1 of the log cannot be read"):
        Edits.replay(classifier, photo(), log | {"edits": [bad]})


def test_the_points_of_a_log_are_bounded() -> None:
    edits, stroke = Edits(net(), photo()), Region.polygon([(1, 1), (9, 1), (1, 9)] * (MOST_POINTS // 6))
    edits.paint(stroke).paint(stroke)
    with pytest.raises(ValueError, match=f"at most {MOST_POINTS} points"):
        edits.paint(Region.polygon([(0, 0), (9, 0), (0, 9)]))
    assert len(edits.undo().paint(Region.box(0, 0, 4, 4)).log) == 2


def test_effects_are_what_the_network_says() -> None:
    classifier = net(3)
    before = state(classifier.module)
    edits = Edits(classifier, photo(2)).paint(Region.box(0, 0, 16, 9), (255, 255, 255)).blur(Region.box(0, 9, 16, 16))
    pictures = [photo(2), edits.undo().picture, edits.redo().picture]
    logits = [classifier.logits(classifier.preprocess(p))[0].detach() for p in pictures]
    whole = edits.effect()
    assert torch.allclose(whole.logits, logits[2], atol=1e-5)
    for score in whole.scores:
        assert score.logit == pytest.approx((float(logits[0][score.index]), float(logits[2][score.index])), abs=1e-5)
        assert score.probability[0] == pytest.approx(float(logits[0].softmax(0)[score.index]), abs=1e-6)
    assert whole.flipped == (int(logits[0].argmax()) != int(logits[2].argmax()))
    one, two = edits.effects()
    assert torch.allclose(one.logits, logits[1], atol=1e-5)
    assert two.scores[0].logit[0] == pytest.approx(float(logits[1][two.scores[0].index]), abs=1e-5)
    assert one.changed == pytest.approx(9 / 16, abs=0.01)
    assert next(iter(whole.to_frame().columns)) == "logit before"
    assert state(classifier.module) == before
    with pytest.raises(ValueError, match="the steps 0 … 2"):
        edits.effect(3)


def test_untouched_pixels_enter_as_they_did() -> None:
    """An adversarial input is finer than 8 bits: painting one corner must not round the rest."""
    classifier = net()
    x = classifier.preprocess(photo()) * 0.93 + 1e-4
    moved = Edits(classifier, x).paint(Region.box(0, 0, 4, 4), (10, 20, 30)).input()
    assert torch.equal(moved[..., 4:, :], x[..., 4:, :])
    assert moved[0, :, 0, 0].tolist() == pytest.approx([(v / 255 - 0.4) / 0.2 for v in (10, 20, 30)], abs=1e-5)


def test_a_change_of_the_tree() -> None:
    classifier = camwidgets.load("toy")
    scene = ToyWorld(seed=3, n=1)[0]
    edits = Edits(classifier, scene.image).paint(Region.of_mask(scene.mask(scene.main)))
    found = edits.tree_diff(depth=2)
    assert found.before.target == found.after.target == classifier.predict(scene.image, 1)[0].index
    assert found.distance > 0.2
    assert edits.tree_diff(depth=2, step=0).distance == 0
    effect = edits.effect()
    was = next(s for s in effect.scores if s.label == effect.before)
    assert was.logit[1] < was.logit[0] - 1  # the object is gone


def test_limits() -> None:
    with pytest.raises(ValueError, match="one picture is changed at a time"):
        Edits(net(), [photo(), photo(1)])
    edits = Edits(net(), photo())
    for _ in range(MOST_EDITS):
        edits.paint(Region.box(0, 0, 2, 2), (0, 0, 0))
    with pytest.raises(ValueError, match="at most 500 changes"):
        edits.paint(Region.box(0, 0, 2, 2))
    small = Image.fromarray(photo()).resize((40, 30))
    assert Edits(net(), photo()).swap_background(Region.box(0, 0, 4, 4), small).picture.shape == (16, 16, 3)


# ------------------------------------------------------------------------------------------------- channels, steps


def test_channels_that_are_off_are_those_that_ablate_takes_out() -> None:
    classifier = camwidgets.load("toy")
    cat = camwidgets.samples.picture("cat")
    before = state(classifier.module)
    edits = Edits(classifier, cat).switch_off("S5", 3).switch_off("S4", 7).switch_off("S5", [5])
    evidence = camwidgets.capture(classifier, cat)
    both = ablate(evidence, [("S5", 3), ("S5", 5), ("S4", 7)])
    assert torch.equal(edits.effect().logits, both.logits)
    assert not torch.equal(both.logits, evidence.logits[0])
    assert torch.equal(edits.effect(1).logits, ablate(evidence, ("S5", 3)).logits)
    assert edits.effect().off == edits.off == tuple(sorted((classifier.stages[s], k) for s, k in
                                                           (("S5", 3), ("S5", 5), ("S4", 7))))  # fmt: skip
    edits.switch_on("S5", 3).switch_on("S4", 7)
    assert torch.equal(Edits(classifier, cat).switch_off("S5", [3, 5]).effect().logits,
                       ablate(evidence, [("S5", 3), ("S5", 5)]).logits)  # fmt: skip
    assert torch.equal(edits.effect().logits, ablate(evidence, ("S5", 5)).logits)
    assert torch.equal(edits.undo().undo().effect().logits, both.logits)
    assert edits.effect().changed == 0
    assert state(classifier.module) == before


def test_a_change_of_the_picture_and_a_channel_off_at_once() -> None:
    classifier, region = net(), Region.box(2, 2, 9, 9)
    painted = Edits(classifier, photo()).paint(region, (9, 9, 9))
    tap = next(iter(classifier.stages))
    wanted = ablate(camwidgets.capture(classifier, painted.input()), (tap, 1)).logits
    found = Edits(classifier, photo()).switch_off(tap, 1).paint(region, (9, 9, 9)).effect()
    assert torch.equal(found.logits, wanted)
    assert 0 < found.changed < 1


def test_switches_survive_the_log_and_trees_refuse_them() -> None:
    classifier = net()
    tap = next(iter(classifier.stages))
    edits = Edits(classifier, photo()).switch_off(tap, 1).blur(Region.box(1, 1, 9, 9), 2.0).switch_off(tap, 0)
    again = Edits.replay(classifier, photo(), json.loads(json.dumps(edits.to_json())))
    assert torch.equal(again.effect().logits, edits.effect().logits)
    assert again.off == edits.off
    assert str(again.log[0]) == f"switched off {tap} #1"
    assert str(again.log[1]) == "blurred a box (σ = 2 pixels)"
    with pytest.raises(ValueError, match="switch its channels on again"):
        edits.tree_diff()
    assert len(edits.go(0).done) == 3
    assert edits.off == ()
    assert edits.go(3).off == again.off
    for step in (4, -1, True):
        with pytest.raises(ValueError, match="steps 0 … 3"):
            edits.go(step)


def test_switches_that_are_refused_change_nothing() -> None:
    classifier = net()
    tap = next(iter(classifier.stages))
    edits = Edits(classifier, photo()).switch_off(tap, 1)
    refused = [(tap, 999, "out of range"), (tap, True, "out of range"), (tap, 1, "is off already"), ("S9", 0, "tap")]
    for name, channel, words in refused:
        with pytest.raises(ValueError, match=words):
            edits.switch_off(name, channel)
    with pytest.raises(ValueError, match="is on already"):
        edits.switch_on(tap, 0)
    for none in ([], [0, 0]):
        with pytest.raises(ValueError, match="each once"):
            edits.switch_off(tap, none)
    assert len(edits.log) == 1
    assert edits.off == ((classifier.stages[tap], 1),)


def test_channels_may_be_numbers_and_arrays_of_numpy_s() -> None:
    classifier = net()
    tap = next(iter(classifier.stages))
    edits = Edits(classifier, photo()).switch_off(tap, np.int64(1)).switch_off(tap, np.array([0, 2]))  # type: ignore[arg-type]
    edits.switch_off(tap, [np.int32(3)]).switch_on(tap, np.array(1))  # type: ignore[list-item]
    assert [k for _, k in edits.off] == [0, 2, 3]
    assert Edits.replay(classifier, photo(), json.loads(json.dumps(edits.to_json()))).off == edits.off
    with pytest.raises(ValueError, match="at least one"):
        edits.switch_off(tap, np.array([], int))


def test_two_classes_of_one_label_are_two() -> None:
    colours = wrap(Colours().eval(), Preprocessing(SIZE, 16, "squash", (0.0,) * 3, (1.0,) * 3), ["same"] * 3)
    effect = Edits(colours, flat(RED)).paint(Region.box(0, 0, 16, 16), GREEN).effect()
    assert effect.top == (0, 1)
    assert effect.flipped
    assert str(effect).startswith("'same' 100.0% → 0.0% (logit -9.00); now 'same' 100.0%")
