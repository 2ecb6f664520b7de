"""What a reviewer broke in classifiers, explanations and `camwidgets explain`, and must not break again."""

from __future__ import annotations

import copy
import pickle
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune, spectral_norm, weight_norm

import camwidgets
from camwidgets import Classifier, explain, wrap


class Net(nn.Module):
    """Two convolutions with BatchNorm and functional ReLUs, dropout, GAP, one linear layer."""

    def __init__(self, classes: int = 5) -> None:
        super().__init__()
        self.c1, self.b1 = nn.Conv2d(3, 8, 3, padding=1, stride=2), nn.BatchNorm2d(8)
        self.c2, self.b2 = nn.Conv2d(8, 16, 3, padding=1, stride=2), nn.BatchNorm2d(16)
        self.d, self.fc = nn.Dropout(0.5), nn.Linear(16, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.b1(self.c1(x)))
        x = F.relu(self.b2(self.c2(x)))
        return self.fc(self.d(x.mean((2, 3))))


def noise(n: int = 1, side: int = 32) -> Tensor:
    return torch.randn((n, 3, side, side), generator=torch.Generator().manual_seed(3))


def around(module: nn.Module) -> Classifier:
    return wrap(module, input_size=32)


# ------------------------------------------------------------------------------------------------------- threads


def test_two_classifiers_of_one_module_take_turns() -> None:
    torch.manual_seed(0)
    net = Net().train()
    classifiers = [around(net), around(net)]
    x = noise()
    logits, whole = classifiers[0].predict(x)[0].logit, explain(classifiers[0], x).map
    assert classifiers[1].predict(x)[0].logit == logits
    before = {name: value.clone() for name, value in net.state_dict().items()}

    def work(i: int) -> tuple[float, float]:
        one = classifiers[i % 2]
        return one.predict(x)[0].logit, float(np.abs(explain(one, x).map - whole).max())

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(work, range(120)))
    assert {logit for logit, _ in answers} == {logits}
    assert max(apart for _, apart in answers) < 1e-5
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(module.training for module in net.modules())
    assert all(parameter.requires_grad for parameter in net.parameters())


def held_by_another(first: Classifier, second: Classifier) -> bool:
    """Whether a thread that wants `second` has to wait while this one holds `first`."""
    entered = threading.Event()

    def enter() -> None:
        with second.lock:
            entered.set()

    thread = threading.Thread(target=enter)
    with first.lock, first.lock:  # twice: the thread that has it may take it again
        thread.start()
        waited = not entered.wait(0.3 if shares(first, second) else 30)
    thread.join(30)
    assert entered.is_set()
    return waited


def shares(first: Classifier, second: Classifier) -> bool:
    return bool(set(map(id, first.module.parameters())) & set(map(id, second.module.parameters())))


def test_the_lock_is_the_modules_and_of_all_that_is_inside_it() -> None:
    body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    one, two = (around(nn.Sequential(body, nn.Linear(4, classes))) for classes in (2, 3))
    tied = Net()
    tied.c1.weight = nn.Parameter(torch.zeros(8, 3, 3, 3))
    other = Net()
    other.c1.weight = tied.c1.weight
    assert held_by_another(one, two)
    assert held_by_another(one, around(body))
    assert held_by_another(around(tied), around(other))
    assert held_by_another(one, copy.copy(one))
    assert not held_by_another(around(Net()), around(Net()))
    assert not held_by_another(one, copy.deepcopy(one))
    assert not held_by_another(one, pickle.loads(pickle.dumps(one)))


def test_many_threads_on_overlapping_modules_all_come_through() -> None:
    a, b, c = (nn.Linear(2, 2) for _ in range(3))
    chains = [around(nn.Sequential(*pair)) for pair in ((a, b), (b, c), (c, a), (b, a))]
    inside: list[set[int]] = []

    def work(i: int) -> None:
        one = chains[i % 4]
        mine = set(map(id, one.module))
        with one.lock:
            assert all(mine.isdisjoint(others) for others in inside)
            inside.append(mine)
            time.sleep(1e-4)
            inside.remove(mine)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(800), timeout=120))
    assert not inside


# -------------------------------------------------------------------------------------------------------- labels


@pytest.mark.parametrize("keys", [(2, 0, 1, 4, 3), ("2", "0", "1", "4", "3"), tuple(np.array([2, 0, 1, 4, 3]))])
def test_labels_may_be_a_mapping_from_index_to_label(keys: tuple[Any, ...]) -> None:
    classifier = wrap(Net(), labels=dict(zip(keys, "cabed", strict=True)), input_size=32)
    assert classifier.labels == ["a", "b", "c", "d", "e"]
    assert explain(classifier, noise(), target="d").target == 3


@pytest.mark.parametrize("labels", [{1: "a", 2: "b"}, {"a": 0, "b": 1}, {0: "a", "0": "b"}, {0.5: "a"}])
def test_a_mapping_with_other_keys_is_refused(labels: Any) -> None:
    with pytest.raises(ValueError, match=r"keys 0 … \d, each once"):
        wrap(Net(2), labels=labels, input_size=32)


@pytest.mark.parametrize("labels", ["abcde", b"abcde", 5])
def test_labels_that_are_no_list_are_refused(labels: Any) -> None:
    with pytest.raises(TypeError, match="one label per class"):
        wrap(Net(), labels=labels, input_size=32)


# ------------------------------------------------------------------------------------ a network that is rebuilt


def test_a_replaced_head_is_noticed() -> None:
    net = Net()
    classifier = around(net)
    assert len(classifier.labels) == 5
    net.fc = nn.Linear(16, 9)
    assert len(classifier.predict(noise(), k=20)) == len(classifier.labels) == 9
    assert explain(classifier, noise(), target=8).label == "class 8"
    net.fc.weight, net.fc.bias = nn.Parameter(torch.zeros(3, 16)), nn.Parameter(torch.zeros(3))
    assert len(classifier.labels) == 3
    net.c2, net.b2 = nn.Conv2d(8, 12, 3, padding=1, stride=4), nn.BatchNorm2d(12)
    net.fc = nn.Linear(12, 3)
    assert (classifier.stages["S2"].channels, classifier.stages["S2"].size) == (12, (4, 4))


def test_labels_of_the_old_count_are_told() -> None:
    net = Net()
    classifier = wrap(net, labels=list("abcde"), input_size=32)
    assert classifier.labels == list("abcde")
    net.fc = nn.Linear(16, 9)
    with pytest.raises(ValueError, match="5 labels were given for a network with 9 classes; wrap it with 9 labels"):
        explain(classifier, noise(), target="a")
    with pytest.raises(ValueError, match="5 labels were given"):
        classifier.predict(noise())


def test_an_unchanged_network_is_traced_once() -> None:
    net = Net()
    passes: list[int] = []
    net.register_forward_hook(lambda *_: passes.append(1))
    classifier = around(net)
    for _ in range(3):
        assert classifier.stages
        assert classifier.labels
    net.fc.weight.data += 1
    assert copy.copy(classifier).stages == classifier.stages
    assert len(passes) == 1


# ------------------------------------------------------------------- what state dicts hold beside plain tensors


class Extra(Net):
    def __init__(self, state: Any) -> None:
        super().__init__()
        self.state = state

    def get_extra_state(self) -> Any:
        return self.state

    def set_extra_state(self, state: Any) -> None:
        self.state = state


def test_extra_state_counts_in_the_hash() -> None:
    torch.manual_seed(0)
    net = Extra({"a": 1, "b": [torch.zeros(2), None, object()]})
    classifier = around(net)
    first = classifier.weights_hash()
    assert explain(classifier, noise()).map.max() > 0
    assert around(copy.deepcopy(net)).weights_hash() == first
    for state in ({"a": 2, "b": [torch.zeros(2), None, object()]}, {"a": 1, "b": [torch.ones(2), None, object()]}):
        net.state = state
        assert classifier.weights_hash() != first


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_quantised_network_has_no_gradients_and_says_so() -> None:
    torch.manual_seed(0)
    net = torch.ao.quantization.quantize_dynamic(Net(), {nn.Linear}, dtype=torch.qint8)
    classifier = around(net)
    assert len(classifier.predict(noise())) == 5
    assert classifier.weights_hash() != around(
        torch.ao.quantization.quantize_dynamic(Net(), {nn.Linear}, dtype=torch.qint8)
    ).weights_hash()
    assert explain(classifier, noise(), "rise", masks=8).probability is not None
    with pytest.raises(ValueError, match=r"quantised.*no gradients"):
        explain(classifier, noise())


# ------------------------------------------------------------------------------------------------ prepared copies


def logits_of(classifier: Classifier, x: Tensor) -> Tensor:
    return camwidgets.capture(classifier, x, target=0).logits


def trained(net: nn.Module) -> nn.Module:
    """Statistics as after training, in float64, where only a wrong fold could show."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2)
    return net.double()


def pruned(net: Net) -> None:
    prune.l1_unstructured(net.c2, "weight", 0.5)


def pruned_norm(net: Net) -> None:
    prune.l1_unstructured(net.b2, "weight", 0.5)


def old_weight_norm(net: Net) -> None:
    weight_norm(net.c2)


def old_spectral_norm(net: Net) -> None:
    spectral_norm(net.c2)


def new_weight_norm(net: Net) -> None:
    parametrizations.weight_norm(net.c2)


def hooked(net: Net) -> None:
    net.c2.register_forward_hook(lambda module, given, out: out * 2)


def hooked_norm(net: Net) -> None:
    net.b2.register_forward_pre_hook(lambda module, given: (given[0] + 1,))


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize(
    "change", [pruned, pruned_norm, old_weight_norm, old_spectral_norm, new_weight_norm, hooked, hooked_norm]
)
def test_layers_whose_weights_are_made_by_hooks_are_not_folded(change: Callable[[Net], None]) -> None:
    torch.manual_seed(0)
    net = Net()
    change(net)
    classifier = around(trained(net).train())
    x = noise().double()
    before = logits_of(classifier, x)
    prepared = classifier.prepared()
    torch.testing.assert_close(logits_of(prepared, x), before, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(logits_of(classifier, x), before, rtol=0, atol=0)
    assert isinstance(prepared.module.get_submodule("b1"), nn.Identity)  # the other pair is folded
    assert isinstance(prepared.module.get_submodule("b2"), nn.BatchNorm2d)


class Reads(Net):
    """Reads the first convolution's output a second time, beside its BatchNorm."""

    how = "function"

    def forward(self, x: Tensor) -> Tensor:
        y = self.c1(x)
        if self.how == "before":
            y.mul_(1.001)
        z = self.b1(y)
        if self.how == "function":
            z = z + y * 1e-3
        if self.how == "view":
            z = z + y.transpose(1, 2).transpose(1, 2) * 1e-3
        if self.how == "module":
            z = z + 1e-3 * self.d(y)
        x = F.relu(z)
        return self.fc(F.relu(self.b2(self.c2(x))).mean((2, 3)))


@pytest.mark.parametrize("how", ["function", "view", "module", "before"])
def test_a_convolution_that_something_else_reads_is_not_folded(how: str) -> None:
    torch.manual_seed(0)
    net = Reads()
    net.how = how
    classifier = around(trained(net))
    x = noise().double()
    prepared = classifier.prepared()
    torch.testing.assert_close(logits_of(prepared, x), logits_of(classifier, x), rtol=1e-12, atol=1e-12)
    assert isinstance(prepared.module.get_submodule("b1"), nn.BatchNorm2d)
    assert isinstance(prepared.module.get_submodule("b2"), nn.Identity)


def test_a_norm_with_two_names_is_folded_under_both() -> None:
    torch.manual_seed(0)
    net = Net()
    net.alias = net.b1
    prepared = around(trained(net)).prepared()
    x = noise().double()
    torch.testing.assert_close(logits_of(prepared, x), logits_of(around(net), x), rtol=1e-12, atol=1e-12)
    assert prepared.module.get_submodule("alias") is prepared.module.get_submodule("b1")
