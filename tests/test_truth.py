"""Surrogates, removal curves, counts and discriminativeness: by hand on a network whose channels are known."""

from __future__ import annotations

import copy
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import camwidgets
from benchmarks import __main__ as command
from benchmarks import truth
from camwidgets import Classifier, wrap
from camwidgets.datasets.toyworld import ToyWorld
from camwidgets.decomposition import neighbours
from camwidgets.decomposition.counts import channel_counts, contribution_curve, overlapping
from camwidgets.decomposition.discrimination import discriminativeness, stage_means
from camwidgets.decomposition.fidelity import channel_means
from camwidgets.decomposition.gap import Contributions, Decomposer
from camwidgets.decomposition.importance import direct, follow, path_conditioned, propagated
from camwidgets.decomposition.removal import RANKINGS, removal_curve
from camwidgets.decomposition.surrogates import surrogate
from camwidgets.evidence import capture
from tests.known_net import FIRST, SECOND, cell, colour, known
from tests.nets import SharedSkip, Tutorial, picture, settled, small, state


def softmax(*logits: float) -> list[float]:
    powers = [math.exp(one) for one in logits]
    return [one / sum(powers) for one in powers]


@pytest.fixture(scope="module")
def toy() -> Classifier:
    return camwidgets.load("toy")


@pytest.fixture(scope="module")
def scenes() -> list[Any]:
    return list(ToyWorld(seed=77, n=12))


# ------------------------------------------------------------------------------------------------------ importance


def test_importance_follows_the_strongest_channels_down() -> None:
    decomposer = Decomposer(capture(known(), FIRST))
    wide, narrow = propagated(decomposer, ["S1", "S2"], 3), propagated(decomposer, ["S1", "S2"], 1)
    assert wide["S2"].tolist() == pytest.approx([0.6, 0.4, 0, 0], abs=1e-12)
    assert wide["S1"].tolist() == pytest.approx([0.6, 0.4, 0], abs=1e-12)
    assert narrow["S2"].tolist() == pytest.approx([0.6, 0.4, 0, 0], abs=1e-12)
    assert narrow["S1"].tolist() == pytest.approx([0.6, 0, 0], abs=1e-12)
    assert direct(decomposer, ["S2"])["S2"].tolist() == pytest.approx([3 / 16, 2 / 16, 0, 0], abs=1e-12)
    assert [level.step for level in follow(decomposer, 1)] == ["T→S2", "S2→S1"]


def test_along_the_path_every_place_counts_and_through_all_channels_it_is_the_class_own_evidence(
    toy: Classifier, scenes: list[Any]
) -> None:
    found = path_conditioned(Decomposer(capture(known(), FIRST)), ["S1", "S2"], 1)
    assert found["S2"].tolist() == pytest.approx([3, 2, 0, 0], abs=1e-12)
    assert found["S1"].tolist() == pytest.approx([3, 0, 0], abs=1e-12)
    decomposer = Decomposer(capture(toy, scenes[0].image))
    whole, own = path_conditioned(decomposer, list(toy.stages), 128), direct(decomposer, list(toy.stages))
    for stage, tap in toy.stages.items():
        expected = own[stage] * tap.size[0] * tap.size[1]
        assert torch.allclose(whole[stage], expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


def test_a_class_that_no_channel_speaks_for_has_no_importance_below() -> None:
    level, below = follow(Decomposer(capture(known(), colour(0, 1, 0), target="c")), 3)
    assert level.whole.share.tolist() == [0, 0, 0, 0]
    assert below.parts == []
    assert below.whole.share.tolist() == [0, 0, 0]


def test_the_importance_of_a_channel_adds_up_over_what_rests_on_it() -> None:
    """Green carries two channels of S2: its importance is the sum of theirs."""
    classifier = known()
    with torch.no_grad():
        classifier.module.get_parameter("two.weight")[0, :, 0, 0] = torch.tensor([1.0, 1, 0])
    decomposer = Decomposer(capture(classifier, FIRST))  # S2: 3, 2, 1, 0; logit a: 9 + 2 = 11
    found = propagated(decomposer, ["S1", "S2"], 2)
    assert found["S2"].tolist() == pytest.approx([9 / 11, 2 / 11, 0, 0], abs=1e-12)
    assert found["S1"].tolist() == pytest.approx([9 / 11 / 3, 9 / 11 * 2 / 3 + 2 / 11, 0], abs=1e-12)


# ------------------------------------------------------------------------------------------------------- surrogate


def test_surrogate_by_hand() -> None:
    table = surrogate(known(), [FIRST, SECOND], labels=["a", "c"])
    assert list(table.index) == [1, 2, 4]
    assert table["kept"].tolist() == pytest.approx([2 / 7, 4 / 7, 1])
    # k = 1: the first keeps red alone (3, 0, 0), the second green alone (2, 3, 0); k = 2: (5, 3, 0) and (2, 4, 2).
    assert table["match"].tolist() == [1, 1, 1]
    assert table["accuracy"].tolist() == [0.5, 0.5, 0.5]
    assert table["original"].tolist() == [0.5, 0.5, 0.5]
    expected = [(softmax(3, 0, 0)[0] + softmax(2, 3, 0)[1]) / 2, (softmax(5, 3, 0)[0] + softmax(2, 4, 2)[1]) / 2]
    assert table["probability"].tolist()[:2] == pytest.approx(expected, abs=1e-12)


def test_surrogate_for_the_second_class_by_hand() -> None:
    """Of the first picture #1 and #2 speak for b: alone they make it win; with the third channel a is back."""
    table = surrogate(known(), [FIRST], k=[1, 2, 3, 4], decision="second")
    assert table["match"].tolist() == [1, 1, 0, 0]
    assert table["probability"].tolist()[0] == pytest.approx(softmax(2, 3, 0)[1], abs=1e-12)
    assert table["accuracy"].isna().all()


def test_keeping_the_strongest_of_every_decomposition_by_hand() -> None:
    """Green carries #1, red and green #0: with k = 1, #0 keeps green (2 of 3), and that is all of S1 that is kept."""
    classifier = known()
    with torch.no_grad():
        classifier.module.get_parameter("two.weight")[0, :, 0, 0] = torch.tensor([1.0, 1, 0])
    table = surrogate(classifier, [FIRST], k=[1, 2, 4], keep="decomposition")
    # k = 1: S2 {0}, S1 {1}: #0 = 2, logits 6, 0, 0. k = 2: S2 {0, 1}, S1 {1, 0} from #0 and {1, 0} from #1.
    assert table["kept"].tolist() == pytest.approx([2 / 7, 4 / 7, 1])
    expected = [softmax(6, 0, 0)[0], softmax(11, 3, 0)[0], softmax(11, 3.5, 1)[0]]
    assert table["probability"].tolist() == pytest.approx(expected, abs=1e-12)


def test_surrogate_with_means_puts_them_in_place_of_zero() -> None:
    classifier = known()
    means = channel_means(classifier, [SECOND])
    table = surrogate(classifier, [FIRST], k=[1], removal="mean", means=means)
    # S1: red 1, green 2 and blue 1 from the means; S2: #0 as it comes, 1, the others (2, 2, 0) from the means.
    assert table["probability"].tolist() == pytest.approx([softmax(3 + 2, 3 + 1, 2)[0]], abs=1e-12)


@pytest.mark.parametrize("ranking", ["gap", "random"])
def test_with_all_channels_the_surrogate_is_the_network(ranking: str, toy: Classifier, scenes: list[Any]) -> None:
    images = [scene.image for scene in scenes[:3]]
    table = surrogate(toy, images, [scene.main for scene in scenes[:3]], k=[128], ranking=ranking)
    assert cell(table, 128, "match") == 1
    assert cell(table, 128, "accuracy") == cell(table, 128, "original")
    sure = [toy.predict(image, 1)[0].probability for image in images]
    assert cell(table, 128, "probability") == pytest.approx(sum(sure) / 3, rel=1e-6)


def test_the_toy_nets_strongest_channels_do_its_work(toy: Classifier, scenes: list[Any]) -> None:
    images = [scene.image for scene in scenes]
    gap, chance = (cell(surrogate(toy, images, k=[16], ranking=r), 16, "match") for r in ("gap", "random"))
    assert gap >= 0.9
    assert chance <= 0.5


# --------------------------------------------------------------------------------------------------- removal curve


def test_removal_by_hand() -> None:
    table = removal_curve(known(), [FIRST], ["a"], [1, 2], stages="S2", rankings=["gap"]).set_index("removed")
    assert table.index.tolist() == [0, 1, 2]
    assert table["match"].tolist() == [1, 0, 0]
    assert table["accuracy"].tolist() == [1, 0, 0]
    expected = [softmax(5, 3.5, 1)[0], softmax(2, 3.5, 1)[0], softmax(0, 0.5, 1)[0]]
    assert table["probability"].tolist() == pytest.approx(expected, abs=1e-12)


def test_removal_at_the_shallow_stage_and_with_means() -> None:
    classifier = known()
    means = channel_means(classifier, [SECOND])
    table = removal_curve(
        classifier, [FIRST], counts=[1], stages=["S1"], rankings=["gradient"], removal="mean", means=means
    )
    # Red from 1 to 0.1: logits 2.3, 3.5, 1.
    assert table["probability"].tolist()[1] == pytest.approx(softmax(2.3, 3.5, 1)[0], abs=1e-12)
    assert table["accuracy"].isna().all()


@pytest.mark.parametrize(
    ("maker", "at"),
    [
        (neighbours.conductance, {"S2": [3, 2, 0, 0], "S1": [3, 2, 0]}),
        (neighbours.internal_influence, {"S2": [3, 1, 0, 0], "S1": [3, 1, 0]}),
        (neighbours.relevance, {"S2": [3, 2, 0, 0], "S1": [3, 2, 0]}),
    ],
)
def test_the_neighbours_by_hand(maker: Callable[[Classifier], Any], at: dict[str, list[float]]) -> None:
    """y_a = 3r + g on this picture: conductance and relevance are the terms, influence the slopes."""
    classifier = known()
    before = state(classifier.module)
    found = maker(classifier)(Decomposer(capture(classifier, FIRST)), ["S1", "S2"])
    for stage, values in at.items():
        # Shares: LRP begins with 1, and captum's sum leaves out both ends of the path (1 % at 16 steps).
        shares = found[stage] / found[stage].sum()
        assert shares.tolist() == pytest.approx([v / sum(values) for v in values], abs=1e-5)
    assert state(classifier.module) == before


def test_relevance_is_what_zennit_gives_directly(toy: Classifier, scenes: list[Any]) -> None:
    from zennit.composites import EpsilonPlusFlat

    evidence = capture(toy, scenes[0].image)
    net = copy.deepcopy(toy.module)
    kept: list[Tensor] = []
    with EpsilonPlusFlat().context(net):
        net.get_submodule("features.relu4_2").register_forward_hook(lambda m, i, out: kept.append(out))
        x = evidence.x.clone().requires_grad_()
        score = net(x)[0, int(evidence.targets[0])]
        (expected,) = torch.autograd.grad(score, kept[0])
    found = neighbours.relevance(toy)(Decomposer(evidence), ["S4", "S5"])["S4"]
    assert torch.allclose(found, expected[0].sum((1, 2)), rtol=1e-3, atol=1e-6 * float(found.abs().max()))


class Skip(nn.Module):
    """A residual block whose first channel is red (straight) plus twice green (round)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 2, 1, bias=False), nn.ReLU())
        self.pool = nn.AvgPool2d(2)
        self.conv = nn.Conv2d(2, 2, 1, bias=False)
        self.act = nn.ReLU()
        self.head = nn.Linear(2, 2, bias=False)
        with torch.no_grad():
            self.stem[0].weight.copy_(torch.tensor([[1.0, 0, 0], [0, 1, 0]])[:, :, None, None])  # type: ignore[operator]
            self.conv.weight.copy_(torch.tensor([[0.0, 2], [0, 0]])[:, :, None, None])
            self.head.weight.copy_(torch.tensor([[1.0, 0], [0, 1]]))
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.stem(x))
        return self.head(self.act(x + self.conv(x)).mean((2, 3)))


def test_relevance_is_shared_at_a_skip_connection_in_proportion() -> None:
    """Red 1 goes straight, green 2 comes round doubled: 1 + 4 of the logit 5, not 5 each."""
    classifier = wrap(Skip(), input_size=8)
    found = neighbours.relevance(classifier)(Decomposer(capture(classifier, colour(1, 2, 0), target=0)), ["S1"])["S1"]
    assert (found / found.sum()).tolist() == pytest.approx([0.2, 0.8], abs=1e-4)


def test_every_ranking_beats_chance_on_the_toy_net(toy: Classifier, scenes: list[Any]) -> None:
    images = [scene.image for scene in scenes[:6]]
    before = state(toy.module)
    table = removal_curve(toy, images, counts=[16], stages="S5", steps=8).query("removed == 16").set_index("ranking")
    assert list(table.index) == list(RANKINGS)
    assert (table["probability"].drop("random") < cell(table, "random", "probability") - 0.2).all()
    assert table["probability"].idxmin() in ("gap", "path", "gradient", "lrp")
    assert state(toy.module) == before


def test_captum_says_which_tap_it_cannot_see() -> None:
    classifier = wrap(settled(Tutorial()), input_size=32)
    with pytest.raises(ValueError, match=r"LayerConductance sees .* called once, and 'conv\d:relu'"):
        removal_curve(classifier, [picture(side=32)], rankings=["conductance"])
    shared = wrap(settled(SharedSkip()), input_size=16)
    with pytest.raises(ValueError, match="'act@"):
        removal_curve(shared, [picture()], rankings=["influence"])


@pytest.mark.parametrize(("ranking", "library"), [("conductance", "captum"), ("lrp", "zennit")])
def test_a_library_that_is_not_there_is_named(ranking: str, library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == library]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.setitem(sys.modules, "zennit.composites", None)
    with pytest.raises(ImportError, match=f"{library}: reinstall camwidgets"):
        removal_curve(known(), [FIRST], rankings=[ranking])


# ------------------------------------------------------------------------------------------------- counts and curves


def test_counts_by_hand() -> None:
    """Constant maps: two channels are active, the second sees the same place as the first."""
    table = channel_counts(known(), [FIRST])
    assert list(table.index) == ["T→S2", "S2→S1"]
    assert table["active"].tolist() == [2, 1]  # each of the two decisions at S2 rests on one channel
    assert table["overlapping"].tolist() == [1, 0]
    assert table["channels"].tolist() == [4, 3]
    assert table["decisions"].tolist() == [1, 2]


def test_overlapping_is_counted_by_suppression_in_the_order_of_contribution() -> None:
    tap = known().stages["S1"]
    attention = torch.zeros(5, 8, 8)
    attention[0, :4], attention[1, :4] = 3.0, 2.0  # the same half: suppressed by #0
    attention[2, 4:] = 1.0  # the other half
    attention[3, 4:7] = 1.0  # three quarters of it: IoU 0.75, stays
    attention[4] = -1.0  # speaks against: not active
    found = Contributions(tap, None, 1.0, attention, attention, (0, 0))
    assert overlapping(found) == 1


def test_contribution_curve_by_hand() -> None:
    table = contribution_curve(known(), [FIRST, SECOND], truth="zero", decisions=2)
    top = table[table["step"] == "T→S2"]
    assert top["rank"].tolist() == [1, 2, 3, 4]
    assert top["share"].tolist() == pytest.approx([(0.6 + 0.75) / 2, (0.4 + 0.25) / 2, 0, 0], abs=1e-12)
    assert top["real"].tolist() == pytest.approx(top["share"].tolist(), abs=1e-12)
    assert top["cumulative"].tolist()[-1] == pytest.approx(1.0)
    below = table[table["step"] == "S2→S1"]
    assert below["share"].tolist() == pytest.approx([1, 0, 0], abs=1e-12)
    assert below["real"].tolist() == pytest.approx([1, 0, 0], abs=1e-12)


# ----------------------------------------------------------------------------------------------- discriminativeness


def test_discriminativeness_by_hand() -> None:
    table = discriminativeness(known(), [FIRST, SECOND], top=2).set_index(["stage", "channel"])
    assert table["times"].xs("S2").to_dict() == {0: 1, 1: 2, 2: 1}
    assert table["D"].xs("S2").to_dict() == {0: 1.0, 1: 0.5, 2: 1.0}
    assert table["D"].xs("S1").to_dict() == {0: 1.0, 1: 0.5, 2: 1.0}
    assert cell(table, ("S2", 0), "label") == "a"
    assert table["chance"].tolist() == table["D"].tolist()  # two pictures of two classes: nothing to deal out
    assert cell(stage_means(table.reset_index()), "S2", "D") == pytest.approx(2.5 / 3)


def test_labels_are_the_decisions_and_rare_channels_can_be_left_out() -> None:
    table = discriminativeness(known(), [FIRST, SECOND], ["b", "b"], top=2)
    assert set(table["label"]) == {"b"}
    assert (table["D"] == 1).all()
    assert (discriminativeness(known(), [FIRST, SECOND], top=2, least=2)["times"] >= 2).all()


def test_on_the_toy_net_deep_channels_tell_classes_apart_more_than_chance(toy: Classifier, scenes: list[Any]) -> None:
    means = stage_means(discriminativeness(toy, [s.image for s in scenes], [s.main for s in scenes]))
    assert means["D"].is_monotonic_increasing
    assert cell(means, "S4", "D") > cell(means, "S4", "chance")


# ------------------------------------------------------------------------------------------- what all have in common

CALLS: dict[str, Callable[..., Any]] = {
    "surrogate": surrogate,
    "removal_curve": lambda *a, **k: removal_curve(*a, rankings=["gap", "random"], **k),
    "channel_counts": channel_counts,
    "contribution_curve": lambda *a, **k: contribution_curve(*a, truth="zero", **k),
    "discriminativeness": discriminativeness,
}


@pytest.mark.parametrize("name", CALLS)
def test_progress_is_told_and_may_cancel_and_nothing_is_left_behind(name: str) -> None:
    classifier = small()
    classifier.module.train()
    before, seen = state(classifier.module), []
    CALLS[name](classifier, [picture(seed=i) for i in range(3)], progress=lambda *at: seen.append(at))
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert state(classifier.module) == before

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        CALLS[name](classifier, [picture(), picture()], progress=stop)
    assert state(classifier.module) == before


@pytest.mark.parametrize("name", CALLS)
def test_the_same_seed_gives_the_same_numbers(name: str) -> None:
    classifier, pictures = small(), [picture(seed=i) for i in range(2)]
    assert CALLS[name](classifier, pictures).equals(CALLS[name](classifier, pictures))


@pytest.mark.parametrize("name", CALLS)
def test_an_empty_set_and_what_is_no_set_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="empty set of pictures"):
        CALLS[name](known(), [])
    with pytest.raises(TypeError, match="sequence of pictures; got str"):
        CALLS[name](known(), "cat.jpg")


@pytest.mark.parametrize("name", ["surrogate", "removal_curve", "discriminativeness"])
def test_labels_of_another_length_or_unknown_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="1 labels were given for 2 pictures"):
        CALLS[name](known(), [FIRST, SECOND], ["a"])
    with pytest.raises(ValueError, match="unknown label 'd'"):
        CALLS[name](known(), [FIRST], ["d"])
    with pytest.raises(ValueError, match="class 3 is out of range"):
        CALLS[name](known(), [FIRST], [3])


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: surrogate(known(), [FIRST], k=[5]), "the widest stage has 4 channels, so give 1 … 4"),
        (lambda: surrogate(known(), [FIRST], k=[0]), "k 0 is not valid"),
        (lambda: surrogate(known(), [FIRST], k=[True]), "k True is not valid"),
        (lambda: surrogate(known(), [FIRST], k=[]), "no k was given"),
        (lambda: surrogate(known(), [FIRST], ranking="gapp"), "did you mean 'gap'"),
        (lambda: surrogate(known(), [FIRST], decision="third"), "unknown decision 'third'"),
        (lambda: surrogate(known(), [FIRST], keep="all"), "unknown keep 'all'"),
        (lambda: surrogate(known(), [FIRST], keep="decomposition", ranking="random"), "has no decompositions"),
        (lambda: surrogate(known(), [FIRST], removal="mean"), "needs the channels' means"),
        (lambda: surrogate(known(), [FIRST], removal="mean", means={"relu": torch.zeros(3)}), "not hold the tap 'act'"),
        (lambda: surrogate(known(), [torch.cat([FIRST, SECOND])]), "one is a batch of 2"),
        (lambda: removal_curve(known(), [FIRST], counts=[4]), r"count 4 is not valid: S1 \(relu\) has 3 channels"),
        (lambda: removal_curve(known(), [FIRST], counts=[]), "no count was given; valid: 1 … 3"),
        (lambda: removal_curve(known(), [FIRST], rankings=["shap"]), "unknown ranking 'shap'"),
        (lambda: removal_curve(known(), [FIRST], rankings=[]), "no ranking was given"),
        (lambda: removal_curve(known(), [FIRST], stages="S9"), "unknown tap 'S9'"),
        (lambda: removal_curve(known(), [FIRST], stages="two"), "unknown stage 'two'; valid: S1, S2"),
        (lambda: removal_curve(known(), [FIRST], beam=0), "beam and steps are at least 1"),
        (lambda: channel_counts(known(), [FIRST], decisions=0), "at least 1; got 0"),
        (lambda: contribution_curve(known(), [FIRST], truth="blur"), "unknown removal 'blur'"),
        (lambda: contribution_curve(known(), [FIRST], truth="mean"), "needs the channels' means"),
        (lambda: discriminativeness(known(), [FIRST], least=0), "at least 1; got 0"),
        (lambda: discriminativeness(known(), [FIRST], top=9), "top 9 is more than"),
    ],
)  # fmt: skip
def test_what_means_nothing_is_refused_with_a_sentence(call: Callable[[], Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        call()


# -------------------------------------------------------------------------------------------------------- benchmark


def test_the_benchmark_prints_every_table(capsys: pytest.CaptureFixture[str]) -> None:
    few = ["--pictures", "3", "--sanity", "1", "--truth", "1", "--k", "4", "--counts", "2", "--stages", "S5"]
    assert command.main(["truth", *few, "--scenes", "20", "--epochs", "1", "--rankings", "gap", "random"]) == 0
    said = capsys.readouterr().out
    for title in ("Sparse surrogate", "Removal curve: probability", "Removal curve: accuracy", "Channels per step",
                  "Contribution curve", "Discriminativeness D", "drawn anew, cascading: Spearman of gAP maps",
                  "drawn anew, independent: Spearman of gAP contributions", "Label randomisation"):  # fmt: skip
        assert title in said


def test_the_benchmark_reads_photographs_with_their_labels(photographs: Path) -> None:
    images, labels = truth.pictures("efficientnet_lite0", 5, photographs / "ilsvrc_dev")
    assert len(images) == len(labels) == 5
    assert all(image.is_file() for image in images)
