"""Attention drop, accumulation while training, the integral model: step by step by hand, and through `train`."""

from __future__ import annotations

import dataclasses
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from camwidgets.datasets.toyworld import ToyWorld
from camwidgets.learning.accumulate import AttentionAccumulator
from camwidgets.learning.accumulated import open_accumulated
from camwidgets.learning.drop import AttentionDrop
from camwidgets.learning.labelled import Labelled, open_labelled
from camwidgets.learning.losses import hybrid, multi_label_bce
from camwidgets.learning.nets import AttentionNet, TwoBranchNet, attention_maps
from camwidgets.learning.oaa import ClassifierObjective, IntegralObjective, OAAObjective, TwoBranchObjective
from camwidgets.learning.objective import Batch, Objective, View
from camwidgets.learning.training import TrainingStopped, train

STAGES = ((6,), (8,))
SIZE = (8, 8)
CLASSES = ["cat", "car", "boat"]


class Pooled(nn.Module):
    """F is the picture itself in blocks of 2×2 pixels, one channel a class: what goes in can be seen in the maps."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(()))
        self.passes = 0

    def scores(self, x: Tensor, keep: Tensor | None = None) -> Tensor:
        self.passes += 1
        features = self.gain * nn.functional.avg_pool2d(x, 2)
        return features if keep is None else features * keep

    def forward(self, x: Tensor) -> Tensor:
        return self.scores(x).mean((-2, -1))


def batch(x: Tensor, present: list[list[int]], ids: tuple[str, ...] = ("a", "b"), **more: Any) -> Batch:
    still = View(torch.zeros(len(x), dtype=torch.bool), (0, 0), (x.shape[-2], x.shape[-1]))
    given: dict[str, Any] = {
        "masks": None, "epoch": 1, "step": 1, "generator": torch.Generator().manual_seed(0), "view": still, **more,
    }  # fmt: skip
    return Batch(ids, x, torch.tensor(present).bool(), **given)


@pytest.fixture
def kept(tmp_path: Path) -> Any:
    with AttentionAccumulator(tmp_path / "kept", ["a", "b"], 3, (2, 2)) as made:
        yield made


def small(n: int = 24, **more: Any) -> Labelled:
    return open_labelled(ToyWorld(seed=5, n=n, objects=(1, 3), classes=CLASSES, **more), size=16).painted()


def net(kind: Any = AttentionNet) -> Any:
    torch.manual_seed(3)
    return kind(3, STAGES, 8)


# ------------------------------------------------------------------------------------------------------- the drop


def test_drop_blanks_what_is_above_delta_in_any_class_present() -> None:
    drop = AttentionDrop(threshold=0.5, rate=1.0)
    maps = torch.tensor([[[[0.5, 0.75], [0.0, 0.0]], [[0.0, 0.0], [1.0, 0.25]]]])
    drop.remember(["a"], maps)
    generator = torch.Generator().manual_seed(0)
    assert drop.keep(["a"], (2, 2), generator)[0, 0].tolist() == [[1, 0], [0, 1]]
    drop.remember(["a"], torch.zeros(1, 2, 2, 2))  # the previous map alone counts, not all before it
    assert drop.keep(["a"], (2, 2), generator).all()


def test_drop_draws_each_picture_by_itself_from_the_generator() -> None:
    drop = AttentionDrop(rate=0.5)
    ids = [f"p{i}" for i in range(400)]
    drop.remember(ids, torch.ones(400, 1, 1, 1))
    kept = drop.keep(ids, (1, 1), torch.Generator().manual_seed(4)).flatten()
    r = torch.rand(400, generator=torch.Generator().manual_seed(4))
    assert torch.equal(kept, (r >= 0.5).float())
    before = torch.get_rng_state()
    assert not AttentionDrop(rate=0.0).keep(ids, (1, 1), torch.Generator()).eq(0).any()
    assert torch.equal(torch.get_rng_state(), before)


def test_drop_scales_and_follows_the_mirror() -> None:
    drop = AttentionDrop(threshold=0.6, rate=1.0)
    drop.remember(["a", "b"], torch.tensor([[[[1.0, 0.0]]], [[[1.0, 0.0]]]]))
    view = View(torch.tensor([False, True]), (0, 0), (1, 4))
    hidden = drop.hidden(["a", "b"], (1, 4), view)[:, 0, 0].int().tolist()
    assert hidden == [[1, 1, 0, 0], [0, 0, 1, 1]]  # bilinear: 1, ¾, ¼, 0


def test_drop_state() -> None:
    one, other = AttentionDrop(), AttentionDrop()
    one.remember(["a", "b"], torch.rand(2, 1, 3, 3))
    other.load_state_dict(one.state_dict())
    one.remember(["a", "c"], torch.zeros(2, 1, 3, 3))
    assert other.hidden(["a", "b", "c"], (3, 3))[:2].any()
    assert not one.hidden(["a", "c"], (3, 3)).any()
    with pytest.raises(ValueError, match="has ids and as many maps"):
        other.load_state_dict({"ids": ["a"], "maps": torch.zeros(2, 3, 3)})
    with pytest.raises(ValueError, match=r"maps of \(3, 3\) were remembered before; got \(2, 2\)"):
        one.remember(["a"], torch.zeros(1, 1, 2, 2))


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"threshold": 1.2}, r"threshold \(δ\) must lie between 0 and 1, not 1\.2"),
        ({"rate": -0.5}, r"rate \(β\) must lie between 0 and 1, not -0\.5"),
        ({"rate": float("nan")}, r"rate \(β\) must lie between 0 and 1, not nan"),
        ({"where": "feature"}, "unknown place to drop 'feature'; valid: picture, features"),
    ],
)
def test_drop_parameters(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        AttentionDrop(**given)
    with pytest.raises(TypeError, match=r"threshold \(δ\) must be a number"):
        AttentionDrop(threshold="0.6")  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------------------------- OAA


def test_one_pass_gives_loss_and_maps_of_classes_present(kept: AttentionAccumulator) -> None:
    model, x = Pooled(), torch.randn(2, 3, 4, 4)
    given = batch(x, [[1, 0, 1], [0, 0, 0]])
    losses = OAAObjective(kept).losses(model, given)
    assert model.passes == 1
    F = nn.functional.avg_pool2d(x, 2)
    torch.testing.assert_close(losses["total"], multi_label_bce(F.mean((-2, -1)), given.present))
    losses["total"].backward()
    assert model.gain.grad is not None
    assert len(kept) == 2
    wanted = attention_maps(F, given.present)
    torch.testing.assert_close(kept.batch(["a", "b"]), wanted, atol=2**-11, rtol=0)
    assert [kept.count("a"), kept.count("b")] == [1, 0]


def test_maps_are_kept_as_the_picture_is_not_as_it_was_shown(kept: AttentionAccumulator) -> None:
    x = torch.rand(2, 3, 4, 4)
    view = View(torch.tensor([True, False]), (0, 0), (4, 4))
    shown = torch.stack([x[0].flip(2), x[1]])
    OAAObjective(kept).losses(Pooled(), batch(shown, [[1, 1, 1], [1, 1, 1]], view=view))
    wanted = attention_maps(nn.functional.avg_pool2d(x, 2), torch.ones(2, 3))
    torch.testing.assert_close(kept.batch(["a", "b"]), wanted, atol=2**-11, rtol=0)


@pytest.mark.parametrize("where", ["picture", "features"])
def test_oaa_with_drop_looks_elsewhere(kept: AttentionAccumulator, where: str) -> None:
    """Algorithm 1: the second pass cannot see the brightest block, so the second brightest gets the 1."""
    x = torch.tensor([[4.0, 2.0], [1.0, 0.5]]).repeat_interleave(2, 0).repeat_interleave(2, 1).expand(1, 3, 4, 4)
    objective = OAAObjective(kept, AttentionDrop(rate=1.0, where=where))
    seen = []
    for epoch in (1, 2):
        objective.losses(Pooled(), batch(x, [[1, 0, 0]], ("a",), epoch=epoch))
        seen.append(kept.map("a", 0))
    assert seen[0].tolist() == [[1, 0.5], [0.25, 0.125]]
    # at the picture's size the scaled blank takes a little of its neighbours with it, at the features' none
    second = seen[1].tolist()
    assert second[0] == [1, 1]
    assert second[1][0] > 0.25
    if where == "features":
        assert second == [[1, 1], [0.5, 0.25]]


@pytest.mark.parametrize("where", ["picture", "features"])
def test_what_is_dropped_moves_with_the_picture(kept: AttentionAccumulator, where: str) -> None:
    """The map of one corner: in a mirrored and shifted batch the blank lies where the corner is shown."""
    corner = torch.zeros(2, 3, 2, 2)
    corner[:, :, 0, 0] = 1
    objective = OAAObjective(kept, AttentionDrop(threshold=0.5, rate=1.0, where=where))
    assert objective.drop is not None
    objective.drop.remember(["a", "b"], corner)
    seen: dict[str, Tensor] = {}

    class Seen(Pooled):
        def scores(self, x: Tensor, keep: Tensor | None = None) -> Tensor:
            seen["picture"], seen["features"] = x, torch.ones(()) if keep is None else keep
            return super().scores(x, keep)

    view = View(torch.tensor([True, False]), (2, 0), (4, 4))  # what is shown begins two rows further down
    objective.losses(Seen(), batch(torch.ones(2, 3, 4, 4), [[1, 0, 0]] * 2, view=view))
    assert seen[where].eq(1).all()  # the corner has left the picture
    objective.drop.remember(["a", "b"], corner)
    view = View(torch.tensor([True, False]), (-2, 0), (4, 4))  # and now two rows further up
    objective.losses(Seen(), batch(torch.ones(2, 3, 4, 4), [[1, 0, 0]] * 2, step=2, view=view))
    blank = seen[where][:, 0] == 0
    assert blank.any((1, 2)).all()
    half = blank.shape[-1] // 2
    assert not blank[0, :, :half].any()
    assert not blank[1, :, half:].any()
    assert blank[:, half:].any((1, 2)).all()  # below the middle, where the corner is shown


def test_begins_later_if_asked(kept: AttentionAccumulator) -> None:
    objective = OAAObjective(kept, AttentionDrop(), begin=2)
    x = torch.rand(2, 3, 4, 4)
    objective.losses(Pooled(), batch(x, [[1, 1, 1]] * 2, epoch=1))
    assert len(kept) == 0
    assert not objective.watch(Pooled(), x, ("a", "b"), torch.ones(2, 3).bool())["dropped"].any()
    objective.losses(Pooled(), batch(x, [[1, 1, 1]] * 2, epoch=2))
    assert len(kept) == 6
    with pytest.raises(ValueError, match="begin must be ≥ 1"):
        OAAObjective(kept, begin=0)


def test_what_is_watched(kept: AttentionAccumulator) -> None:
    objective = OAAObjective(kept, AttentionDrop(threshold=0.6))
    x, present = torch.rand(2, 3, 4, 4), torch.tensor([[True, True, False], [True, False, True]])
    assert isinstance(objective, Objective)
    objective.losses(Pooled(), batch(x, present.int().tolist()))
    found = objective.watch(Pooled(), x, ("a", "b"), present)
    assert list(found) == ["current", "cumulative", "dropped"]
    assert all(maps.shape == (2, 3, 2, 2) for maps in found.values())
    assert not any(maps[~present].any() for maps in found.values())
    union = (found["current"] > 0.6).any(1)
    assert torch.equal(found["dropped"][0, 0].bool(), union[0])
    torch.testing.assert_close(found["cumulative"], found["current"], atol=2**-11, rtol=0)


def test_refusals_before_anything_runs(tmp_path: Path) -> None:
    data = small(8)
    single = open_labelled(ToyWorld(n=8, classes=CLASSES), size=16)
    with AttentionAccumulator(tmp_path / "1", data.ids, data.classes, SIZE) as maps:
        with pytest.raises(ValueError, match="several labels a picture are needed"):
            OAAObjective(maps).check(single)
        with pytest.raises(ValueError, match="but exactly one is needed"):
            OAAObjective(maps, labels="single-label").check(data)
        with pytest.raises(ValueError, match=r"8 pictures of toyworld seed 5 have no place .* 8, 9, 10, 11, 12"):
            OAAObjective(maps).check(open_labelled(ToyWorld(seed=5, n=16, objects=(3, 3), classes=CLASSES)[8:]))
        with pytest.raises(ValueError, match="accumulated maps are of the classes cat, car, boat, those of"):
            OAAObjective(maps).check(open_labelled(ToyWorld(objects=(1, 3))))
        with pytest.raises(ValueError, match=r"makes maps of 16×16 of pictures of 32×32, .* size=\(16, 16\)"):
            OAAObjective(maps).check_net(net(), (32, 32))
        with pytest.raises(TypeError, match=r"a net with maps is needed, scores\(x\) .* got a Linear"):
            OAAObjective(maps).losses(nn.Linear(1, 1), batch(torch.zeros(2, 3, 16, 16), [[1, 1, 1]] * 2))
        with pytest.raises(TypeError, match="a net with two branches is needed"):
            TwoBranchObjective(maps).losses(net(), batch(torch.zeros(2, 3, 16, 16), [[1, 1, 1]] * 2))
        with pytest.raises(ValueError, match="must be B×C×h×w, here 2×3×h×w for 3 classes; got"):
            OAAObjective(maps).losses(AttentionNet(4, STAGES, 8), batch(torch.zeros(2, 3, 16, 16), [[1, 1, 1]] * 2))
        with pytest.raises(ValueError, match="nothing was accumulated yet"):
            IntegralObjective(maps).check(data)


def test_classifier_takes_labels_as_the_data_are() -> None:
    single, several = open_labelled(ToyWorld(n=8, classes=CLASSES), size=16), small(8)
    objective = ClassifierObjective()
    objective.check(single)
    assert objective.settings() == {"labels": "single-label"}
    given = batch(torch.rand(2, 3, 4, 4), [[0, 1, 0], [1, 0, 0]])
    wanted = nn.functional.cross_entropy(Pooled()(given.x), torch.tensor([1, 0]))
    torch.testing.assert_close(objective.losses(Pooled(), given)["total"], wanted)
    objective.check(several)
    assert objective.settings() == {"labels": "multi-label"}
    with pytest.raises(ValueError, match="several labels a picture are needed"):
        ClassifierObjective("multi-label").check(single)


# --------------------------------------------------------------------------------------- the integral model, branches


def test_integral_learns_maps_divided_by_their_maximum(kept: AttentionAccumulator) -> None:
    maps = torch.tensor([[0.5, 0.25], [0.0, 0.125]]).expand(1, 3, 2, 2)
    kept.update(["a"], maps, torch.tensor([[True, False, False]]))
    kept.update(["b"], torch.zeros(1, 3, 2, 2), torch.tensor([[False, True, False]]))
    x = torch.randn(2, 3, 4, 4)
    given = batch(x, [[1, 0, 0], [0, 1, 0]])
    F, p = nn.functional.avg_pool2d(x, 2), torch.zeros(2, 3, 2, 2)
    p[0, 0] = maps[0, 0] * 2
    known = torch.tensor([[True, False, False], [False, False, False]])  # a map that is 0 still says nothing
    for threshold in (0.0, 0.3):
        found = IntegralObjective(kept, threshold=threshold).losses(Pooled(), given)["total"]
        torch.testing.assert_close(found, hybrid(F, p, known, threshold))
    mirrored = dataclasses.replace(given, view=View(torch.tensor([True, False]), (0, 0), (4, 4)))
    p[0] = p[0].flip(2)
    torch.testing.assert_close(IntegralObjective(kept).losses(Pooled(), mirrored)["total"], hybrid(F, p, known))


def test_integral_wants_pictures_with_classes_and_tells_maps_apart(tmp_path: Path) -> None:
    data = small(8, clutter=0.1).take([0, 1])
    picked = open_labelled(ToyWorld(seed=5, n=8, objects=(1, 1)), classes=CLASSES, size=16)
    with AttentionAccumulator(tmp_path, [str(i) for i in range(8)], CLASSES, SIZE) as maps:
        maps.update(["0"], torch.rand(1, 3, *SIZE), torch.ones(1, 3))
        objective = IntegralObjective(maps)
        objective.check(data)
        with pytest.raises(ValueError, match="holds none of the classes"):
            objective.check(picked)
        first = objective.settings()
        maps.flush()
        assert IntegralObjective(tmp_path).settings() == first
        maps.update(["1"], torch.rand(1, 3, *SIZE), torch.ones(1, 3))
        assert objective.settings() != first
    with pytest.raises(ValueError, match="unknown loss 'hybird'; valid: hybrid, soft, enhancement"):
        IntegralObjective(tmp_path, "hybird")
    with pytest.raises(ValueError, match=r"threshold must lie between 0 and 1, not 2"):
        IntegralObjective(tmp_path, threshold=2)
    with pytest.raises(FileNotFoundError, match="holds no accumulated maps"):
        IntegralObjective(tmp_path / "none")


def test_two_branches(tmp_path: Path) -> None:
    model = net(TwoBranchNet)
    given = batch(torch.randn(2, 3, 16, 16), [[1, 0, 1], [0, 1, 0]])
    with AttentionAccumulator(tmp_path, ["a", "b"], 3, SIZE) as maps:
        objective = TwoBranchObjective(maps, weight=0.5)
        losses = objective.losses(model, given)
        F1, F2 = model.both(given.x)
        M = attention_maps(F1.detach(), given.present)
        known = given.present & (M.amax((-2, -1)) > 0)
        torch.testing.assert_close(losses["hybrid"], hybrid(F2, M, known), atol=1e-3, rtol=1e-3)
        torch.testing.assert_close(losses["total"], losses["classification"] + 0.5 * losses["hybrid"])
        assert set(objective.watch(model.eval(), given.x, ("a", "b"), given.present)) >= {"current", "integral"}
        late = TwoBranchObjective(maps, begin=9).losses(model, dataclasses.replace(given, ids=("b", "a")))
        assert late["total"].isfinite()


# ------------------------------------------------------------------------------------------------- through `train`


def train_oaa(folder: Path, epochs: int = 3, where: str = "picture", **more: Any) -> tuple[nn.Module, Tensor, Any]:
    data, model = small(), net()
    with AttentionAccumulator(folder / "accumulated", data.ids, data.classes, SIZE, "mean") as maps:
        objective = OAAObjective(maps, AttentionDrop(threshold=0.3, rate=0.7, where=where))
        more = {"epochs": epochs, "batch": 5, "progress": None, "watch": 2, "device": "cpu", **more}
        run = train(model, data, objective, folder, **more)
        return model, maps.batch(data.ids), run


@pytest.mark.parametrize("where", ["picture", "features"])
def test_a_stopped_training_goes_on_to_the_same_maps(tmp_path: Path, where: str) -> None:
    unbroken, wanted, _ = train_oaa(tmp_path / "1", where=where)
    calls = iter(range(100))
    _, _, run = train_oaa(tmp_path / "2", where=where, cancelled=lambda: next(calls) == 7)
    assert run.status == "stopped"
    resumed, maps, run = train_oaa(tmp_path / "2", where=where)
    assert run.status == "done"
    assert torch.equal(maps, wanted)
    for name, value in unbroken.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name
    assert run.layers(3) == ["cumulative", "current", "dropped"]


KILLED = """
    import os, signal, sys
    from pathlib import Path
    from tests.test_oaa import train_oaa

    calls = iter(range(100))
    train_oaa(Path(sys.argv[1]), cancelled=lambda: next(calls) == 7 and os.kill(os.getpid(), signal.SIGKILL))
"""


def test_a_killed_training_goes_on_to_the_same_maps(tmp_path: Path) -> None:
    """SIGKILL in the second epoch: maps folded since the checkpoint are given up, and come again."""
    unbroken, wanted, _ = train_oaa(tmp_path / "1")
    command = [sys.executable, "-c", textwrap.dedent(KILLED), str(tmp_path / "2")]
    assert subprocess.run(command, cwd=Path(__file__).parents[1], check=False).returncode == -signal.SIGKILL
    assert open_accumulated(tmp_path / "2" / "accumulated").count("0") == 1
    resumed, maps, _ = train_oaa(tmp_path / "2")
    assert torch.equal(maps, wanted)
    for name, value in unbroken.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name


def test_the_accumulator_of_another_run_is_refused(tmp_path: Path) -> None:
    """Both runs stand in the same epoch, so both accumulators have a state of the number that is asked for."""
    for seed in (0, 1):
        calls = iter(range(100))
        run = train_oaa(tmp_path / str(seed), seed=seed, cancelled=lambda calls=calls: next(calls) == 7)[2]
        assert run.status == "stopped"
    shutil.move(tmp_path / "0" / "accumulated", tmp_path / "own")
    shutil.copytree(tmp_path / "1" / "accumulated", tmp_path / "0" / "accumulated")
    with pytest.raises(ValueError, match="holds the maps of another training"):
        train_oaa(tmp_path / "0")
    shutil.rmtree(tmp_path / "0" / "accumulated")
    shutil.copytree(tmp_path / "own", tmp_path / "0" / "accumulated")
    assert train_oaa(tmp_path / "0")[2].status == "done"


def test_a_new_training_wants_an_empty_accumulator(tmp_path: Path) -> None:
    train_oaa(tmp_path, epochs=1)
    (tmp_path / "last.pt").unlink()
    (tmp_path / "run.json").unlink()
    with pytest.raises(ValueError, match="holds maps already, and this training is at its first step"):
        train_oaa(tmp_path, epochs=1)
    assert not (tmp_path / "last.pt").exists()
    shutil.rmtree(tmp_path / "accumulated")
    assert train_oaa(tmp_path, epochs=1)[2].status == "done"  # the refused one is not in the way


def test_patience_is_refused_at_once_where_validation_has_no_loss(tmp_path: Path) -> None:
    data = small(8)
    with AttentionAccumulator(tmp_path / "maps", data.ids, data.classes, SIZE) as maps:
        maps.update(data.ids[:1], torch.rand(1, 3, *SIZE), torch.ones(1, 3))
        with pytest.raises(ValueError, match="patience waits for a lower val_loss, and integral has none"):
            train(net(), data, IntegralObjective(maps), tmp_path / "run", epochs=2, patience=1, validation=data,
                  progress=None, device="cpu")  # fmt: skip
    assert not (tmp_path / "run").exists()


def test_a_loss_that_is_no_number_stops_and_keeps_the_maps_before(tmp_path: Path) -> None:
    data, model = small(), net()
    with AttentionAccumulator(tmp_path / "maps", data.ids, data.classes, SIZE) as maps:

        def spoil(row: dict[str, float]) -> None:
            if row["epoch"] == 2:
                with torch.no_grad():
                    model.class_conv.weight.fill_(float("inf"))

        with pytest.raises(TrainingStopped, match=r"total is (nan|inf) in epoch 3, step 1 of 3 \(pictures \d+, "):
            train(model, data, OAAObjective(maps), tmp_path / "run", epochs=4, batch=8, progress=None, watch=2,
                  device="cpu", after_epoch=spoil)  # fmt: skip
        assert {maps.count(id) for id in data.ids} == {2}


def test_integral_through_train(tmp_path: Path) -> None:
    """OAA, then OAA⁺ on its maps: the loss falls, and q rises where p is high."""
    train_oaa(tmp_path / "oaa", epochs=2)
    data, model = small(), net()
    objective = IntegralObjective(tmp_path / "oaa" / "accumulated")
    run = train(model, data, objective, tmp_path / "integral", epochs=8, batch=8, rate=1e-2, progress=None, watch=2,
                validation=data, device="cpu")  # fmt: skip
    table = run.metrics()
    assert table["total"].iloc[-1] < 0.8 * table["total"].iloc[0]
    assert "val_top1" in table
    id = run.watched[0]
    c = run.present(id)[0]
    q, p = run.maps(8, id), run.maps(8, id, "cumulative")
    assert q is not None
    assert p is not None
    assert q[c][p[c] > 0.5 * p[c].max()].mean() > q[c][p[c] == 0].mean() if (p[c] == 0).any() else q[c].max() > 0.5
