"""Parameter randomisation as a test of maps: what must come out is known by construction, and the network stays."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

import camwidgets
from camwidgets.datasets import Items, open_dataset
from camwidgets.datasets.toyworld import ToyWorld
from camwidgets.decomposition.randomised import ORDERS, randomised
from camwidgets.decomposition.sanity import parameter_randomisation, similarity
from camwidgets.evaluation import Report, evaluate, measures
from camwidgets.evaluation.layout import cell
from camwidgets.evaluation.randomisation import Copies, chosen
from camwidgets.evaluation.view import seen
from camwidgets.maps.method import Method, Request
from tests.nets import Small, settled, small, state

BOTH: dict[str, dict[str, Any]] = {"cascading": {}, "independent": {}}
GROUPS = ["head", "S5", "S4", "S3", "S2", "S1"]


@pytest.fixture(scope="module")
def toy() -> camwidgets.Classifier:
    return camwidgets.load("toy")


@pytest.fixture(scope="module")
def world() -> Items:
    return open_dataset(ToyWorld(seed=5, n=4))


def own(name: str, function: Any) -> Method:
    return Method(name, name, function, "", "", kind="picture")


def brightness(request: Request) -> Tensor:
    """A map of the picture alone."""
    return request.x[0].abs().mean(0)


def by_sign(request: Request) -> Tensor:
    """A ramp from left to right, or from right to left: by the sign of one weight of the head."""
    ramp = torch.arange(16.0).expand(16, 16)
    positive = float(request.classifier.module.get_parameter("fc.weight").detach()[0, 0]) > 0
    return ramp if positive else ramp.flip(1)


def first_layer(request: Request) -> Tensor:
    """A map of the first convolution, of which nothing that comes after it can change anything."""
    conv: Any = request.classifier.module.get_submodule("conv1")
    with torch.no_grad():
        return conv(request.x)[0].relu().sum(0)


def painted(n: int = 3) -> Items:
    """Pictures of 16×16 for the small nets."""
    from PIL import Image

    from camwidgets.datasets import Item
    from camwidgets.datasets.items import Source

    class Noise(Source):
        def __init__(self, seed: int) -> None:
            self.seed = seed

        def open(self) -> Any:
            return Image.fromarray(np.random.default_rng(self.seed).integers(0, 256, (16, 16, 3), np.uint8), "RGB")

        def hash(self) -> str:
            return str(self.seed)

    return Items("noise", [Item(f"{i}", i % 2, (), None, Noise(i)) for i in range(n)])


# ---------------------------------------------------------------------------------------------- known by construction


def test_maps_that_know_nothing_of_the_weights_stay_as_they_are(toy: camwidgets.Classifier, world: Items) -> None:
    report = evaluate(toy, world, [own("brightness", brightness), "centre", "random"], BOTH, progress=False)
    table = report.table()
    for method in ("brightness", "centre", "random"):
        for result in ("cascading", "cascading-mean", "cascading-ssim", "independent", "independent-most"):
            assert cell(table, method, result) == pytest.approx(1.0), (method, result)
        assert cell(table, method, "cascading-flat") == 0
    assert report.steps("cascading") == report.steps("independent") == GROUPS


def test_a_flat_map_has_nothing_to_lose_and_is_told(toy: camwidgets.Classifier, world: Items) -> None:
    report = evaluate(toy, world[:2], ["whole", "centre"], BOTH, progress=False)
    assert set(report.errors["method"]) == {"whole"}
    assert report.errors["error"].str.contains("flat: there is nothing that could be lost").all()
    assert np.isnan(cell(report.table(), "whole", "cascading"))
    assert list(report.by_step("cascading")["method"].unique()) == ["centre"]


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_a_map_that_turns_round_with_one_weight(seed: int) -> None:
    """ρ is 1 where the drawn weight has the trained one's sign and −1 where it has not."""
    net = small()
    trained = float(net.module.get_parameter("fc.weight").detach()[0, 0])
    signs = {
        order: {name: float(copy.module.get_parameter("fc.weight").detach()[0, 0]) * trained > 0
                for name, copy in randomised(net, order, seed)}
        for order in ORDERS
    }  # fmt: skip
    tests = {order: {"seed": seed} for order in ORDERS}
    report = evaluate(net, painted(2), [own("sign", by_sign)], tests, target="predicted", progress=False)
    for order in ORDERS:
        frame = report.by_step(f"{order}-mean" if order == "cascading" else order)
        assert frame["step"].tolist() == ["head", "S2", "S1"]
        expected = [1.0 if signs[order][name] else -1.0 for name in frame["step"]]
        assert frame["value"].tolist() == pytest.approx(expected)
        number = cell(report.table(), "sign", "cascading" if order == "cascading" else "independent")
        assert number == pytest.approx(expected[-1] if order == "cascading" else np.mean(expected))
    assert cell(report.table(), "sign", "independent-most") == 1.0, "the other groups change nothing of it"


def test_what_lies_above_a_map_changes_nothing_of_it() -> None:
    report = evaluate(small(), painted(), [own("first", first_layer)], BOTH, target="predicted", progress=False)
    for name in ("cascading", "independent"):
        found = dict(report.by_step(name)[["step", "value"]].itertuples(index=False, name=None))
        assert found["head"] == found["S2"] == pytest.approx(1.0)
        assert found["S1"] < 0.99


def test_the_numbers_are_those_of_the_functions(toy: camwidgets.Classifier, world: Items) -> None:
    """Picture by picture, as `decomposition.sanity.parameter_randomisation` finds them."""

    def layercam(classifier: camwidgets.Classifier, x: Any, target: int) -> np.ndarray:
        return camwidgets.explain(classifier, x, "layercam", target).map

    tests = {order: {"seed": 3} for order in ORDERS}
    report = evaluate(toy, world[:2], ["layercam"], tests, progress=False)
    inputs = [seen(toy, item, "squash").x for item in world[:2]]
    targets = [toy.index(item.label) for item in world[:2] if item.label is not None]
    for order in ORDERS:
        table = parameter_randomisation(toy, inputs, layercam, order=order, targets=targets, seed=3)
        table = table[table["layers"] != "none"]
        frame = report.by_step(order)
        assert frame["step"].tolist() == table["layers"].tolist()
        np.testing.assert_allclose(frame["value"], table["spearman"], atol=1e-9)
        ssim = np.mean([row["values"]["ssim"] for row in report.rows if row["test"] == order], 0)
        np.testing.assert_allclose(ssim, table["ssim"], atol=1e-9)


def test_methods_that_run_the_network_themselves(toy: camwidgets.Classifier, world: Items) -> None:
    """Their maps by the copies are those of `explain` with the copies."""
    x, target = seen(toy, world[0], "squash").x, toy.index(world[0].label)  # type: ignore[arg-type]
    options: dict[str, Any] = {"masks": 8}
    report = evaluate(toy, world[:1], [{"method": "rise", **options}, "saliency"], {"cascading": {"layers": "S4"}},
                      progress=False)  # fmt: skip
    copy = dict(randomised(toy))["S4"]
    wanted: list[tuple[str, dict[str, Any]]] = [("rise", options), ("saliency", {})]
    for row, (name, given) in zip(report.rows, wanted, strict=True):
        maps = [camwidgets.explain(net, x, name, target, **given).map.astype(float) for net in (toy, copy)]
        assert row["values"]["spearman"] == pytest.approx([similarity(*maps)["spearman"]], abs=1e-9)
        assert row["values"]["layers"] == ["S4"]


# ------------------------------------------------------------------------------------------------------------- copies


@pytest.mark.parametrize("order", ORDERS)
def test_copies_are_those_that_are_drawn_and_share_what_they_have_in_common(order: str) -> None:
    toy = camwidgets.load("toy")
    before = state(toy.module)
    copies = Copies(toy)
    found = copies.of(order, 5)
    for (name, expected), (given, copy) in zip(randomised(toy, order, 5), found.items(), strict=True):
        assert name == given
        theirs = expected.module.state_dict()
        assert all(torch.equal(tensor, theirs[key]) for key, tensor in copy.module.state_dict().items())
    assert copies.of(order, 5) is found
    assert copies.of(order, 6) is not found

    def storages(*modules: nn.Module) -> dict[int, int]:
        tensors = [t for m in modules for t in (*m.parameters(), *m.buffers())]
        return {t.data_ptr(): t.numel() * t.element_size() for t in tensors}

    all_of_them = storages(*(one.module for one in found.values()))
    size = sum(storages(toy.module).values())
    assert sum(all_of_them.values()) <= 2 * size, "six copies take the memory of two"
    assert not set(all_of_them) & set(storages(toy.module)), "none of it is the user's"
    assert state(toy.module) == before


def test_the_users_network_stays_as_it_is_also_when_a_method_fails() -> None:
    class Wild(RuntimeError):
        pass

    def fails_on_copies(request: Request) -> Tensor:
        if request.classifier is not net:
            raise Wild("no copies, please")
        return brightness(request)

    net = small()
    net.module.train()
    before = state(net.module)
    report = evaluate(net, painted(2), [own("wild", fails_on_copies), own("fine", brightness)], BOTH,
                      target="predicted", progress=False)  # fmt: skip
    assert state(net.module) == before
    assert set(report.errors["error"]) == {"no copies, please"}
    assert cell(report.table(), "fine", "cascading") == pytest.approx(1)


# ------------------------------------------------------------------------------------------------- on record, reported


def test_kept_resumed_and_told_apart_by_their_parameters(
    toy: camwidgets.Classifier, world: Items, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "r.sqlite"
    evaluate(toy, world[:2], ["gradcam", "random"], BOTH, results=path, progress=False)
    whole = evaluate(toy, world, ["gradcam", "random"], BOTH, progress=False)
    from camwidgets.evaluation import work

    asked: list[str] = []
    made = work._map

    def counted(classifier: Any, plan: Any, subject: Any, spec: Any, *rest: Any) -> np.ndarray:
        asked.append(spec.name)
        return made(classifier, plan, subject, spec, *rest)

    monkeypatch.setattr(work, "_map", counted)
    found = evaluate(toy, world, ["gradcam", "random"], BOTH, results=path, progress=False)
    assert len(asked) == 2 * 2 * (1 + 2 * 6), "two of the four pictures were on record"
    columns = ["item", "method", "test", "result", "value"]
    pd.testing.assert_frame_equal(found.to_frame()[columns], whole.to_frame()[columns])
    again = Report.open(path)
    pd.testing.assert_frame_equal(again.table(), whole.table())
    other = evaluate(toy, world, ["gradcam"], {"cascading": {"seed": 1}}, results=path, progress=False)
    assert cell(other.table(), "Grad-CAM", "cascading-mean") != cell(whole.table(), "Grad-CAM", "cascading-mean")


def test_the_report_has_a_curve(toy: camwidgets.Classifier, world: Items, tmp_path: Path) -> None:
    tests = {"cascading": {"layers": "S5+head+S1"}, "energy": {}}
    report = evaluate(toy, world, {"evil <b>": "layercam", "random": "random"}, tests, progress=False)
    frame = report.by_step("cascading-mean")
    assert list(frame.columns) == ["method", "step", "value", "low", "high"]
    assert frame["step"].tolist() == ["head", "S5", "S1"] * 2, "from the head down, however they were named"
    assert ((frame["low"] <= frame["value"] + 1e-12) & (frame["value"] <= frame["high"] + 1e-12)).all()
    _, values, _ = report.values("evil <b>", "cascading-mean")
    assert frame["value"][:3].tolist() == pytest.approx(values.mean(0).tolist())
    assert cell(report.table(), "evil <b>", "cascading") == pytest.approx(values[:, -1].mean())
    assert report.by_step("energy").empty
    text = report.to_text()
    line = next(one for one in text.splitlines() if one.startswith("cascading, spearman"))
    assert re.split(r"\s{2,}", line) == ["cascading, spearman ↓", "head", "S5", "S1"]
    assert "<b>" not in report._repr_html_().replace("<b>" + "1.000" + "</b>", "").split("cascading, spearman")[1]
    figure = report.figure("cascading-mean")
    assert [list(trace.x) for trace in figure.data] == [["head", "S5", "S1"]] * 2
    assert list(figure.data[1].y) == pytest.approx([1, 1, 1])
    assert "cascading, spearman" in report.to_html(tmp_path / "r.html").read_text("utf-8")
    assert len(report.to_frame().query("result == 'cascading'")["value"].iloc[0]) == 3


def test_it_says_what_it_is() -> None:
    for name in ORDERS:
        about = measures()[name].about()
        assert "Adebayo" in about
        assert "↓" in about
        assert "layers='all'" in about
        assert "seed=0" in about


# -------------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"layers": "S9"}, "the test 'cascading' cannot be made: unknown group of layers of toy 'S9'; valid: head, S5"),
        ({"layers": []}, 'must be "all" or names joined by'),
        ({"layers": "head+"}, 'must be "all" or names joined by'),
        ({"seed": -1}, "at least 0"),
        ({"layer": "S1"}, "did you mean 'layers'"),
    ],
)
def test_bad_parameters_are_told_before_anything_runs(
    toy: camwidgets.Classifier, world: Items, given: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)):
        evaluate(toy, world, ["gradcam"], {"cascading": given}, progress=False)


def test_networks_that_cannot_be_drawn_anew_are_told_before_anything_runs() -> None:
    module = settled(Small())
    module.scale = torch.ones(1, requires_grad=True) * 2
    with pytest.raises(ValueError, match=r"the test 'independent' cannot be made: .* private copy is needed"):
        evaluate(camwidgets.wrap(module, input_size=16), painted(1), ["gradcam"], ["independent"],
                 target="predicted", progress=False)  # fmt: skip


def test_layers_as_text_or_list(toy: camwidgets.Classifier) -> None:
    check = measures()["cascading"].check
    assert check({"layers": ["S1", "head", "S1"]})["layers"] == "S1+head"
    assert check({"layers": "S1 + head"})["layers"] == "S1+head"
    assert chosen(toy, "S1+head") == ["head", "S1"]
    assert chosen(toy, "all") == GROUPS
