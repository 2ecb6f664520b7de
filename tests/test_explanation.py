"""`explain` as scripts rely on it: its names, its defaults, what it returns, saves, loads and refuses."""

from __future__ import annotations

import inspect
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import camwidgets
from camwidgets import Explanation, capture, explain, wrap
from camwidgets.explanation import explain_evidence
from camwidgets.figures.colour import coloured, table
from camwidgets.maps import PRESETS, box, evidence_methods, make_plan
from camwidgets.maps.regions import iou
from tests.nets import Small, hooks, picture, settled, small, state


class Counted(Small):
    """Small, which counts its forward passes."""

    passes = 0

    def forward(self, x: Tensor) -> Tensor:
        Counted.passes += 1
        return super().forward(x)


@pytest.fixture(scope="module")
def lite0() -> camwidgets.Classifier:
    return camwidgets.load("efficientnet_lite0")


@pytest.fixture(scope="module")
def coffee(lite0: camwidgets.Classifier) -> Explanation:
    found: Explanation = explain(lite0, camwidgets.samples.picture("coffee"))
    return found


# ------------------------------------------------------------------------------------------ what scripts rely on


def test_the_signature() -> None:
    parameters = inspect.signature(explain).parameters
    by_place = [name for name, p in parameters.items() if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert by_place == [
        "classifier", "image", "method", "target", "stages", "gradient", "gamma", "scale", "reduce", "preset",
    ]  # fmt: skip
    assert list(parameters)[len(by_place) :] == ["enhance", "batch", "progress", "parameters"]
    defaults = {name: p.default for name, p in parameters.items()}
    assert defaults["method"] == "layercam"
    assert (defaults["gamma"], defaults["scale"], defaults["reduce"]) == (2.0, "tanh", "max")
    assert defaults["target"] is defaults["stages"] is defaults["preset"] is None


def test_the_defaults_are_layercam_with_positive_gradients_as_in_the_paper() -> None:
    x = picture()
    written = explain(
        small(), x, method="layercam", target=None, stages=None, gradient="positive", gamma=2.0, scale="tanh",
        reduce="max", preset=None,
    )  # fmt: skip
    assert np.array_equal(explain(small(), x).map, written.map)
    assert np.array_equal(
        explain(small(), x, "layercam", None, None, "positive", 2.0, "tanh", "max", None).map, written.map
    )
    assert np.array_equal(explain(small(), x, preset="paper").map, written.map)
    signed = explain(small(), x, gradient="signed")
    assert not np.array_equal(signed.map, written.map)


def test_public_names() -> None:
    for name in ("load", "wrap", "capture", "explain", "methods", "record", "samples", "Explanation", "Classifier"):
        assert hasattr(camwidgets, name)
        assert name in dir(camwidgets)
    with pytest.raises(AttributeError, match="has no attribute 'explian'"):
        camwidgets.explian  # noqa: B018


def test_what_an_explanation_holds(coffee: Explanation, lite0: camwidgets.Classifier) -> None:
    assert coffee.map.shape == lite0.input_size
    assert coffee.map.dtype == np.float32
    assert 0 <= coffee.map.min() < coffee.map.max() <= 1
    assert list(coffee.stage_maps) == ["S3", "S4", "S5"], "LayerCAM fuses the three deepest stages"
    for name, m in coffee.stage_maps.items():
        assert m.shape == lite0.stages[name].size
        assert m.dtype == np.float32
        assert m.min() >= 0
    assert coffee.target == lite0.index("espresso") == 967
    assert coffee.label == "espresso"
    best = lite0.predict(camwidgets.samples.picture("coffee"), 1)[0]
    assert coffee.score == pytest.approx(best.logit, rel=1e-5)
    assert coffee.probability == pytest.approx(best.probability, rel=1e-5)
    assert coffee.reason is None
    assert coffee.picture.shape == (224, 224, 3)
    assert coffee.picture.dtype == np.uint8
    assert isinstance(lite0.preprocessing, type(lite0.preprocessing))
    made = coffee.made_by
    assert (made["method"], made["gradient"], made["model"]) == ("layercam", "positive", "efficientnet_lite0")
    assert made["taps"] == {name: str(lite0.stages[name]) for name in ("S3", "S4", "S5")}
    assert made["weights_sha256"] == lite0.weights_hash()
    assert len(made["picture_sha256"]) == 64


def test_repr_says_what_was_seen_and_how(coffee: Explanation) -> None:
    text = repr(coffee)
    assert text.startswith("Explanation('espresso' ")
    assert "LayerCAM · S5+S4+S3 · positive gradient · tanh γ=2 · max" in text
    assert "\n" not in text


@pytest.mark.parametrize("method", list(evidence_methods()))
@pytest.mark.parametrize("preset", [None, *PRESETS])
def test_every_method_with_every_preset(method: str, preset: str | None) -> None:
    classifier = small()
    found = explain(classifier, picture(), method, 1, preset=preset)
    assert found.map.shape == (16, 16)
    assert found.map.dtype == np.float32
    assert np.isfinite(found.map).all()
    assert 0 <= found.map.min() <= found.map.max() <= 1
    assert (found.reason is None) == (found.map.max() > found.map.min())
    assert found.made_by["plan"]["name"] == (preset or "paper")


def test_default_stages() -> None:
    assert list(explain(small(), picture(), "gradcam").stage_maps) == ["S2"]
    assert list(explain(small(), picture(), "layercam").stage_maps) == ["S1", "S2"]
    assert explain(small(), picture(), "gradcam").made_by["gradient"] == "signed"
    assert explain(small(), picture(), "gradcam++").made_by["gradient"] == "positive"


def test_stages_are_taken_shallow_to_deep_once_each() -> None:
    classifier = small()
    wanted = explain(classifier, picture(), stages=["S1", "S2"])
    for stages in (["S2", "S1"], ("S1", "S2", "S1"), iter(["S2", "S1"]), ["relu2", "relu1"]):
        found = explain(classifier, picture(), stages=stages)
        assert list(found.stage_maps) == ["S1", "S2"]
        assert np.array_equal(found.map, wanted.map)
    assert list(explain(classifier, picture(), stages="S2").stage_maps) == ["S2"]
    evidence = capture(classifier, picture(), taps=["S2", "conv1", "S1"])
    assert list(evidence.stages) == ["conv1", "S1", "S2"]
    assert list(explain_evidence(evidence, "gradcam").stage_maps) == ["S2"], "the deepest, in whatever order asked"


@pytest.mark.parametrize("preset", PRESETS)
def test_the_order_of_stages_does_not_matter(lite0: camwidgets.Classifier, preset: str) -> None:
    """The gate of our preset is the deepest stage, not the last that was named."""
    image = camwidgets.samples.picture("cat")
    one, other = (explain(lite0, image, stages=s, preset=preset).map for s in (["S3", "S5"], ["S5", "S3"]))
    assert np.array_equal(one, other)


def test_any_tap_by_name() -> None:
    found = explain(small(), picture(), "gradcam", stages=["conv1"])
    assert list(found.stage_maps) == ["conv1"]
    assert found.stage_maps["conv1"].shape == (16, 16)


def test_the_network_runs_once() -> None:
    classifier = wrap(settled(Counted()).eval(), input_size=16)
    classifier.stages  # noqa: B018 - the trace is a pass of its own, once
    for method in evidence_methods():
        if method == "cam":
            classifier.gap_weights()  # found by a pass of its own, once
        Counted.passes = 0
        explain(classifier, picture(), method, stages=["S1", "S2"] if method != "cam" else None)
        assert Counted.passes == 1
    evidence = capture(classifier, picture())
    Counted.passes = 0
    for method in ("layercam", "gradcam"):
        for preset in PRESETS:
            explain_evidence(evidence, method, plan=make_plan(preset=preset))
    assert Counted.passes == 0, "fusing anew must not run the network"


def test_cam_follows_its_weights() -> None:
    net = settled(Small()).eval()
    classifier = wrap(net, input_size=16)
    first = explain(classifier, picture(), "cam", 1).stage_maps["S2"]
    with torch.no_grad():
        net.fc.weight *= 3
    np.testing.assert_allclose(explain(classifier, picture(), "cam", 1).stage_maps["S2"], 3 * first, rtol=1e-5)


def test_explain_evidence_is_explain() -> None:
    evidence = capture(small(), picture(), 3)
    for method in ("layercam", "gradcam", "normgrad"):
        for preset in PRESETS:
            again = explain_evidence(evidence, method, plan=make_plan(preset=preset))
            direct = explain(small(), picture(), method, 3, preset=preset)
            np.testing.assert_allclose(again.map, direct.map, atol=1e-6)


def test_batches_and_lists() -> None:
    classifier = small()
    images = [picture(seed=i) for i in range(3)]
    together = explain(classifier, torch.cat(images))
    listed = explain(classifier, images)
    assert isinstance(together, list)
    assert len(together) == len(listed) == 3
    for one, other, image in zip(together, listed, images, strict=True):
        alone = explain(classifier, image)
        assert one.target == other.target == alone.target
        np.testing.assert_allclose(one.map, alone.map, atol=1e-6)
        assert np.array_equal(one.picture, alone.picture)
    assert isinstance(explain(classifier, images[:1]), list)
    assert isinstance(explain(classifier, images[0]), Explanation)
    targets = explain(classifier, torch.cat(images), target=torch.tensor([2, 0, 4]))
    assert [one.target for one in targets] == [2, 0, 4]


def test_targets() -> None:
    classifier = small(labels=list("abcde"))

    def margin(y: Tensor) -> Tensor:
        return y[0] - y[1]

    assert (explain(classifier, picture(), target="C").target, explain(classifier, picture(), target=2).label) == (
        2,
        "c",
    )
    found = explain(classifier, picture(), target=margin)
    assert (found.target, found.label, found.probability) == ("margin", "margin", None)
    y = capture(classifier, picture()).logits[0]
    assert found.score == pytest.approx(float(y[0] - y[1]))
    assert "margin" in repr(found)
    for bad in ([1, 2], (0,), []):
        with pytest.raises(ValueError, match="explain takes one target, not"):
            explain(classifier, picture(), target=bad)


def test_it_tells_cat_from_coffee(lite0: camwidgets.Classifier) -> None:
    """Class discrimination on the composite, a cat above a cup: most of each map lies on its own half."""
    both = camwidgets.samples.picture("cat-and-coffee")
    for method, preset in (("gradcam", "paper"), ("layercam", "gated")):
        cat = explain(lite0, both, method, "tabby", preset=preset).map
        cup = explain(lite0, both, method, "espresso", preset=preset).map
        assert cat[:112].sum() > 0.75 * cat.sum()
        assert cup[112:].sum() > 0.75 * cup.sum()


# ---------------------------------------------------------------------------------------------------- flat, and why


class Fixed(nn.Module):
    """ReLU(±x) → mean → the given weights: flat in a known way."""

    def __init__(self, weights: list[float], sign: float = 1.0) -> None:
        super().__init__()
        self.relu = nn.ReLU()
        self.sign = sign
        self.weights = nn.Parameter(torch.tensor(weights))

    def forward(self, x: Tensor) -> Tensor:
        pooled = self.relu(self.sign * x).mean((2, 3))
        return pooled @ torch.stack([self.weights, -self.weights]).T


@pytest.mark.parametrize(
    ("net", "x", "said"),
    [
        (
            Fixed([-1.0, -2.0, -1.0]),
            torch.rand(1, 3, 16, 16),
            r"nothing at relu speaks for the target .*\(0% of its grad",
        ),
        (Fixed([1.0, 1.0, 1.0]), -torch.rand(1, 3, 16, 16), "every channel of relu is silent"),
        (Fixed([0.0, 0.0, 0.0]), torch.rand(1, 3, 16, 16), "the gradient at relu is zero everywhere"),
    ],
)
def test_a_flat_map_says_why(net: nn.Module, x: Tensor, said: str) -> None:
    found = explain(wrap(net.eval(), input_size=16), x, target=0)
    assert not found.map.any()
    assert found.reason is not None
    assert found.reason.startswith("flat: ")
    assert re.search(said, found.reason)
    assert found.reason in repr(found)
    assert found.box() is None
    assert found.overlay().size == (16, 16)


def test_a_tap_cut_off_from_the_score_says_so() -> None:
    found = explain(small(), picture(), target=lambda y: torch.tensor(3.0))
    assert found.reason is not None
    assert "no path leads from relu1 to the score" in found.reason
    assert "no path leads from relu2 to the score" in found.reason


def test_a_saturated_softmax() -> None:
    classifier = small()
    found = explain(classifier, picture(), target=lambda y: (1000 * y).softmax(0)[int(y.argmax())])
    assert found.score == 1
    assert found.reason is not None
    assert "the gradient at relu2 is zero everywhere (a saturated softmax" in found.reason


# ----------------------------------------------------------------------------------------------- saving and loading


def test_save_and_load(coffee: Explanation, tmp_path: Path) -> None:
    folder = coffee.save(tmp_path / "a" / "b")
    assert sorted(file.name for file in folder.iterdir()) == [
        "explanation.json", "maps.npz", "overlay.png", "picture.png",
    ]  # fmt: skip
    again = Explanation.load(folder)
    for name in ("target", "label", "score", "probability", "reason", "made_by"):
        assert getattr(again, name) == getattr(coffee, name), name
    assert np.array_equal(again.map, coffee.map)
    assert again.map.dtype == np.float32
    assert list(again.stage_maps) == list(coffee.stage_maps)
    assert all(np.array_equal(again.stage_maps[s], coffee.stage_maps[s]) for s in coffee.stage_maps)
    assert np.array_equal(again.picture, coffee.picture)
    assert repr(again) == repr(coffee)
    assert again.overlay().tobytes() == coffee.overlay().tobytes()
    assert np.array_equal(np.asarray(Image.open(folder / "overlay.png")), np.asarray(coffee.overlay()))
    json.loads((folder / "explanation.json").read_text("utf-8"))


@pytest.mark.parametrize("stages", [["conv1", "relu2"], ["S1"]])
def test_save_and_load_of_other_taps_and_targets(tmp_path: Path, stages: list[str]) -> None:
    classifier = small(labels=["<script>alert('ü')</script>", *"bcde"])
    for i, target in enumerate((0, lambda y: y[0], np.int64(0), torch.tensor(0))):
        found = explain(classifier, picture(), target=target, stages=stages, gamma=np.float32(1.5))  # type: ignore[arg-type]
        again = Explanation.load(found.save(tmp_path / str(i)))
        assert (again.label, again.target, again.made_by) == (found.label, found.target, found.made_by)
        assert np.array_equal(again.map, found.map)


def test_loading_runs_nothing(coffee: Explanation, tmp_path: Path) -> None:
    """An array of objects is a pickle: it is refused, its code not run."""

    class Bomb:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "it-ran",)

    folder = coffee.save(tmp_path / "saved")
    with np.load(folder / "maps.npz") as maps:
        arrays: dict[str, Any] = dict(maps)
    arrays["map"] = np.array([Bomb()], dtype=object)
    np.savez(folder / "maps.npz", **arrays)
    with pytest.raises(ValueError, match="holds object, not numbers"):
        Explanation.load(folder)
    assert not (tmp_path / "it-ran").exists()


def test_loading_what_is_not_there(tmp_path: Path, coffee: Explanation) -> None:
    with pytest.raises(FileNotFoundError, match=r"no saved explanation in .* .explanation.json is missing."):
        Explanation.load(tmp_path)
    folder = coffee.save(tmp_path / "old")
    about = json.loads((folder / "explanation.json").read_text("utf-8"))
    (folder / "explanation.json").write_text(json.dumps({**about, "format": 99}), "utf-8")
    with pytest.raises(ValueError, match="has format 99; this version reads 1 and 2"):
        Explanation.load(folder)


# ---------------------------------------------------------------------------------------------- overlay, box, colour


def test_overlay(coffee: Explanation) -> None:
    picture_, colour = coffee.picture.astype(float), coloured(coffee.map).astype(float)
    assert np.array_equal(np.asarray(coffee.overlay(opacity=0.0)), coffee.picture)
    assert np.array_equal(np.asarray(coffee.overlay(opacity=1.0, blend="even")), coloured(coffee.map))
    half = np.asarray(coffee.overlay("inferno", 0.4, blend="even"))
    assert np.abs(half - (0.6 * picture_ + 0.4 * colour)).max() <= 0.5 + 1e-9
    by_value = np.asarray(coffee.overlay(opacity=0.8, blend="by value")).astype(float)
    a = 0.8 * coffee.map[..., None].astype(float)
    assert np.abs(by_value - ((1 - a) * picture_ + a * colour)).max() <= 0.5 + 1e-6
    with_box = np.asarray(coffee.overlay(threshold=0.5))
    assert (with_box != np.asarray(coffee.overlay())).any()
    assert Image.open(io.BytesIO(coffee._repr_png_())).size == (224, 224)
    for wrong, said in (
        ({"opacity": 1.5}, "opacity must lie in 0 … 1; got 1.5"),
        ({"colormap": "infreno"}, "unknown colour table 'infreno'; valid: .*did you mean 'inferno'"),
        ({"blend": "odd"}, "unknown blend 'odd'; valid: even, by value"),
        ({"threshold": 0.0}, "the threshold is a share of the map's maximum"),
    ):
        with pytest.raises(ValueError, match=said):
            coffee.overlay(**wrong)


def test_box(coffee: Explanation) -> None:
    """The cup fills most of the picture; its box is around its middle and shrinks as the threshold rises."""
    boxes = [coffee.box(t) for t in (0.05, 0.15, 0.4, 0.8)]
    areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in boxes if b]
    assert len(areas) == 4
    assert areas == sorted(areas, reverse=True)
    m = np.zeros((10, 12), np.float32)
    m[2:5, 3:7], m[8, 10] = 0.5, 1.0
    assert box(m, 0.5) == (3, 2, 7, 5), "the largest part, not the brightest"
    assert box(m, 0.6) == (10, 8, 11, 9)
    m[5, 7] = 0.5
    assert box(m, 0.5) == (3, 2, 8, 6), "parts that touch at a corner are one"
    assert box(np.zeros((4, 4))) is box(np.ones((4, 4))) is None
    for threshold in (0, -0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="above 0 and at most 1"):
            box(m, threshold)
    assert iou((0, 0, 2, 2), (1, 1, 3, 3)) == pytest.approx(1 / 7)
    assert iou((0, 0, 2, 2), (2, 0, 4, 2)) == 0
    assert iou((0, 0, 2, 2), (0, 0, 2, 2)) == 1


def test_colour_tables() -> None:
    assert table("inferno").shape == (256, 3)
    assert table("viridis")[0].tolist() == [68, 1, 84]
    assert table("greys")[0].max() <= 1
    assert table("greys")[255].min() >= 252
    brightness = table("inferno").astype(float) @ [0.3, 0.59, 0.11]
    assert (np.diff(brightness) > -1).all()
    assert not table("magma").flags.writeable
    assert coloured(np.array([[0.0, 1.0, 2.0, -1.0]]))[0].tolist() == table("inferno")[[0, 255, 255, 0]].tolist()


# --------------------------------------------------------------------------------------------------------- refusals

WRONG: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "method": ({"method": "layercma"}, ValueError, r"unknown method 'layercma'; valid: layercam, .*mean 'layercam'"),
    "stage": ({"stages": ["S1", "S9"]}, ValueError, r"unknown tap 'S9'; valid: S1, S2, .*did you mean 'S"),
    "tap": ({"stages": ["relu3"]}, ValueError, r"unknown tap 'relu3'; valid: .*did you mean 'relu[12]'"),
    "no stage": ({"stages": []}, ValueError, "no stage was given; this network has: S1, S2"),
    "gradient": (
        {"gradient": "postive"},
        ValueError,
        r"unknown gradient handling for layercam 'postive'; valid: positive",
    ),
    "CAM's gradient": ({"method": "cam", "gradient": "positive"}, ValueError, r"for cam 'positive'; valid: signed"),
    "scale": ({"scale": "sqrt"}, ValueError, "unknown scale 'sqrt'; valid: tanh, none, cbrt, tan"),
    "reduce": ({"reduce": "sum"}, ValueError, "unknown reduction 'sum'; valid: max, mean, product"),
    "preset": ({"preset": "nature"}, ValueError, "unknown preset 'nature'; valid: paper, official-script, torchcam"),
    "γ = 0": ({"gamma": 0}, ValueError, "gamma must be a finite number above 0 .the paper uses 2.; got 0"),
    "γ < 0": ({"gamma": -2.0}, ValueError, "got -2.0"),
    "γ NaN": ({"gamma": float("nan")}, ValueError, "got nan"),
    "γ ∞": ({"gamma": float("inf")}, ValueError, "got inf"),
    "γ text": ({"gamma": "2"}, ValueError, "got '2'"),
    "label": ({"target": "tabbi"}, ValueError, r"unknown label 'tabbi'; valid: tabby, .*did you mean 'tabby'"),
    "class": ({"target": 5}, ValueError, r"class 5 is out of range: small has classes 0 … 4"),
    "negative class": ({"target": -1}, ValueError, r"class -1 is out of range: small has classes 0 … 4"),
    "bool": ({"target": True}, TypeError, "a target is a class index, a label or a callable .*; got True"),
    "NumPy bool": ({"target": np.True_}, TypeError, "got np.True_"),
    "tensor bool": ({"target": torch.tensor(True)}, TypeError, r"got tensor\(True\)"),
    "float": ({"target": 1.5}, TypeError, "got 1.5"),
    "dict": ({"target": {"class": 1}}, TypeError, r"got \{'class': 1\}"),
    "classes": ({"target": [0, 1]}, ValueError, "explain takes one target, not 2; use capture for several"),
    "row": ({"target": torch.tensor([1, 7])}, ValueError, "class 7 is out of range"),
    "rows": ({"target": torch.tensor([1, 2])}, ValueError, "2 targets were given for 1 picture"),
    "CAM at a shallow stage": ({"method": "cam", "stages": ["S1"]}, ValueError, "CAM needs .* its deepest tap"),
    "CAM of a callable": ({"method": "cam", "target": lambda y: y[0]}, ValueError, "CAM needs a class as its target"),
}


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("what", WRONG)
def test_refusals_name_what_was_given_and_leave_the_model_alone(what: str, training: bool) -> None:
    options, kind, said = WRONG[what]
    net = settled(Small()).train(training)
    net.fc.weight.grad = torch.ones_like(net.fc.weight)
    net.conv1.requires_grad_(False)
    net.relu1.register_forward_hook(lambda m, i, out: None)
    classifier = wrap(net, input_size=16, name="small", labels=["tabby", "b", "c", "d", "e"])
    before = state(net)
    with pytest.raises(kind, match=said) as caught:
        explain(classifier, picture(), **options)
    assert "\n" not in str(caught.value)
    assert state(net) == before
    assert explain(classifier, picture()).map.shape == (16, 16), "the session goes on"


FREE = [what for what in WRONG if not what.startswith(("CAM at", "CAM of", "rows"))]


@pytest.mark.parametrize("what", FREE)
def test_refusing_costs_no_pass_through_the_network(what: str) -> None:
    options, kind, said = WRONG[what]
    classifier = wrap(settled(Counted()).eval(), input_size=16, name="small", labels=["tabby", "b", "c", "d", "e"])
    classifier.stages  # noqa: B018
    Counted.passes = 0
    with pytest.raises(kind, match=said):
        explain(classifier, picture(), **options)
    assert Counted.passes == 0


@pytest.mark.parametrize("taps", ["S7", ["S1", "nowhere"], []])
def test_capture_refuses_unknown_taps(taps: Any) -> None:
    with pytest.raises(ValueError, match=r"unknown tap|no stage was given"):
        capture(small(), picture(), taps=taps)
    with pytest.raises(ValueError, match="an empty list of targets was given"):
        capture(small(), picture(), [])


def test_evidence_refuses_what_was_not_recorded() -> None:
    evidence = capture(small(), picture(), taps=["S2"])
    with pytest.raises(ValueError, match="'S1' was not recorded; recorded: S2"):
        evidence.at("S1")
    with pytest.raises(ValueError, match="unknown stage 'S1'; valid: S2"):
        explain_evidence(evidence, stages=["S1"])
    with pytest.raises(ValueError, match="no stage was given; this network has: S2"):
        explain_evidence(evidence, stages=[])


def test_no_hook_is_left() -> None:
    classifier = small()
    for method in evidence_methods():
        explain(classifier, picture(), method)
    assert hooks(classifier.module) == 0
