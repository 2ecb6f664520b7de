"""What a reviewer broke in classifiers, explanations and `camwidgets explain`, and must not break again."""

from __future__ import annotations

import copy
import json
import pickle
import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune, spectral_norm, weight_norm
from torchvision import transforms

import camwidgets
from camwidgets import Classifier, batch, explain, wrap
from camwidgets.classifiers.states import read_state


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
        mine = set(map(id, one.module.children()))
        with one.lock:
            assert all(mine.isdisjoint(others) for others in inside)
            inside.append(mine)
            time.sleep(1e-4)
            inside.remove(mine)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(800), timeout=120))
    assert not inside


class Beside(Net):
    """While it runs, a thread of the user's own sends something through its first convolution."""

    def forward(self, x: Tensor) -> Tensor:
        thread = threading.Thread(target=self.c1, args=(x.detach(),))
        thread.start()
        thread.join(60)
        return super().forward(x)


def test_a_pass_of_another_thread_is_not_taken_for_the_one_that_is_watched() -> None:
    torch.manual_seed(0)
    net = Beside()
    plain = Net()
    plain.load_state_dict(net.state_dict())
    assert list(around(net).taps) == list(around(plain).taps)
    np.testing.assert_array_equal(explain(around(net), noise()).map, explain(around(plain), noise()).map)
    assert isinstance(around(net).prepared().module.get_submodule("b1"), nn.Identity)


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


# --------------------------------------------------------------------------------------------- saved explanations


class Named(nn.Module):
    """Its stages are what its modules are called: "map", "file"."""

    def __init__(self) -> None:
        super().__init__()
        self.map, self.file = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, 2, 1)
        self.fc = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(F.relu(self.file(F.relu(self.map(x)))).mean((2, 3)))


def saved(folder: Path) -> camwidgets.Explanation:
    torch.manual_seed(0)
    one = explain(around(Named()), noise(), stages=["map", "file"])
    one.save(folder)
    return one


def test_stages_may_have_any_name(tmp_path: Path) -> None:
    made = saved(tmp_path)
    again = camwidgets.Explanation.load(tmp_path)
    assert list(again.stage_maps) == list(made.stage_maps) == ["map", "file"]
    np.testing.assert_array_equal(again.map, made.map)
    for name, values in made.stage_maps.items():
        np.testing.assert_array_equal(again.stage_maps[name], values)
    assert again.made_by == made.made_by
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "explanation.json", "maps.npz", "overlay.png", "picture.png",
    ]  # fmt: skip


def test_what_earlier_versions_saved_is_read(tmp_path: Path) -> None:
    made = saved(tmp_path)
    about = json.loads((tmp_path / "explanation.json").read_text("utf-8"))
    about.update(format=1, stages=["S1", "0.1"])
    (tmp_path / "explanation.json").write_text(json.dumps(about), "utf-8")
    arrays: dict[str, Any] = {"map": made.map, "S1": made.stage_maps["map"], "0.1": made.stage_maps["file"]}
    np.savez(tmp_path / "maps.npz", **arrays)
    again = camwidgets.Explanation.load(tmp_path)
    np.testing.assert_array_equal(again.stage_maps["0.1"], made.stage_maps["file"])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("maps.npz", b"junk"), ("maps.npz", b""), ("picture.png", b"junk"), ("explanation.json", b"[]"),
        ("explanation.json", b"{"), ("explanation.json", b"\xff\xfe"), ("explanation.json", b'{"format": 2}'),
        ("explanation.json", b'{"format": [2]}'),
    ],
)  # fmt: skip
def test_a_damaged_folder_is_told_in_one_sentence(tmp_path: Path, name: str, content: bytes) -> None:
    saved(tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(name)):
        camwidgets.Explanation.load(tmp_path)


def test_missing_keys_and_maps_are_told(tmp_path: Path) -> None:
    made = saved(tmp_path)
    whole = json.loads((tmp_path / "explanation.json").read_text("utf-8"))
    for key in whole:
        (tmp_path / "explanation.json").write_text(json.dumps({k: v for k, v in whole.items() if k != key}), "utf-8")
        with pytest.raises(ValueError, match=key):
            camwidgets.Explanation.load(tmp_path)
    (tmp_path / "explanation.json").write_text(json.dumps(whole), "utf-8")
    np.savez(tmp_path / "maps.npz", map=made.map)
    with pytest.raises(ValueError, match=r"maps\.npz.*stage_0"):
        camwidgets.Explanation.load(tmp_path)
    np.savez(tmp_path / "maps.npz", map=made.map[:4], stage_0=made.map, stage_1=made.map)
    with pytest.raises(ValueError, match="size"):
        camwidgets.Explanation.load(tmp_path)


def test_a_save_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    made = saved(tmp_path)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(TypeError):
        replace(made, made_by={"what": object()}).save(tmp_path)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


# ----------------------------------------------------------------------------------------- `camwidgets explain`


def test_no_picture_leads_out_of_the_folder() -> None:
    names = ["...png", "....png", ". .png", ".hidden.png", "a..png", "x.y.png"]
    found = batch.folders([Path(name) for name in names], "out")
    assert [folder.name for folder in found] == ["picture", "picture-2", "picture-3", "hidden", "a", "x.y"]
    assert all(folder.parent == Path("out") for folder in found)


def test_a_second_run_with_another_method_replaces_the_page(tmp_path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    torch.manual_seed(0)
    classifier = around(Net())
    out = tmp_path / "out"
    for settings, page in (
        (batch.Settings(classifier), "explorer.html"),
        (batch.Settings(classifier, "rise", parameters={"masks": 8}), "overlay.html"),
        (batch.Settings(classifier), "explorer.html"),
    ):
        batch.write_explanation(tmp_path / "a.png", out, settings)
        assert [file.name for file in out.glob("*.html")] == [page]


def test_a_missing_picture_is_told(tmp_path: Path) -> None:
    saved(tmp_path)
    (tmp_path / "picture.png").unlink()
    with pytest.raises(ValueError, match=r"picture\.png"):
        camwidgets.Explanation.load(tmp_path)


def test_a_map_of_very_few_pixels_is_saved_and_read(tmp_path: Path) -> None:
    made = explain(wrap(Named(), input_size=6), noise(side=6))
    assert camwidgets.Explanation.load(made.save(tmp_path)).map.shape == (6, 6)


# --------------------------------------------------------------------------------------- one sentence, not a raw error


def test_pictures_that_come_out_at_two_sizes_are_refused() -> None:
    classifier = wrap(Net(), transforms.ToTensor(), input_size=32)
    pictures = [Image.new("RGB", size, "grey") for size in ((32, 32), (40, 32))]
    with pytest.raises(ValueError, match=r"at one size; these came out at 32×32, 32×40"):
        explain(classifier, pictures)


@pytest.mark.parametrize("options", [{}, {"batch": 1}, {"method": "rise", "masks": 8}])
def test_one_target_a_picture_goes_with_its_picture(options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    classifier, x = around(Net()), noise(3)
    found = explain(classifier, x, target=torch.tensor([1, 2, 4]), **options)
    assert [one.target for one in found] == [1, 2, 4]
    alone = explain(classifier, x[2:], target=4, **options)
    np.testing.assert_allclose(found[2].map, alone.map, atol=1e-5)
    with pytest.raises(ValueError, match="2 targets were given for 3 pictures"):
        explain(classifier, x, target=torch.tensor([1, 2]), **options)


@pytest.mark.parametrize("size", [224.0, "224", (32, 32, 3), (32, 0), True, [32.0, 32]])
def test_an_input_size_that_is_none_is_refused(size: Any) -> None:
    with pytest.raises(ValueError, match=r"input_size must be a whole number of pixels, or two, \(h, w\); got"):
        wrap(Net(), input_size=size)


def test_networks_of_one_channel_are_told_what_is_served() -> None:
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    grey = transforms.Compose([transforms.Grayscale(), transforms.Resize((28, 28)), transforms.ToTensor()])
    with pytest.raises(ValueError, match=r"RGB pictures are served; it returned shape \(1, 28, 28\)"):
        wrap(net, grey)
    with pytest.raises(ValueError, match=r"takes pictures of 1 channels; networks that take 3×h×w \(RGB\) are served"):
        explain(wrap(net, input_size=28), noise(side=28))


@pytest.mark.parametrize("content", [b"<html><body>404</body></html>", b"not found\n", b"\x89PNG\r\n\x1a\n"])
@pytest.mark.parametrize("name", ["a.pth", "a.safetensors"])
def test_a_file_that_is_no_weights_is_not_said_to_hold_code(tmp_path: Path, content: bytes, name: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=name) as told:
        read_state(tmp_path / name)
    assert "run code" not in str(told.value)


def test_weights_are_read_whatever_the_suffix_and_the_wrapper(tmp_path: Path) -> None:
    state = Net().state_dict()
    save_file(state, tmp_path / "A.SAFETENSORS")
    assert read_state(tmp_path / "A.SAFETENSORS").keys() == state.keys()
    for before in ("_orig_mod.", "module.", "module._orig_mod.", "_orig_mod.module."):
        torch.save({before + name: value for name, value in state.items()}, tmp_path / "a.pth")
        assert read_state(tmp_path / "a.pth").keys() == state.keys()


def test_rise_of_a_negative_score_says_why_it_is_flat() -> None:
    torch.manual_seed(0)
    flat = explain(around(Net()), noise(), "rise", target=lambda y: y[0] - 100, masks=8)
    assert flat.map.max() == 0
    assert flat.reason is not None
    assert "keeps what is above 0" in flat.reason
    assert explain(around(Net()), noise(), "rise", target=lambda y: y.softmax(0)[0], masks=8).reason is None
