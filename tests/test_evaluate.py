"""`evaluate`: methods × tests over a data set; found again, resumed, with errors on record."""

from __future__ import annotations

import pickle
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import camwidgets
from camwidgets.datasets.items import Item, Items
from camwidgets.datasets.toyworld import ToyWorld
from camwidgets.evaluation import evaluate
from camwidgets.evaluation.layout import cell
from camwidgets.evaluation.measure import best, class_mean, find_measure, mean, measures
from camwidgets.evaluation.report import Report
from camwidgets.evaluation.results import Results

METHODS = ["layercam", "gradcam", "centre", "whole", "random"]
TESTS: dict[str, dict[str, Any]] = {
    name: {} for name in ("energy", "pointing", "localisation", "segmentation", "best-iou")
}


@pytest.fixture(scope="module")
def toy() -> camwidgets.Classifier:
    return camwidgets.load("toy")


@pytest.fixture(scope="module")
def world() -> Items:
    return camwidgets.datasets.open_dataset(ToyWorld(seed=5, n=12))


@pytest.fixture(scope="module")
def report(toy: camwidgets.Classifier, world: Items) -> Report:
    return evaluate(toy, world, METHODS, TESTS, progress=False)


def test_every_method_and_test_has_its_number(report: Report) -> None:
    table = report.table()
    assert list(table.index) == ["LayerCAM", "Grad-CAM", "centre", "whole", "random"]
    assert list(table.columns) == list(report.results)
    assert not table.isna().any().any()
    assert ((table.to_numpy() >= 0) & (table.to_numpy() <= 1)).all()
    assert report.pictures == 12
    assert report.errors.empty
    assert report.skipped == {}


def test_the_numbers_are_those_of_the_functions(report: Report, toy: camwidgets.Classifier, world: Items) -> None:
    from camwidgets.evaluation.location import energy_inside, within
    from camwidgets.evaluation.view import seen

    expected = []
    for item in world:
        view = seen(toy, item, "squash")
        made = camwidgets.explain(toy, view.x, "gradcam", item.label)
        expected.append(energy_inside(made.map, within(made.map.shape, view.boxes)))
    _, found, _ = report.values("Grad-CAM", "energy")
    items, _, _ = report.values("Grad-CAM", "energy")
    by_id = dict(zip([item.id for item in world], expected, strict=True))
    np.testing.assert_allclose(found, [by_id[i] for i in items], rtol=1e-6)
    assert cell(report.table(), "Grad-CAM", "energy") == pytest.approx(np.mean(expected))


def test_a_map_that_knows_something_beats_the_baselines(report: Report) -> None:
    table = report.table()
    for name in ("energy", "pointing-100", "map"):
        assert cell(table, "LayerCAM", name) > cell(table, "random", name) + 0.1
    assert cell(table, "whole", "energy") == pytest.approx(cell(table, "random", "energy"), abs=0.02)


def test_intervals_and_pairs(report: Report) -> None:
    low, high = report.intervals()
    table = report.table()
    inside = (low <= table + 1e-9) & (table <= high + 1e-9)
    assert inside.drop(columns=["box-best", "iou-best"]).all().all()
    paired = report.paired("LayerCAM", "random", ["energy"])
    row = paired.loc["energy ↑"]
    assert row["difference"] == pytest.approx(cell(table, "LayerCAM", "energy") - cell(table, "random", "energy"))
    assert row["low"] > 0
    assert row["better"] == "LayerCAM"
    same = report.paired("whole", "whole", ["energy"]).loc["energy ↑"]
    assert (same["difference"], same["low"], same["high"], same["better"]) == (0, 0, 0, "")


@pytest.mark.parametrize("n", [2, 3, 5, 8, 16])
def test_few_pictures_name_no_winner_by_chance(n: int) -> None:
    """Two equal methods, 60 times: the 5 % of a 95 % interval, with some room for chance."""
    from camwidgets.evaluation.statistics import difference, sure

    random, groups = np.random.default_rng(n), np.zeros(n, int)
    named = 0
    for _ in range(60):
        a, b = random.normal(size=(2, n))
        named += sure(*difference(a, b, groups, mean, rounds=200)[1:], n)
    assert named <= 7


def test_many_pictures_name_the_winner() -> None:
    from camwidgets.evaluation.statistics import difference, sure

    random, groups = np.random.default_rng(0), np.zeros(40, int)
    a = random.normal(size=40)
    assert sure(*difference(a + 0.5 + random.normal(0, 0.1, 40), a, groups, mean)[1:], 40)


def test_the_intervals_ends_by_hand() -> None:
    """n = 5: t of 4 degrees of freedom is 2.7764, times √1.25 is 3.1042; Φ(−3.1042) = 0.000954."""
    from camwidgets.evaluation.statistics import _ends

    assert _ends(5) == pytest.approx((0.000954, 0.999046), abs=1e-6)
    assert _ends(100_000) == pytest.approx((0.025, 0.975), abs=1e-5)


def test_aggregates_by_hand() -> None:
    groups = np.array([0, 0, 0, 2])
    assert class_mean(np.array([1.0, 1.0, 1.0, 0.0]), groups) == 0.5
    assert best(np.array([[0.0, 1.0], [1.0, 1.0], [1.0, 0.0], [1.0, 0.0]]), groups) == 0.75


def test_two_runs_beside_each_other(toy: camwidgets.Classifier, world: Items) -> None:
    shortcut = camwidgets.load("toy-shortcut")
    old = evaluate(shortcut, world[:9], ["layercam", "random", "gradcam"], {"energy": {}, "pointing": {}},
                   progress=False)  # fmt: skip
    asked: Any = {"LayerCAM": {"method": "layercam", "stages": ["S5"]}, "random": "random", "whole": "whole"}
    new = evaluate(toy, world[3:], asked, {"energy": {}, "pointing": {"points": 7}, "confidence": {}}, seed=0,
                   progress=False)  # fmt: skip
    found = new.against(old)
    assert (found.before.id, found.after.id, found.common) == (1, 1, 6)
    assert list(found.rows["method"].unique()) == ["LayerCAM", "random"]
    assert list(found.rows["result"].unique()) == ["energy", "pointing", "pointing-100"]
    row: Any = found.rows.set_index(["method", "result"]).loc[("LayerCAM", "energy")]
    (items_b, of_b, _), (items_a, of_a, _) = old.values("LayerCAM", "energy"), new.values("LayerCAM", "energy")
    both = sorted(set(items_a) & set(items_b))
    expected = [np.mean([dict(zip(items, of, strict=True))[i] for i in both])
                for items, of in ((items_b, of_b), (items_a, of_a))]  # fmt: skip
    assert [row["before"], row["after"]] == pytest.approx(expected)
    assert row["difference"] == pytest.approx(expected[1] - expected[0])
    assert row["low"] < row["difference"] < row["high"]
    changes = found.rows.set_index(["method", "result"])["change"]
    assert changes["random", "energy"] == "the same"
    assert row["change"] == ("" if row["low"] <= 0 <= row["high"] else "better" if row["difference"] > 0 else "worse")
    settings = {str(line.setting): (line.before, line.after) for line in found.settings.itertuples()}
    assert settings["network"] == ("toy-shortcut", "toy")
    assert settings["LayerCAM: stages"] == ("['S3', 'S4', 'S5']", "['S5']")
    assert settings["method Grad-CAM"] == ("taken", "–")
    assert settings["test confidence"] == ("–", "taken")
    assert settings["pointing: points"] == ("100", "7")
    assert "list of pictures" in settings
    assert "target" not in " ".join(settings)
    assert "run 1 → run 1, on 6 pictures of both" in str(found)
    same = old.against(old)
    assert same.settings.empty
    assert set(same.rows["change"]) == {"the same"}
    with pytest.raises(ValueError, match="have no method and test in common"):
        evaluate(toy, world[:2], ["scorecam"], ["energy"], progress=False).against(old)


def test_runs_without_a_picture_in_common_have_no_interval(toy: camwidgets.Classifier, world: Items) -> None:
    old, new = (evaluate(toy, part, ["centre"], ["energy"], progress=False) for part in (world[:3], world[3:6]))
    found = new.against(old)
    assert found.common == 0
    row: Any = found.rows.iloc[0]
    assert row["after"] == cell(new.table(), "centre", "energy")
    assert np.isnan([row["low"], row["high"]]).all()
    assert row["change"] == ""


def test_the_bootstrap_holds_one_drawing_at_a_time() -> None:
    """Two thousand rounds of 2 MB each: counted, they take the memory of few."""
    import tracemalloc

    from camwidgets.evaluation.statistics import difference, interval

    values, groups = np.random.default_rng(0).random((13_000, 20)), np.zeros(13_000, int)
    for call in (lambda: interval(values, groups, best, 60), lambda: difference(values, values, groups, best, 60)):
        tracemalloc.start()
        call()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert values.nbytes < peak < 4 * values.nbytes


def test_a_run_names_where_its_pictures_come_from(toy: camwidgets.Classifier, tmp_path: Path) -> None:
    from PIL import Image

    from camwidgets.evaluation.mosaics import mosaics

    for name in ("cat", "dog"):
        (tmp_path / "set" / name).mkdir(parents=True)
        for i in range(2):
            pixels = np.random.default_rng(i).integers(0, 256, (96, 96, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "set" / name / f"{i}.png")
    path = tmp_path / "r.sqlite"

    def run(dataset: Any) -> Report:
        return evaluate(toy, dataset, ["centre"], ["confidence"], limit=2, results=path, progress=False)

    report = run(tmp_path / "set")
    assert report.run.request["source"] == {"source": str(tmp_path / "set")}
    assert f"pictures: {tmp_path / 'set'}" in report.to_text().splitlines()[0]
    (tmp_path / "set").rename(tmp_path / "elsewhere")
    (tmp_path / "moved").mkdir()
    (tmp_path / "elsewhere").rename(tmp_path / "moved" / "set")
    again = run(tmp_path / "moved" / "set")
    assert again.run.id == report.run.id, "the same pictures at another place are the same run"
    assert Report.open(path).run.request["source"] == {"source": str(tmp_path / "moved" / "set")}
    built = camwidgets.datasets.open_dataset("toyworld", n=12, seed=3)
    assert run(built).run.request["source"] == {"source": "toyworld", "options": {"n": 12, "seed": 3}}
    assert "pictures: toyworld (n=12, seed=3)" in Report.open(path).to_text()
    made = run(mosaics(toy, built, 2, cell=48)).run.request["source"]
    assert made == {**built.origin, "mosaics": {"count": 2, "sure": 0.9, "cell": 48, "seed": 0}}
    assert run(ToyWorld(seed=3, n=4)).run.request["source"] == {}
    assert "pictures: " not in Report.open(path).to_text()


def test_groups_of_confidence(report: Report) -> None:
    groups = report.by_confidence("energy", (0.0, 0.5, 1.0))
    counts = [int(name.split("n=")[1][:-1]) for name in groups.columns]
    assert sum(counts) == 12
    means = groups.to_numpy()
    weighted = np.nansum(means * np.array(counts), 1) / 12
    np.testing.assert_allclose(weighted, report.table()["energy"].to_numpy(), rtol=1e-9)


def test_what_is_on_record_is_not_computed_again(
    toy: camwidgets.Classifier, world: Items, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "r.sqlite"
    first = evaluate(toy, world, ["layercam"], ["energy"], results=path, progress=False)
    from camwidgets.evaluation import work

    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("computed again")

    monkeypatch.setattr(work, "_map", refuse)
    again = evaluate(toy, world, ["layercam"], ["energy"], results=path, progress=False)
    assert again.run.id == first.run.id
    pd.testing.assert_frame_equal(again.to_frame(), first.to_frame())
    renamed = evaluate(toy, world[:5], {"mine": {"method": "LayerCAM"}}, ["energy"], results=path, progress=False)
    assert renamed.run.id != first.run.id
    assert renamed.pictures == 5, "another run, the same numbers: found by their keys"
    monkeypatch.undo()
    for changes in ({"method": "layercam", "gradient": "signed"}, {"method": "layercam", "stages": ["S5"]}):
        other = evaluate(toy, world[:2], {"mine": changes}, ["energy"], results=path, progress=False)
        assert not np.allclose(other.values("mine", "energy")[1], renamed.values("mine", "energy")[1][:2])
    with Results(path) as results:
        assert len(results.runs()) == 4


def test_a_method_that_fails_on_some_pictures(toy: camwidgets.Classifier, world: Items, tmp_path: Path) -> None:
    from camwidgets.maps import catalogue
    from camwidgets.maps.method import Method, Request

    def moody(request: Request) -> Any:
        if request.target % 2:
            raise ValueError("not on\nodd classes")
        return request.x[0].abs().mean(0)

    known = dict(catalogue._known()) | {"moody": Method("moody", "Moody", moody, "", "", kind="picture")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(catalogue, "_known", lambda: known)
        report = evaluate(toy, world, ["gradcam", "moody"], ["energy"], results=tmp_path / "r", progress=False)
        assert set(report.errors["method"]) == {"Moody"}
        assert set(report.errors["error"]) == {"not on odd classes"}
        good = len(report.values("Moody", "energy")[0])
        assert 0 < good < 12
        assert good + len(report.errors) == 12
        assert len(report.values("Grad-CAM", "energy")[0]) == 12
        text, page = report.to_text(), report._repr_html_()
        assert f"Moody failed on {12 - good} of 12 pictures: not on odd classes" in text
        assert f"(n={good})" in next(line for line in text.splitlines() if line.startswith("Moody"))
        assert cell(report.counts(), "Moody", "energy") == good
        assert "not on odd classes" in page
        line = next(one for one in page.split("<tr>") if one.startswith("<td>Moody"))
        assert f"(n={good})" in line
        assert "<b>" not in line  # a mean over fewer pictures leads nothing
        assert report.paired("Grad-CAM", "Moody")["n"].tolist() == [good]
        assert f"Moody (n={good})" in report.figure("energy").data[0].y


class Missing:
    """A picture that is not there."""

    def open(self) -> Any:
        raise FileNotFoundError("there is no picture 'gone.png'")

    def hash(self) -> str:
        return "0"

    def parts(self) -> dict[str, Any]:
        return {}

    context = parts


def test_a_broken_picture_is_skipped_and_told(toy: camwidgets.Classifier, world: Items) -> None:
    gone: Any = Item("gone.png", 1, ((0, 0, 5, 5),), None, Missing())  # type: ignore[arg-type]
    mixed = Items("mixed", [world[0], gone, world[1]])
    report = evaluate(toy, mixed, ["gradcam"], ["energy"], progress=False)
    assert report.pictures == 2
    assert report.skipped == {"gone.png": "there is no picture 'gone.png'"}
    assert "skipped gone.png" in report.to_text()


@pytest.mark.parametrize(
    ("options", "kind", "sentence"),
    [
        ({"tests": ["energi"]}, ValueError, r"unknown test 'energi'; .*did you mean 'energy'"),
        ({"tests": []}, ValueError, "no test was given"),
        ({"tests": {"pointing": {"point": 3}}}, ValueError, "unknown parameter of the test pointing 'point'"),
        ({"tests": {"pointing": {"points": 0}}}, ValueError, "must be between 1 and 100000; got 0"),
        ({"methods": []}, ValueError, "no method was given"),
        ({"methods": ["layercm"]}, ValueError, "unknown method 'layercm'"),
        ({"methods": ["gradcam", "Grad-CAM"]}, ValueError, "two methods are called 'Grad-CAM'"),
        ({"methods": [{"stages": ["S1"]}]}, ValueError, "a dict with 'method' and options"),
        ({"methods": [{"method": "layercam", "stags": ["S1"]}]}, ValueError, "'stags' was given"),
        ({"methods": [{"method": "centre", "gamma": 2}]}, ValueError, "baseline 'centre' has no options"),
        ({"target": "guess"}, ValueError, "unknown target 'guess'"),
        ({"fit": "stretch"}, ValueError, "unknown fit 'stretch'"),
        ({"engine": "spark"}, ValueError, "unknown engine 'spark'"),
        ({"limit": 0}, ValueError, "0"),
    ],
)
def test_bad_requests_are_told_before_anything_runs(
    options: dict[str, Any], kind: type[Exception], sentence: str, toy: camwidgets.Classifier, world: Items,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    from camwidgets.evaluation import runner

    def never(*_: Any) -> None:
        raise AssertionError("it ran")

    monkeypatch.setattr(runner, "work", never)
    given = {"methods": ["gradcam"], "tests": ["energy"], **options}
    with pytest.raises(kind, match=sentence):
        evaluate(toy, world, progress=False, **given)


def test_truth_that_is_not_there_is_told_before_anything_runs(toy: camwidgets.Classifier, world: Items) -> None:
    bare = Items("bare", [Item(one.id, one.label, (), None, one.source) for one in world])
    with pytest.raises(ValueError, match="the test 'energy' needs boxes; bare has none"):
        evaluate(toy, bare, ["gradcam"], ["energy"], progress=False)
    with pytest.raises(ValueError, match="each of the tests 'segmentation', 'best-iou' needs masks; bare has none"):
        evaluate(toy, bare, ["gradcam"], ["segmentation", "best-iou"], progress=False)
    foreign = Items("foreign", [Item("a", "submarine", (), None, world[0].source)])
    with pytest.raises(ValueError, match=r"does not have 1 of the labels of foreign: 'submarine'.*target='predicted'"):
        evaluate(toy, foreign, ["gradcam"], ["occlusion"], progress=False)
    report = evaluate(toy, foreign, ["gradcam"], ["occlusion"], target="predicted", progress=False)
    assert cell(report.table(), "Grad-CAM", "occluded-p") <= 1


def test_runs_are_told_apart(toy: camwidgets.Classifier, world: Items, tmp_path: Path) -> None:
    """By which pictures they are of, and by which network: the same weights under another activation are another."""
    import torch
    from torch import nn

    path = tmp_path / "r.sqlite"
    parts = world[:4], world[4:8]
    halves = [evaluate(toy, part, ["gradcam"], ["energy"], results=path, progress=False) for part in parts]
    assert halves[0].run.id != halves[1].run.id
    assert [one.pictures for one in halves] == [4, 4]
    found = []
    for activation in (nn.ReLU, nn.SiLU):
        torch.manual_seed(0)
        head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10)]
        net = nn.Sequential(nn.Conv2d(3, 8, 3, 4), activation(), *head)
        classifier = camwidgets.wrap(net, labels=toy.labels, input_size=96, name="net")
        asked: Any = world[:3], {"m": {"method": "layercam"}}, ["energy"]
        kept = evaluate(classifier, *asked, results=path, progress=False)
        alone = evaluate(classifier, *asked, progress=False)
        np.testing.assert_array_equal(kept.values("m", "energy")[1], alone.values("m", "energy")[1])
        found.append(kept.values("m", "energy")[1])
    assert not np.allclose(found[0], found[1])


def test_weights_written_behind_the_back_are_noticed(toy: camwidgets.Classifier, world: Items, tmp_path: Path) -> None:
    """Any one value of any parameter or buffer, also by `.data`, of which PyTorch keeps no count."""
    from camwidgets.evaluation.identity import network_hash

    copy = pickle.loads(pickle.dumps(toy))
    known = {network_hash(copy)}
    assert known == {network_hash(toy)}
    random = np.random.default_rng(0)
    tensors = [t for t in (*copy.module.parameters(), *copy.module.buffers()) if t.numel()]
    for tensor in tensors:
        flat = tensor.data.view(-1)
        flat[int(random.integers(flat.numel()))] += 1
        known.add(network_hash(copy))
    assert len(known) == 1 + len(tensors)
    path = tmp_path / "r.sqlite"
    reports = []
    for _ in range(2):
        reports.append(evaluate(copy, world[:2], ["gradcam"], ["confidence"], results=path, progress=False))
        next(p for p in copy.module.parameters() if p.ndim == 4).data[1] *= 3
    asked = [one.run.request for one in reports]
    assert asked[0]["network"] != asked[1]["network"]
    assert asked[0]["weights_sha256"] != asked[1]["weights_sha256"]
    assert reports[0].run.id != reports[1].run.id


def test_a_report_of_failures_alone(toy: camwidgets.Classifier, world: Items, tmp_path: Path) -> None:
    gone: Any = [Item("gone.png", 1, ((0, 0, 5, 5),), None, Missing())]  # type: ignore[arg-type]
    report = evaluate(toy, Items("gone", gone), ["gradcam", "centre"], ["energy"], progress=False)
    assert report.pictures == 0
    assert len(pd.read_csv(report.to_csv(tmp_path / "r.csv"))) == 0
    assert "there is no picture" in report.to_html(tmp_path / "r.html").read_text("utf-8")
    assert np.isnan(cell(report.paired("Grad-CAM", "centre"), "energy ↑", "difference"))


def test_what_a_map_costs_does_not_depend_on_the_order(toy: camwidgets.Classifier, world: Items) -> None:
    costs = [
        evaluate(toy, world, order, ["energy"], progress=False).cost()["seconds"]
        for order in (["gradcam", "layercam"], ["layercam", "gradcam"])
    ]
    for name in ("Grad-CAM", "LayerCAM"):
        assert 0.2 < costs[0][name] / costs[1][name] < 5
    assert costs[0]["Grad-CAM"] > 0.002, "a forward and a backward pass are part of it"


def test_localisation_with_the_predicted_class_still_asks_for_the_true_one(
    toy: camwidgets.Classifier, world: Items
) -> None:
    wrong = Items("wrong", [Item(one.id, (toy.index(str(one.label)) + 1) % 10, one.boxes, one.size, one.source)
                            if isinstance(one.label, str)
                            else Item(one.id, (int(one.label or 0) + 1) % 10, one.boxes, one.size, one.source)
                            for one in world])  # fmt: skip
    report = evaluate(toy, wrong, ["gradcam"], ["localisation"], target="predicted", progress=False)
    assert cell(report.table(), "Grad-CAM", "box") > 0.3
    assert cell(report.table(), "Grad-CAM", "loc1") == 0


def edges(request: Any, width: int = 1) -> Any:
    """A method of one's own: the picture's own edges."""
    return request.x[0].mean(0).diff(dim=0, n=width, prepend=request.x[0].mean(0)[:width]).abs()


def test_a_method_of_ones_own(toy: camwidgets.Classifier, world: Items, tmp_path: Path) -> None:
    from camwidgets.maps.method import Method, Parameter

    wide = Parameter("width", 1, "differences", low=1, high=3)
    mine = Method("edges", "Edges", edges, "|dx|", "", kind="picture", parameters=(wide,))
    path = tmp_path / "r.sqlite"
    asked: Any = [mine, {"method": mine, "width": 2}, "gradcam"]
    report = evaluate(toy, world[:3], asked, ["energy"], results=path, progress=False)
    assert report.methods == ["Edges", "Edges · width=2", "Grad-CAM"]
    recorded = report.run.request["methods"]
    assert recorded["Edges"]["method"] == "edges"
    assert recorded["Edges"]["own"] == recorded["Edges · width=2"]["own"]
    assert len(recorded["Edges"]["own"]) == 64
    assert "own" not in recorded["Grad-CAM"]
    x = camwidgets.evaluation.view.seen(toy, world[0], "squash").x
    expected = camwidgets.explain(toy, x, mine, world[0].label).map
    from camwidgets.evaluation.location import energy_inside, within

    found = dict(zip(*report.values("Edges", "energy")[:2], strict=True))
    assert found[world[0].id] == pytest.approx(energy_inside(expected, within(expected.shape, world[0].boxes)))
    assert Report.open(path).table().equals(report.table()), "read again without the method"
    with pytest.raises(ValueError, match="unknown preset 'papr'"):
        evaluate(toy, world, [{"method": "layercam", "preset": "papr"}], ["energy"], progress=False)
    with pytest.raises(ValueError, match="must be between 1 and 3; got 9"):
        evaluate(toy, world, [{"method": mine, "width": 9}], ["energy"], progress=False)
    baseline = Method("random", "Mine, not the baseline", edges, "", "", kind="picture")
    named = evaluate(toy, world[:3], [baseline], ["energy"], progress=False)
    assert named.values(baseline.title, "energy")[1].tolist() == report.values("Edges", "energy")[1].tolist()


def test_methods_of_ones_own_are_told_apart_by_what_they_do() -> None:
    from functools import partial

    from camwidgets.evaluation.identity import method_hash
    from camwidgets.maps.method import Method

    def closed_over(factor: Any) -> Any:
        return lambda request: factor * request.x[0, 0]

    def calls(inner: Any) -> Any:
        return lambda request: inner(request) * 1

    def hash_of(function: Any) -> str:
        return method_hash(Method("m", "M", function, "", "", kind="picture"))

    def again(request: Any, depth: int = 3) -> Any:
        return again(request, depth - 1) if depth else request.x[0, 0]

    class Scaled:
        def __init__(self, factor: float) -> None:
            self.factor = factor

        def __call__(self, request: Any) -> Any:
            return self.factor * request.x[0, 0]

    big = np.zeros(100_000)
    other = big.copy()
    other[70_000] = 1  # what repr() does not show
    different = [
        lambda request: request.x[0, 0], lambda request: request.x[0, 1], closed_over(1), closed_over(2.5),
        closed_over(big), closed_over(other), calls(closed_over(1)), calls(closed_over(2)), edges,
        partial(edges, width=2), partial(edges, width=3), again, Scaled(1), Scaled(2),
    ]  # fmt: skip
    hashes = [hash_of(one) for one in different]
    assert len(set(hashes)) == len(different)
    assert hashes == [hash_of(one) for one in different]
    assert hash_of(closed_over(big.copy())) == hashes[4]
    assert hash_of(Scaled(2)) == hashes[-1]


def test_a_stop_is_heard_between_passes(toy: camwidgets.Classifier, world: Items, tmp_path: Path) -> None:
    """In the middle of a picture, which is not recorded; the network is as before, and the next run goes on."""
    from camwidgets.evaluation import Stopped
    from tests.nets import state

    path = tmp_path / "r.sqlite"
    asked: Any = ["gradcam", {"method": "rise", "masks": 64}], {"insertion-deletion": {"steps": 20}}
    before = state(toy.module)
    passes, finished, at = [0], [0], [0]

    def stop() -> bool:
        passes[0] += 1
        return finished[0] == 2 and passes[0] - at[0] > 5

    def progress(done: float, total: float) -> None:
        finished[0], at[0] = int(done), passes[0]

    counted: list[int] = []
    made = camwidgets.Classifier.logits

    def counting(self: Any, x: Any) -> Any:
        counted.append(finished[0])
        return made(self, x)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(camwidgets.Classifier, "logits", counting)
        with pytest.raises(Stopped, match="was stopped"):
            evaluate(toy, world, *asked, results=path, progress=progress, stop=stop, batch=4)
    each = counted.count(0)
    assert 3 <= counted.count(2) < each / 2, "the third picture was begun, and left in the middle"
    broken_off = Report.open(path)
    assert (broken_off.pictures, broken_off.run.state) == (2, "cancelled")
    assert broken_off.skipped == {}
    assert broken_off.errors.empty
    assert state(toy.module) == before
    whole = evaluate(toy, world[:4], *asked, results=path, progress=False, stop=lambda: False, batch=4)
    alone = evaluate(toy, world[:4], *asked, progress=False, batch=4)
    pd.testing.assert_frame_equal(whole.table(), alone.table())


def test_every_method_and_test_hears_a_stop(toy: camwidgets.Classifier, world: Items) -> None:
    """The first question is asked before the network runs: nothing is ever recorded as failed for it."""
    from camwidgets.evaluation import Stopped

    for limit in (0, 1, 2, 3, 5, 8, 13):
        asked = [0]

        def stop(limit: int = limit, asked: list[int] = asked) -> bool:
            asked[0] += 1
            return asked[0] > limit

        with Results(":memory:") as kept:
            with pytest.raises(Stopped):
                evaluate(toy, world[:1], ["layercam", "guided-backprop", {"method": "scorecam", "stages": ["S5"]}],
                         {"cascading": {"layers": "head"}, "occlusion": {}, "confidence": {}}, results=kept,
                         progress=False, stop=stop)  # fmt: skip
            assert asked[0] == limit + 1, "what was heard was obeyed"
            assert kept.items(1) == set()


def test_cancelled_work_is_kept(toy: camwidgets.Classifier, world: Items, tmp_path: Path) -> None:
    class Enough(Exception):
        pass

    def progress(done: float, total: float) -> None:
        if done == 3:
            raise Enough

    path = tmp_path / "r.sqlite"
    with pytest.raises(Enough):
        evaluate(toy, world, ["gradcam"], ["energy"], results=path, progress=progress)
    broken_off = Report.open(path)
    assert (broken_off.pictures, broken_off.run.state) == (3, "cancelled")
    seen: list[float] = []
    whole = evaluate(toy, world, ["gradcam"], ["energy"], results=path, progress=lambda done, total: seen.append(done))
    assert (whole.pictures, whole.run.state, whole.run.id) == (12, "done", broken_off.run.id)
    assert seen == list(range(1, 13))


KILLED = """
import sys, time
import camwidgets
from camwidgets.datasets.toyworld import ToyWorld
print("ready", flush=True)
camwidgets.evaluate(
    camwidgets.load("toy"), ToyWorld(seed=5, n=12), ["layercam", "random"],
    {"energy": {}, "insertion-deletion": {"steps": 30}}, results=sys.argv[1], progress=False, batch=16,
)
"""


def test_killed_at_any_moment_nothing_is_lost_or_done_twice(tmp_path: Path) -> None:
    script = tmp_path / "run.py"
    script.write_text(textwrap.dedent(KILLED))
    whole, cut = tmp_path / "whole.sqlite", tmp_path / "cut.sqlite"
    subprocess.run([sys.executable, script, whole], check=True, timeout=120)
    expected = Report.open(whole)
    random = np.random.default_rng(0)
    kills = 0
    for _ in range(3):
        child = subprocess.Popen([sys.executable, script, cut], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        time.sleep(float(random.uniform(0.3, 1.2)))
        kills += child.poll() is None
        child.send_signal(signal.SIGKILL)
        child.wait(30)
        child.stdout.close()
    assert kills, "the program was over before it could be killed"
    subprocess.run([sys.executable, script, cut], check=True, timeout=120)
    found = Report.open(cut)
    columns = ["item", "label", "probability", "method", "test", "result", "value"]
    pd.testing.assert_frame_equal(found.to_frame()[columns], expected.to_frame()[columns])
    assert len(found.rows) == 12 * 2 * 2
    assert found.run.state == "done"


def test_files(report: Report, tmp_path: Path) -> None:
    frame = pd.read_csv(report.to_csv(tmp_path / "r.csv"))
    assert len(frame) == len(report.to_frame())
    page = report.to_html(tmp_path / "r.html").read_text("utf-8")
    assert "<h1>How good are these maps?</h1>" in page
    assert "https://cdn" not in page.split("</script>", 1)[0][:2000]
    text = report.to_text()
    assert text.splitlines()[0].startswith("toy on ")
    assert "LayerCAM" in text
    assert "energy ↑" in text


def test_names_are_escaped(toy: camwidgets.Classifier, world: Items, tmp_path: Path) -> None:
    evil = "<img src=x onerror=alert(1)>"
    items = Items(evil, [Item(evil, one.label, one.boxes, None, one.source) for one in world[:1]])
    report = evaluate(toy, items, {evil: {"method": "gradcam"}}, ["energy"], progress=False)
    assert evil not in report._repr_html_()
    body = report.to_html(tmp_path / "r.html").read_text("utf-8")
    assert "<td><img" not in body
    formula = Items("f", [Item("=1+1", world[0].label, world[0].boxes, None, world[0].source)])
    kept = evaluate(toy, formula, ["gradcam"], ["energy"], progress=False).to_csv(tmp_path / "f.csv")
    assert "'=1+1" in kept.read_text()


def test_the_figure_shows_the_best_on_top(report: Report) -> None:
    figure = report.figure("energy")
    names, values = list(figure.data[0].y), list(figure.data[0].x)
    assert values == sorted(values)
    assert names[-1] == report.table()["energy"].idxmax()


def test_every_test_says_what_it_is() -> None:
    for name, measure in measures().items():
        assert measure.name == name
        assert measure.formula
        assert measure.source
        assert all(result.arrow in "↑↓" for result in measure.results)
        assert measure is not None
        assert find_measure(name).title == measure.title
    names = [result.name for measure in measures().values() for result in measure.results]
    assert len(names) == len(set(names))


def test_a_classifier_travels(toy: camwidgets.Classifier) -> None:
    copy = pickle.loads(pickle.dumps(toy))
    picture = camwidgets.samples.picture("cat")
    assert copy.predict(picture) == toy.predict(picture)
    assert copy.weights_hash() == toy.weights_hash()
