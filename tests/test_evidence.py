"""Evidence: right to the last bit against plain autograd, in every mode a network may be found in, and cheap."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import camwidgets
from camwidgets import Evidence, capture, record, wrap
from tests.nets import Reference, SharedSkip, Small, picture, settled, small, state

TARGET = 2


class Counted(nn.Module):
    """Small, which counts its forward passes."""

    def __init__(self) -> None:
        super().__init__()
        self.net = Small()
        self.passes: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.passes.append(len(x))
        return self.net(x)


def by_autograd(net: Any, x: Tensor, target: int = TARGET) -> dict[str, tuple[Tensor, Tensor]]:
    """tap → (A, g) from the network's out-of-place reference and plain autograd."""
    x = x.clone().requires_grad_()
    reference: Reference = net.reference(x)
    sites, logits = reference
    grads = torch.autograd.grad(logits[:, target].sum(), list(sites.values()))
    return {tap: (a.detach(), g) for (tap, a), g in zip(sites.items(), grads, strict=True)}


def assert_same(evidence: Evidence, wanted: dict[str, tuple[Tensor, Tensor]], **tolerance: Any) -> None:
    for tap, (a, g) in wanted.items():
        torch.testing.assert_close(evidence.activations[tap], a, **tolerance)
        torch.testing.assert_close(evidence.gradients[tap], g, **tolerance)


# ------------------------------------------------------------------------------------------------- what is right


@pytest.mark.parametrize("make", [Small, SharedSkip])
def test_equals_plain_autograd_in_float64(make: Callable[[], nn.Module]) -> None:
    """In-place ReLUs, a convolution overwritten by an addition, shared modules: A and g of every tap at once."""
    net = settled(make()).double().eval()
    x = picture(2, dtype=torch.float64)
    wanted = by_autograd(net, x)
    evidence = capture(wrap(net, input_size=16), x, TARGET, taps=list(wanted))
    assert evidence.activations[next(iter(wanted))].dtype == torch.float64
    assert_same(evidence, wanted, rtol=1e-12, atol=1e-14)
    assert evidence.cut_off == frozenset()


@pytest.mark.parametrize("make", [Small, SharedSkip])
def test_each_tap_alone_gives_what_all_together_give(make: Callable[[], nn.Module]) -> None:
    net = settled(make()).double().eval()
    x = picture(dtype=torch.float64)
    classifier = wrap(net, input_size=16)
    for tap, pair in by_autograd(net, x).items():
        assert_same(capture(classifier, x, TARGET, taps=tap), {tap: pair}, rtol=1e-12, atol=1e-14)


def test_gradients_by_finite_differences() -> None:
    """No autograd at all: the logit moves by g·ε when an activation is moved by ε."""
    net = settled(Small()).double().eval()
    x = picture(dtype=torch.float64)
    evidence = capture(wrap(net, input_size=16), x, TARGET)
    A, g = evidence.at("S1")

    def logit(moved: Tensor) -> float:
        handle = net.relu1.register_forward_hook(lambda m, i, out: moved)
        with torch.no_grad():
            y = float(net(x)[0, TARGET])
        handle.remove()
        return y

    generator = torch.Generator().manual_seed(5)
    # Only where A > 0: where a whole pooling window is 0, its maximum has no derivative.
    direction = torch.randn(A.shape, generator=generator, dtype=torch.float64) * (A > 0)
    step = 1e-6
    slope = (logit(A + step * direction) - logit(A - step * direction)) / (2 * step)
    assert slope == pytest.approx(float((g * direction).sum()), rel=1e-6)


def test_values_before_an_activation_in_place_are_not_spoiled() -> None:
    classifier = small()
    evidence = capture(classifier, picture(), TARGET, taps=["conv2", "relu2"])
    before, after = evidence.activations["conv2"], evidence.activations["relu2"]
    assert float(before.min()) < 0
    torch.testing.assert_close(before.relu(), after)
    torch.testing.assert_close(evidence.gradients["conv2"], evidence.gradients["relu2"] * (before > 0))


def test_an_activation_that_is_overwritten_later() -> None:
    """The tapped ReLU's result is changed in place by what follows: A is what the ReLU gave."""

    class Overwrites(Small):
        def forward(self, x: Tensor) -> Tensor:
            x = torch.nn.functional.max_pool2d(self.relu1(self.conv1(x)), 2)
            x = self.relu2(self.conv2(x))
            x.mul_(0.5).add_(1)
            return self.fc(x.mean((2, 3)))

    net = settled(Overwrites()).double().eval()
    x = picture(dtype=torch.float64)
    evidence = capture(wrap(net, input_size=16), x, TARGET)
    a1 = torch.relu(net.conv1(x))
    a2 = torch.relu(net.conv2(torch.nn.functional.max_pool2d(a1, 2)))
    y = net.fc((a2 * 0.5 + 1).mean((2, 3)))[0, TARGET]
    wanted = torch.autograd.grad(y, [a1, a2])
    for (A, g), a, w in zip([evidence.at("S1"), evidence.at("S2")], (a1, a2), wanted, strict=True):
        torch.testing.assert_close(A, a.detach())
        torch.testing.assert_close(g, w)
    assert float(evidence.scores[0]) == pytest.approx(float(y.detach()))


def test_a_tap_that_the_score_does_not_depend_on_is_cut_off() -> None:
    class Branch(Small):
        def forward(self, x: Tensor) -> Tensor:
            self.relu1(self.norm1(self.conv1(x)))
            return self.fc(self.relu2(self.conv2(x.repeat(1, 2, 1, 1)[:, :4])).mean((2, 3)))

    evidence = capture(wrap(settled(Branch()).eval(), input_size=16), picture(), TARGET, taps=["relu1", "relu2"])
    assert evidence.cut_off == {"relu1"}
    assert not evidence.gradients["relu1"].any()
    assert evidence.gradients["relu2"].any()


# ---------------------------------------------------------------------------------- in whatever mode it is found


def frozen(net: nn.Module) -> nn.Module:
    return net.requires_grad_(False)


MODES: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "plain": nullcontext,
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("weights", ["free", "frozen", "partly frozen", "inference"])
@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
def test_modes(mode: str, weights: str, training: bool) -> None:
    with torch.inference_mode(weights == "inference"):
        net = settled(Small()).double()
    net.train(training)
    if weights == "frozen":
        frozen(net)
    elif weights == "partly frozen":
        net.conv1.requires_grad_(False)
    reference = settled(Small()).double().eval()
    x = picture(2, dtype=torch.float64)
    wanted = by_autograd(reference, x)
    before = state(net)
    with MODES[mode]():
        evidence = capture(wrap(net, input_size=16), x, TARGET, taps=list(wanted))
    assert state(net) == before
    assert_same(evidence, wanted, rtol=1e-12, atol=1e-14)
    assert net.training is training


def test_input_made_under_inference_mode() -> None:
    with torch.inference_mode():
        x = picture(dtype=torch.float64)
    net = settled(Small()).double().eval()
    wanted = by_autograd(net, picture(dtype=torch.float64))
    assert_same(capture(wrap(net, input_size=16), x, TARGET, taps=list(wanted)), wanted, rtol=1e-12, atol=1e-14)


def test_the_evidence_is_detached_and_plain() -> None:
    with torch.inference_mode():
        evidence = capture(small(), picture(), TARGET)
    for tensor in (*evidence.activations.values(), *evidence.gradients.values(), evidence.logits, evidence.scores):
        assert not tensor.requires_grad
        assert not tensor.is_inference()
        assert tensor.dtype == torch.float32


def _similar(a: Tensor, b: Tensor) -> float:
    a, b = a.flatten().double(), b.flatten().double()
    return float((a @ b) / (a.norm() * b.norm()))


@pytest.mark.parametrize("how", ["ambient", "classifier", "bf16 module", "half module"])
def test_lower_precision_gives_nearly_the_same(how: str) -> None:
    classifier = small()
    x = picture()
    exact = capture(classifier, x, TARGET)
    if how == "ambient":
        with torch.autocast("cpu", torch.bfloat16):
            found = capture(classifier, x, TARGET)
    elif how == "classifier":
        found = capture(small().autocast(torch.bfloat16), x, TARGET)
    else:
        found = capture(small(dtype=torch.bfloat16 if how == "bf16 module" else torch.float16), x, TARGET)
    for tap in exact.activations:
        assert found.activations[tap].dtype == found.gradients[tap].dtype == torch.float32
        assert _similar(found.activations[tap], exact.activations[tap]) > 0.999
        assert _similar(found.gradients[tap], exact.gradients[tap]) > 0.99
    assert float(found.scores[0]) == pytest.approx(float(exact.scores[0]), abs=0.05)
    rounded = found.activations["relu2"]
    assert torch.equal(rounded, rounded.to(torch.float16 if how == "half module" else torch.bfloat16).float()), (
        "the pass did not run in the precision asked for"
    )


def test_tiny_gradients_survive_half_precision() -> None:
    """A score 10⁻⁷ times a logit has gradients below what float16 can hold; they come out all the same."""
    tiny = lambda y: y[TARGET].float() * 1e-7  # noqa: E731
    exact = capture(small(), picture(), tiny)
    found = capture(small(dtype=torch.float16), picture(), tiny)
    assert 0 < float(exact.gradients["relu2"].abs().max()) < 6e-8
    assert _similar(found.gradients["relu2"], exact.gradients["relu2"]) > 0.97


# ---------------------------------------------------------------------------------------------- batches, targets


def test_a_batch_is_its_pictures_one_by_one() -> None:
    classifier = wrap(settled(Small()).double().eval(), input_size=16)
    x = picture(3, dtype=torch.float64)
    batch = capture(classifier, x)
    assert len(batch) == 3
    assert len(set(batch.targets)) > 1 or torch.equal(batch.logits.argmax(1), torch.tensor(batch.targets))
    for i in range(3):
        alone, part = capture(classifier, x[i : i + 1]), batch[i]
        assert part.targets == alone.targets
        assert_same(part, {tap: (alone.activations[tap], alone.gradients[tap]) for tap in alone.activations})
        torch.testing.assert_close(part.scores, alone.scores)
        torch.testing.assert_close(part.probabilities, alone.probabilities)
        np.testing.assert_array_equal(part.pictures[0], alone.pictures[0])
    assert batch[-1].targets == batch[2].targets
    with pytest.raises(IndexError, match="picture 3 is out of range: the batch has 3"):
        batch[3]


@pytest.mark.parametrize("targets", [torch.tensor([4, 0, 2]), np.array([4, 0, 2])])
def test_one_target_for_each_picture(targets: Any) -> None:
    classifier = small()
    x = picture(3)
    evidence = capture(classifier, x, targets)
    assert evidence.targets == (4, 0, 2)
    for i, target in enumerate((4, 0, 2)):
        alone = capture(classifier, x[i : i + 1], target)
        torch.testing.assert_close(evidence.gradients["relu1"][i], alone.gradients["relu1"][0])
    with record(classifier, x) as recording:
        assert recording.evidence([4, 0, 2]).targets == (4, 0, 2)
    with pytest.raises(ValueError, match="3 targets were given for 2 pictures"):
        capture(classifier, x[:2], targets)


def _count_backward(do: Callable[[], Any]) -> int:
    """How often the gradient of conv2 with regard to its input is computed: once for each backward pass."""

    class Count(TorchDispatchMode):
        found = 0

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func._overloadpacket.__name__ == "convolution_backward":
                Count.found += 1
                asked = args[-1]
                assert asked[1:] == [False, False], f"the gradient of weights and bias was computed: {asked}"
            return func(*args, **(kwargs or {}))

    with Count():
        do()
    return Count.found


def test_several_targets_cost_one_forward_and_one_backward_each() -> None:
    net = settled(Counted()).eval()
    classifier = wrap(net, input_size=16, labels=list("abcde"))
    classifier.stages  # noqa: B018 - the trace is a pass of its own
    net.passes.clear()
    found: list[Evidence] = []
    wanted = [0, "d", None, lambda y: y[1] - y[2]]
    assert _count_backward(lambda: found.extend(capture(classifier, picture(), wanted))) == 4
    assert net.passes == [1]
    assert [e.targets[0] for e in found[:2]] == [0, 3]
    for target, evidence in zip(wanted, found, strict=True):
        alone = capture(classifier, picture(), target)
        for tap in alone.gradients:
            torch.testing.assert_close(evidence.gradients[tap], alone.gradients[tap])


@pytest.mark.parametrize("training", [False, True])
def test_no_parameter_gradient_and_no_pass_below_the_shallowest_tap(training: bool) -> None:
    """Asked of the dispatcher: no weight gradient is computed, and conv1, below the tap, is not gone back through."""
    net = settled(Small()).train(training)
    for p in net.parameters():
        p.grad = torch.ones_like(p)
    classifier = wrap(net, input_size=16)
    classifier.stages  # noqa: B018
    before = state(net)
    assert _count_backward(lambda: capture(classifier, picture(), 0, taps=["relu1", "relu2"])) == 1
    assert _count_backward(lambda: capture(classifier, picture(), 0, taps=["relu2"])) == 0
    assert state(net) == before
    assert all(p.grad is not None and bool((p.grad == 1).all()) for p in net.parameters())


def test_nothing_below_the_shallowest_tap_is_kept() -> None:
    recording = record(small(), picture(), taps=["relu2"])
    names, todo = set(), [recording._y.grad_fn]
    while todo:
        node = todo.pop()
        if node is not None:
            names.add(node.name())
            todo += [parent for parent, _ in node.next_functions]
    assert "ConvolutionBackward0" not in names
    assert any("Addmm" in name for name in names)


def test_callables() -> None:
    classifier = small()
    x = picture(2)
    index = capture(classifier, x, 3)

    def third(y: Tensor) -> Tensor:
        assert y.shape == (5,)
        return y[3]

    for target in (third, lambda y: y[..., 3], lambda y: y[:, 3], lambda y: y.sum(1) - y[:, [0, 1, 2, 4]].sum(1)):
        found = capture(classifier, x, target)
        torch.testing.assert_close(found.scores, index.scores)
        torch.testing.assert_close(found.gradients["relu1"], index.gradients["relu1"], rtol=1e-4, atol=1e-6)
    assert capture(classifier, x, third).targets == ("third", "third")
    log_probability = capture(classifier, x, lambda y: y.log_softmax(0)[3])
    torch.testing.assert_close(log_probability.scores, index.probabilities[:, 3].log())


@pytest.mark.parametrize(
    ("target", "said"),
    [
        (lambda y: y, r"must return one number .* returned shape \(5,\)"),
        (lambda y: 3.0, "must return one number .* returned float"),
        (lambda y: y[77], "reads beyond the 5 logits"),
    ],
)
def test_callables_that_cannot_be_used(target: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        capture(small(), picture(), target)


def test_a_constant_score_is_cut_off_not_an_error() -> None:
    evidence = capture(small(), picture(), lambda y: torch.tensor(1.0))
    assert evidence.cut_off == {"relu1", "relu2"}


def test_labels() -> None:
    classifier = small(labels=["ant", "bee", "cat", "dog", "elk"])
    assert capture(classifier, picture(), "Cat").targets == (2,)
    assert capture(classifier, picture(), np.int64(4)).targets == (4,)
    assert capture(classifier, picture(), torch.tensor(4)).targets == (4,)


def test_recording_is_closed_after_use() -> None:
    with record(small(), picture()) as recording:
        first = recording.evidence(0)
        assert recording.evidence(1).targets == (1,)
    with pytest.raises(RuntimeError, match="this recording is closed"):
        recording.evidence(0)
    assert recording.activations["relu1"] is first.activations["relu1"]


def test_threads_do_not_disturb_each_other() -> None:
    """Two threads on one classifier: hooks and flags belong to the pass that set them."""
    net = settled(Small()).train()
    classifier = wrap(net, input_size=16)
    wanted = [capture(classifier, picture(seed=i), i % 5).gradients["relu1"] for i in range(6)]
    before = state(net)
    wrong: list[int] = []

    def work(i: int) -> None:
        for _ in range(10):
            found = capture(classifier, picture(seed=i), i % 5).gradients["relu1"]
            if not torch.equal(found, wanted[i]):
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert state(net) == before


# ------------------------------------------------------------------------------------------------- a real network


@pytest.fixture(scope="module")
def lite0() -> camwidgets.Classifier:
    return camwidgets.load("efficientnet_lite0")


def test_a_real_network_against_plain_autograd(lite0: camwidgets.Classifier) -> None:
    """Lite0 (ReLU6 in place, skips) with hooks that add a zero: ∂y/∂zero is ∂y/∂A by an independent way."""
    x = lite0.preprocess(camwidgets.samples.picture("cat"))
    evidence = capture(lite0, x, "tabby")
    zeros: dict[str, Tensor] = {}
    values: dict[str, Tensor] = {}
    handles = []
    for tap in lite0.stages.values():
        assert tap.call == 0

        def hook(m: Any, i: Any, out: Tensor, tap: str = str(tap)) -> Tensor:
            values[tap], zeros[tap] = out.detach().clone(), torch.zeros_like(out, requires_grad=True)
            return out + zeros[tap]

        handles.append(lite0.module.get_submodule(tap.module).register_forward_hook(hook))
    logits = lite0.module(x)
    for handle in handles:
        handle.remove()
    grads = torch.autograd.grad(logits[0, lite0.index("tabby")], list(zeros.values()))
    for (name, value), g in zip(values.items(), grads, strict=True):
        torch.testing.assert_close(evidence.activations[name], value, rtol=1e-5, atol=1e-5)
        assert float((evidence.gradients[name] - g).abs().max()) <= 1e-5 * float(g.abs().max())
    torch.testing.assert_close(evidence.logits, logits.detach(), rtol=1e-5, atol=1e-5)
