"""The user's model is bit for bit what it was: values, flags, gradients, hooks and their order, whatever happened."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import camwidgets
from camwidgets import capture, explain, record, wrap
from camwidgets.maps import methods
from tests.nets import Raises, SharedSkip, Small, Tutorial, hooks, picture, settled, small, state


def well_used(net: nn.Module) -> nn.Module:
    """A model in the middle of somebody's work: mixed modes, gradients, frozen parts, hooks of every kind."""
    net.train()
    settled(net)
    children = [m for m in net.modules() if not list(m.children())]
    children[1].eval()
    for i, p in enumerate(net.parameters()):
        p.requires_grad_(i % 3 != 1)
        p.grad = torch.full_like(p, i) if i % 2 else None
    for m in (net, children[0], children[-1]):
        m.register_forward_hook(lambda m, i, out: None)
        m.register_forward_pre_hook(lambda m, i: None)
        m.register_forward_hook(lambda m, i, k, out: None, with_kwargs=True, prepend=True)
        m.register_full_backward_hook(lambda m, gi, go: None)
    next(net.parameters()).register_hook(lambda g: g)
    return net


def explained(classifier: camwidgets.Classifier, x: Tensor, name: str) -> None:
    """One explanation; a method may refuse a network, but only where it says so before."""
    few: dict[str, Any] = {"masks": 50} if name == "rise" else {}
    try:
        explain(classifier, x, name, **few)
    except ValueError:
        if methods()[name].why_not(classifier) is None:
            raise


USES: dict[str, Callable[[camwidgets.Classifier, Tensor], Any]] = {
    "stages": lambda c, x: c.stages,
    "predict": lambda c, x: c.predict(x),
    "capture": lambda c, x: capture(c, x, [0, 1, lambda y: y[0] - y[1]]),
    "record": lambda c, x: record(c, x).evidence(1),
    "hash": lambda c, x: c.weights_hash(),
    "head": lambda c, x: c.gap_weights(),
    "repr": lambda c, x: repr(c),
    **{name: lambda c, x, name=name: explained(c, x, name) for name in methods() if name != "cam"},  # type: ignore[misc]
}


@pytest.mark.parametrize("make", [Small, SharedSkip, Tutorial])
@pytest.mark.parametrize("use", USES)
def test_nothing_on_the_model_changes(make: Callable[[], nn.Module], use: str) -> None:
    net = well_used(make())
    side = 32 if make is Tutorial else 16
    before = state(net)
    mode = torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.get_rng_state()
    USES[use](wrap(net, input_size=side), picture(side=side))
    assert state(net) == before
    assert (torch.is_grad_enabled(), torch.is_inference_mode_enabled()) == mode[:2]
    assert torch.equal(torch.get_rng_state(), mode[2]), "the global random state was used"


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "googlenet"])
def test_nothing_on_a_real_model_changes(name: str) -> None:
    import torchvision

    options = {"init_weights": False} if name == "googlenet" else {}
    net = torchvision.models.get_model(name, weights=None, **options)  # in training mode, as torchvision makes it
    before = state(net)
    classifier = wrap(net, input_size=64)
    if name == "googlenet":  # in training mode it returns its auxiliary heads, too; it is explained in evaluation mode
        assert not isinstance(net(picture(2, side=64)), Tensor)
        before = state(net)
    explain(classifier, picture(side=64))
    assert state(net) == before


def test_the_state_that_is_compared_notices_every_change() -> None:
    """The comparison itself is tested: each of these must be seen."""
    changes: list[Callable[[Small], Any]] = [
        lambda n: n.eval(),
        lambda n: setattr(n.drop, "training", False),
        lambda n: n.fc.weight.requires_grad_(False),
        lambda n: setattr(n.fc.weight, "grad", torch.zeros_like(n.fc.weight)),
        lambda n: n.fc.weight.data.mul_(1.0000001),
        lambda n: setattr(n.fc, "weight", nn.Parameter(n.fc.weight.detach().clone())),
        lambda n: n(torch.rand(2, 3, 16, 16)),  # the statistics of BatchNorm
        lambda n: n.fc.register_forward_hook(lambda m, i, out: None),
        lambda n: n.fc.register_forward_pre_hook(lambda m, i: None),
        lambda n: n.fc.register_full_backward_hook(lambda m, a, b: None),
        lambda n: n.fc.weight.register_hook(lambda g: g),
        lambda n: setattr(n.fc, "extra", 1),
        lambda n: n.double(),
    ]
    for i, change in enumerate(changes):
        net = settled(Small())
        before = state(net)
        assert state(net) == before
        change(net)
        assert state(net) != before, f"change {i} was not noticed"
    net = settled(Small())
    handles = [net.fc.register_forward_hook(lambda m, i, out: None) for _ in range(2)]
    before = state(net)
    order: Any = net.fc._forward_hooks
    order.move_to_end(handles[0].id)
    assert state(net) != before, "another order of hooks was not noticed"


# --------------------------------------------------------------------------------------------- errors in mid-course


class Stopped(BaseException):
    """What is not an `Exception` either, as KeyboardInterrupt."""


@pytest.mark.parametrize("error", [RuntimeError("broken"), KeyboardInterrupt(), Stopped(), MemoryError("full")])
@pytest.mark.parametrize("after", [0, 1])
def test_an_error_in_the_forward_pass(error: BaseException, after: int) -> None:
    """Raised in the trace (after 0 passes) or in the recorded pass (after 1)."""
    net = Raises(error, after)
    well_used(net.net)
    before = state(net)
    classifier = wrap(net, input_size=16)
    with pytest.raises(type(error)) as caught:
        explain(classifier, picture())
    assert caught.value is error
    assert state(net) == before
    net.left = 10**6
    assert explain(classifier, picture()).map.shape == (16, 16), "the classifier can be used again"
    net.left = 0
    for use in (lambda: classifier.predict(picture()), lambda: capture(classifier, picture(), 0)):
        with pytest.raises(type(error)):
            use()
        assert state(net) == before


@pytest.mark.parametrize("error", [RuntimeError("broken"), KeyboardInterrupt()])
def test_an_error_in_the_backward_pass(error: BaseException) -> None:
    class Breaks(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: Any, *grads: Any) -> Any:
            raise error

    class Net(Small):
        def forward(self, x: Tensor) -> Tensor:
            x = self.pool(self.relu1(self.conv1(x)))
            return self.fc(Breaks.apply(self.relu2(self.conv2(x))).mean((2, 3)))

    net = well_used(Net())
    before = state(net)
    with pytest.raises(type(error)):
        explain(wrap(net, input_size=16), picture())
    assert state(net) == before


def test_an_error_in_the_target() -> None:
    net = well_used(Small())
    before = state(net)

    def target(y: Tensor) -> Tensor:
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        explain(wrap(net, input_size=16), picture(), target=target)
    assert state(net) == before


def test_the_users_hooks_are_called_and_heeded() -> None:
    """A user's hook that changes a layer's output changes what is explained, as it changes what the model answers."""
    net = settled(Small()).eval()
    classifier = wrap(net, input_size=16)
    plain = explain(classifier, picture(), target=0)
    handle = net.relu2.register_forward_hook(lambda m, i, out: out * 2)
    doubled = explain(classifier, picture(), target=0)
    handle.remove()
    np.testing.assert_allclose(doubled.stage_maps["S2"], 2 * plain.stage_maps["S2"], rtol=1e-5)
    again = explain(classifier, picture(), target=0)
    assert np.array_equal(again.map, plain.map)


def test_a_class_that_overrides_eval_and_train() -> None:
    """Some models freeze their BatchNorm by overriding `train`; the flags come back as they were, not as that does."""

    class Stubborn(Small):
        def train(self, mode: bool = True) -> Stubborn:
            super().train(mode)
            self.norm1.training = False
            return self

    net = settled(Stubborn()).train()
    assert net.training
    assert not net.norm1.training
    before = state(net)
    explain(wrap(net, input_size=16), picture())
    assert state(net) == before


def test_shared_weights_stay_shared() -> None:
    net = settled(SharedSkip())
    net.stem2 = net.stem
    net.fc2 = nn.Linear(4, 3)
    net.fc2.weight = net.fc.weight
    before = state(net)
    explain(wrap(net, input_size=16), picture())
    assert state(net) == before
    assert net.fc2.weight is net.fc.weight


def test_training_goes_on_as_if_nothing_had_been_explained() -> None:
    """Two trainings, one interrupted by explanations after every step: the same weights to the last bit."""

    def train(explained: bool) -> dict[str, Tensor]:
        torch.manual_seed(0)
        net = settled(Small())
        classifier = wrap(net, input_size=16)
        optimiser = torch.optim.Adam(net.parameters(), 1e-2)
        for step in range(5):
            loss = nn.functional.cross_entropy(net(picture(4, seed=step)), torch.tensor([0, 1, 2, 3]))
            loss.backward()
            if explained:
                explain(classifier, picture(seed=step))
            optimiser.step()
            optimiser.zero_grad()
        return {key: value.clone() for key, value in net.state_dict().items()}

    plain, explained = train(False), train(True)
    assert all(torch.equal(plain[key], explained[key]) for key in plain)


def test_explaining_within_a_graph_of_ones_own_leaves_it_whole() -> None:
    net = settled(Small()).eval()
    x = picture().requires_grad_()
    y = net(x)[0, 0]
    explain(wrap(net, input_size=16), x)
    y.backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0
    assert net.conv1.weight.grad is not None


def test_state_helper_counts_hooks() -> None:
    assert hooks(small().module) == 0
    assert hooks(well_used(Small())) > 5


# ------------------------------------------------------------------------------------------------ import, doctests


def test_import_costs_little() -> None:
    """`import camwidgets` after `import torch`: at most 0.3 s (a few ms here), and nothing heavy comes along."""
    code = (
        "import sys, torch, time\n"
        "before = set(sys.modules); t = time.perf_counter(); import camwidgets; t = time.perf_counter() - t\n"
        "heavy = {'torchvision', 'plotly', 'ipywidgets', 'anywidget', 'captum', 'zennit', 'scipy', 'PIL'}\n"
        "print(t, sorted(heavy & {m.split('.')[0] for m in set(sys.modules) - before}))"
    )
    for _ in range(3):  # a busy machine may be slow once
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
        seconds, heavy = run.stdout.split(" ", 1)
        assert heavy.strip() == "[]"
        if float(seconds) < 0.3:
            return
    pytest.fail(f"import camwidgets took {seconds} s after import torch")


CORE = [
    "camwidgets.errors", "camwidgets.images", "camwidgets.samples", "camwidgets.evidence", "camwidgets.explanation",
    "camwidgets.classifiers.activations", "camwidgets.classifiers.classifier", "camwidgets.classifiers.lite0",
    "camwidgets.classifiers.registry", "camwidgets.classifiers.taps", "camwidgets.maps.catalogue",
    "camwidgets.maps.fusion", "camwidgets.maps.gradient", "camwidgets.maps.regions", "camwidgets.maps.stages",
    "camwidgets.figures.colour", "camwidgets.figures.overlay",
]  # fmt: skip


def test_the_examples_in_docstrings_run() -> None:
    import doctest
    import importlib

    tried = 0
    for name in CORE:
        found = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE)
        assert found.failed == 0, name
        tried += found.attempted
    assert tried > 25
