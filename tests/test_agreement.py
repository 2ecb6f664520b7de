"""Side by side with the neighbours: torchcam, pytorch-grad-cam and captum on the same network and picture.

Maps are compared in [0, 1] to 1e-5, in float64, so that a difference is one of formula and not of rounding.
Where a neighbour computes something else than it says, the test says what it computes and holds us to that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

import camwidgets
from camwidgets import Classifier, Evidence, capture, wrap
from camwidgets.maps import fuse, make_plan, stage_maps
from tests.nets import picture, settled

torchcam = pytest.importorskip("torchcam")
from captum.attr import LayerGradCam  # noqa: E402
from pytorch_grad_cam import GradCAM, GradCAMPlusPlus, LayerCAM, XGradCAM  # noqa: E402
from torchcam import methods as tc  # noqa: E402

SIDE = 96
LIMIT = 1e-5
SHARPEN = 1e6  # the neighbours add a small ε to Grad-CAM++'s denominator: with larger gradients it has no weight


class Case:
    """A network, a picture, a class, and our evidence for it."""

    def __init__(self, name: str) -> None:
        self.name = name
        module: nn.Module
        if name == "efficientnet_lite0":
            lite0 = camwidgets.load(name)
            module, self.x = lite0.module.double(), lite0.preprocess(camwidgets.samples.picture("cat")).double()
        else:
            with torch.device("meta"):
                module = torchvision.models.get_model(name, weights=None)
                if name == "vgg11":
                    module.classifier = nn.Sequential(nn.Linear(512 * 49, 10))  # its own has 120 million weights
            module = settled(module.to_empty(device="cpu")).double().eval()
            self.x = picture(side=SIDE, dtype=torch.float64)
        self.classifier: Classifier = wrap(module, input_size=self.x.shape[-1], name=name)
        with torch.no_grad():
            self.target = int(module(self.x)[0].argmax())
        self.evidence: Evidence = capture(self.classifier, self.x, self.target)
        self.taps = {stage: str(tap) for stage, tap in self.classifier.stages.items()}

    @property
    def module(self) -> nn.Module:
        return self.classifier.module

    def layers(self, *stages: str) -> list[nn.Module]:
        return [self.module.get_submodule(self.taps[stage]) for stage in stages]

    def maps(
        self, method: str, *stages: str, evidence: Evidence | None = None, plan: Any = None
    ) -> dict[str, np.ndarray]:
        return stage_maps(evidence or self.evidence, method, stages=stages, plan=plan)

    def fused(self, method: str, preset: str, *stages: str) -> np.ndarray:
        plan = make_plan(preset=preset)
        chosen = self.maps(method, *stages, plan=plan)
        return fuse(chosen, (self.x.shape[2], self.x.shape[3]), plan, list(self.taps))


@pytest.fixture(scope="module", params=["resnet18", "vgg11", "efficientnet_lite0"])
def case(request: pytest.FixtureRequest) -> Case:
    return Case(request.param)


@pytest.fixture(autouse=True)
def report(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> Iterator[list[float]]:
    """Prints the greatest difference that a test saw."""
    seen: list[float] = []
    request.node.stash[SEEN] = seen
    yield seen
    if seen:
        with capsys.disabled():
            print(f"\n{request.node.name}: {max(seen):.1e}", end="")


SEEN = pytest.StashKey[list[float]]()


def assert_agree(found: Any, wanted: Any, seen: list[float], limit: float = LIMIT) -> None:
    found, wanted = (np.asarray(m.detach() if isinstance(m, Tensor) else m, np.float64) for m in (found, wanted))
    assert found.shape == wanted.shape
    assert np.isfinite(wanted).all()
    assert wanted.max() > 0.5, "the neighbour's own map is flat: this would compare nothing"
    seen.append(float(np.abs(found - wanted).max()))
    assert seen[-1] <= limit


def minmax(m: np.ndarray) -> np.ndarray:
    """As torchcam does it: its ε weighs 1e-5 where a map's maximum is 1e-3."""
    m = np.asarray(m, np.float64)
    return np.asarray((m - m.min()) / (m.max() - m.min() + 1e-8))


def by_torchcam(kind: Callable[..., Any], case: Case, stages: list[str], **options: Any) -> list[Tensor]:
    with kind(case.module, [case.taps[s] for s in stages], **options) as extractor:
        scores = case.module(case.x)
        maps: list[Tensor] = extractor(case.target, scores)
    return maps


def by_grad_cam(kind: Callable[..., Any], case: Case, stages: list[str], factor: float = 1.0) -> np.ndarray:
    with kind(case.module, case.layers(*stages)) as extractor:
        found: np.ndarray = extractor(case.x, [lambda y: factor * y[case.target]])[0]
    return found


# --------------------------------------------------------------------------------------------------- single stages


@pytest.mark.parametrize(
    ("ours", "theirs"), [("gradcam", "GradCAM"), ("xgradcam", "XGradCAM"), ("layercam", "LayerCAM")]
)
def test_torchcam(case: Case, ours: str, theirs: str, report: list[float]) -> None:
    stages = list(case.taps)
    found = by_torchcam(getattr(tc, theirs), case, stages)
    for stage, m in zip(stages, found, strict=True):
        own = case.maps(ours, stage)[stage]
        if own.max() > 0 and float(m.max()) > 0.5:
            assert_agree(minmax(own), m[0], report)
        else:  # nothing speaks for the class there: they give an even map too
            assert not own.any()
            assert float(m.max()) == 0
    assert report


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [("gradcam", GradCAM), ("xgradcam", XGradCAM), ("layercam", LayerCAM), ("gradcam++", GradCAMPlusPlus)],
)
def test_pytorch_grad_cam(case: Case, ours: str, theirs: Callable[..., Any], report: list[float]) -> None:
    factor = SHARPEN if ours == "gradcam++" else 1.0
    evidence = capture(case.classifier, case.x, lambda y: factor * y[case.target])
    plan = make_plan(preset="pytorch-grad-cam")
    for stage in case.taps:
        own = case.maps(ours, stage, evidence=evidence)
        found = by_grad_cam(theirs, case, [stage], factor)
        size = (case.x.shape[2], case.x.shape[3])
        if own[stage].max() > 0:
            assert_agree(fuse(own, size, plan, list(case.taps)), found, report)
        else:
            assert not found.any()
    assert report


def test_captum(case: Case, report: list[float]) -> None:
    for stage in case.taps:
        layer = case.layers(stage)[0]
        found = LayerGradCam(case.module, layer).attribute(case.x, case.target, relu_attributions=True)[0, 0]
        own = case.maps("gradcam", stage)[stage]
        if own.max() > 0:
            assert_agree(own / own.max(), found / found.max(), report)
    assert report


def test_torchcam_cam(case: Case, report: list[float]) -> None:
    """torchcam's CAM shows negative values too; cut at 0 it is ours. VGG has no such head, and ours says so."""
    deepest = list(case.taps)[-1]
    if case.name == "vgg11":
        with pytest.raises(ValueError, match="global average pooling and one linear layer"):
            case.maps("cam", deepest)
        report.append(0.0)
        return
    linear = "fc" if case.name == "resnet18" else "classifier"
    with tc.CAM(case.module, case.taps[deepest], linear) as extractor, torch.no_grad():
        case.module(case.x)
        found = extractor(case.target, normalized=False)[0][0].relu()
    own = case.maps("cam", deepest)[deepest]
    assert_agree(own / own.max(), found / found.max(), report)


def test_torchcam_grad_cam_pp_leaves_the_division_out(case: Case, report: list[float]) -> None:
    """torchcam 0.5 divides a copy (`alpha[idx][mask].div_(…)`): its α is g² itself. With that α we agree."""
    stage = list(case.taps)[-1]
    found = by_torchcam(tc.GradCAMpp, case, [stage])[0][0]
    A, g = (t[0] for t in case.evidence.at(stage))
    undivided = torch.relu(((g**2 * g.relu()).sum((1, 2))[:, None, None] * A).sum(0))
    assert_agree(minmax(undivided.numpy()), found, report)


# --------------------------------------------------------------------------------------------------------- presets


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_preset_torchcam(case: Case, count: int, report: list[float]) -> None:
    stages = list(case.taps)[-count:]
    size = (case.x.shape[2], case.x.shape[3])
    found = by_torchcam(tc.LayerCAM, case, stages)
    whole = tc.LayerCAM.fuse_cams(found, target_shape=size)[0]
    if count == 1:  # a single map they hand back at its own size, unscaled
        whole = F.interpolate(found[0][None], size, mode="bilinear", align_corners=False)[0, 0]
    assert_agree(case.fused("layercam", "torchcam", *stages), whole, report)


@pytest.mark.parametrize("count", [1, 2, 3, 5])
@pytest.mark.parametrize(("ours", "theirs"), [("layercam", LayerCAM), ("gradcam", GradCAM)])
def test_preset_pytorch_grad_cam(
    case: Case, ours: str, theirs: Callable[..., Any], count: int, report: list[float]
) -> None:
    stages = list(case.taps)[-count:]
    found = by_grad_cam(theirs, case, stages)
    assert_agree(case.fused(ours, "pytorch-grad-cam", *stages), found, report)


def by_the_authors_script(module: nn.Module, x: Tensor, target: int, tap: str) -> np.ndarray:
    """What the LayerCAM authors' localisation script does at one layer, written anew from its description.

    Activations are taken at the ReLU, the gradient at the *output of the max-pool that follows it*; that gradient is
    upsampled (bilinear, corners aligned) to the activation's size; ReLU(A·g) is summed over the channels, upsampled
    (corners aligned) to the input and divided by its maximum.
    """
    head, number = tap.rsplit(".", 1)
    relu, pool = module.get_submodule(tap), module.get_submodule(f"{head}.{int(number) + 1}")
    assert isinstance(pool, nn.MaxPool2d)
    kept: dict[str, Tensor] = {}
    handles = [
        relu.register_forward_hook(lambda m, i, out: kept.__setitem__("A", out.detach().clone())),
        pool.register_forward_hook(lambda m, i, out: kept.__setitem__("next", out)),
    ]
    logits = module(x)
    for handle in handles:
        handle.remove()
    (g,) = torch.autograd.grad(logits[0, target], kept["next"])
    up = F.interpolate(g, kept["A"].shape[2:], mode="bilinear", align_corners=True)
    m = torch.relu(kept["A"] * up).sum(1, keepdim=True)
    m = F.interpolate(m, x.shape[2:], mode="bilinear", align_corners=True)[0, 0]
    return np.asarray((m / m.max()).numpy())


@pytest.mark.parametrize("stages", [["S5"], ["S4"], ["S3"], ["S2"], ["S1"], ["S3", "S4", "S5"]])
def test_preset_official_script(stages: list[str], report: list[float]) -> None:
    case = vgg()
    layers = [by_the_authors_script(case.module, case.x, case.target, case.taps[stage]) for stage in stages]
    found = case.fused("layercam", "official-script", *stages)
    assert_agree(found, np.max(layers, axis=0), report)
    plain = case.fused("layercam", "paper", *stages)
    assert np.abs(found - plain).max() > 0.05, "the preset makes no difference here: this test would prove nothing"


VGG: list[Case] = []


def vgg() -> Case:
    if not VGG:
        VGG.append(Case("vgg11"))
    return VGG[0]


def test_preset_official_script_on_odd_sizes(report: list[float]) -> None:
    """Where the pooling drops a last row and column, their gradient is 0 in both."""
    case = Case("vgg11")
    case.x = picture(side=73, dtype=torch.float64)
    case.evidence = capture(case.classifier, case.x, case.target)
    for stage in ("S1", "S2", "S3"):
        wanted = by_the_authors_script(case.module, case.x, case.target, case.taps[stage])
        assert_agree(case.fused("layercam", "official-script", stage), wanted, report)


def test_explain_with_a_preset_is_the_neighbour(case: Case, report: list[float]) -> None:
    """The public function from end to end, in float32 as people use it."""
    case.module.float()
    try:
        x = case.x.float()
        stages = list(case.taps)
        found = camwidgets.explain(case.classifier, x, target=case.target, stages=stages, preset="torchcam")
    finally:
        case.module.double()
    whole = tc.LayerCAM.fuse_cams(by_torchcam(tc.LayerCAM, case, stages), (x.shape[2], x.shape[3]))[0]
    assert_agree(found.map, whole, report, limit=1e-4)
