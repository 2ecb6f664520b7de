"""Prepared copies: faster, the same answers, the original untouched."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

import camwidgets
from camwidgets.classifiers.guards import every_tensor

FAMILIES = ("resnet18", "densenet121", "shufflenet_v2_x0_5", "vgg11_bn")


def test_maps_and_logits_of_the_embedded_network_agree() -> None:
    classifier = camwidgets.load("efficientnet_lite0")
    prepared = classifier.prepared()
    x = classifier.preprocess([camwidgets.samples.picture("cat"), camwidgets.samples.picture("coffee")])
    before = camwidgets.capture(classifier, x)
    after = camwidgets.capture(prepared, x)
    assert before.targets == after.targets
    torch.testing.assert_close(after.logits, before.logits, atol=1e-4, rtol=0)
    for method in ("layercam", "gradcam"):
        for a, b in zip(
            camwidgets.explain(classifier, x, method, stages=["S1", "S3", "S5"]),
            camwidgets.explain(prepared, x, method, stages=["S1", "S3", "S5"]),
            strict=True,
        ):
            apart = np.abs(a.map - b.map)
            # A unit within one rounding of ReLU6's corners may fall the other way, which changes its whole receptive
            # field a little; which units do depends on machine and threads. The next test has no such excuse.
            assert apart.mean() < 1e-3
            assert apart.max() < 5e-2


@pytest.mark.parametrize("name", FAMILIES)
def test_in_double_precision_nothing_differs(name: str) -> None:
    """In float32 a ReLU at 0 may fall the other way; in float64 only a wrong fold could show."""
    torch.manual_seed(0)
    classifier = camwidgets.wrap(torchvision.models.get_model(name, weights=None).double().eval(), input_size=64)
    for module in classifier.module.modules():  # statistics as after training, not 0 and 1
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(0, 0.1)
    prepared = classifier.prepared()
    assert prepared.stages == classifier.stages
    x = torch.randn(1, 3, 64, 64, dtype=torch.float64)
    before, after = camwidgets.capture(classifier, x), camwidgets.capture(prepared, x)
    torch.testing.assert_close(after.logits, before.logits, rtol=1e-8, atol=1e-8)
    for tap in classifier.stages.values():
        scale = float(before.gradients[tap].abs().max())
        torch.testing.assert_close(after.activations[tap], before.activations[tap], rtol=1e-8, atol=1e-8)
        torch.testing.assert_close(after.gradients[tap], before.gradients[tap], rtol=0, atol=1e-8 * scale)


def test_the_original_is_untouched_and_the_copy_has_no_norm_left() -> None:
    classifier = camwidgets.load("resnet18", weights=None)
    before = {name: t.clone() for name, t in classifier.module.state_dict().items()}
    hooks = sum(len(m._forward_hooks) for m in classifier.module.modules())
    prepared = classifier.prepared()
    after = classifier.module.state_dict()
    assert list(before) == list(after)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert sum(len(m._forward_hooks) for m in classifier.module.modules()) == hooks == 0
    assert all(p.requires_grad for p in classifier.module.parameters())
    assert not any(isinstance(m, nn.BatchNorm2d) for m in prepared.module.modules())
    own = {t.data_ptr() for t in every_tensor(classifier.module)}
    assert not own & {t.data_ptr() for t in every_tensor(prepared.module)}
    assert prepared.labels == classifier.labels


def test_a_value_before_a_folded_norm_is_refused() -> None:
    prepared = camwidgets.load("resnet18", weights=None).prepared()
    with pytest.raises(ValueError, match="before a BatchNorm"):
        camwidgets.capture(prepared, torch.zeros(1, 3, 224, 224), taps=["layer1.0.conv1"])
    evidence = camwidgets.capture(prepared, torch.zeros(1, 3, 224, 224), taps=["layer1.0.bn1", "S5"])
    assert set(evidence.activations) == {"layer1.0.bn1", "layer4"}


def test_what_cannot_be_folded_stays_as_it_is() -> None:
    class Odd(nn.Module):
        """One convolution called twice, one BatchNorm on batch statistics."""

        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 4, 3, 2, 1)
            self.twice, self.norm = nn.Conv2d(4, 4, 3, 1, 1), nn.BatchNorm2d(4)
            self.free = nn.Conv2d(4, 4, 3, 2, 1)
            self.own = nn.BatchNorm2d(4, track_running_stats=False)
            self.head = nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = torch.relu(self.norm(self.twice(self.twice(self.stem(x)))))
            return self.head(torch.relu(self.own(self.free(x))).mean((2, 3)))

    torch.manual_seed(0)
    classifier = camwidgets.wrap(Odd().eval(), input_size=32)
    prepared = classifier.prepared()
    assert isinstance(prepared.module.get_submodule("norm"), nn.BatchNorm2d)
    assert isinstance(prepared.module.get_submodule("own"), nn.BatchNorm2d)
    x = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(camwidgets.record(prepared, x).logits, camwidgets.record(classifier, x).logits)


def test_a_fold_that_would_change_the_answer_is_refused() -> None:
    class Shortcut(nn.Module):
        """The weights before the BatchNorm are used a second time, past their module."""

        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 4, 3, 2, 1), nn.BatchNorm2d(4)
            self.head = nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            raw = F.conv2d(x, self.conv.weight, self.conv.bias, 2, 1)
            return self.head((torch.relu(self.norm(self.conv(x))) + raw).mean((2, 3)))

    module = Shortcut().eval()
    module.norm.bias.data.fill_(3)
    with pytest.raises(ValueError, match="cannot be prepared"):
        camwidgets.wrap(module, name="shortcut", input_size=32).prepared()
