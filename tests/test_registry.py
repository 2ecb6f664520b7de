"""Getting classifiers: by name, around one's own module, with weights from files; and everything that is refused."""

from __future__ import annotations

import os
import pickle
import socket
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

import camwidgets
from camwidgets import available, load, wrap
from camwidgets.classifiers.preprocessing import Preprocessing
from tests.nets import Small, picture, settled, small, state


class Answers(nn.Module):
    """Small, which answers in whatever form `pack` makes of the logits."""

    def __init__(self, pack: Any) -> None:
        super().__init__()
        self.net, self.pack = settled(Small()), pack

    def forward(self, x: Tensor) -> Any:
        return self.pack(self.net(x))


# ------------------------------------------------------------------------------------------------------------ load


def test_available() -> None:
    names = available()
    assert names[0] == "efficientnet_lite0"
    assert {"resnet50", "vgg16", "convnext_tiny", "toy", "defects"} <= set(names)
    assert len(names) == len(set(names)) > 70


def test_random_weights() -> None:
    classifier = load("shufflenet_v2_x0_5", weights=None)
    assert not classifier.module.training
    assert len(classifier.labels) == 1000
    assert classifier.labels[281] == "tabby"
    assert classifier.input_size == (224, 224)
    assert isinstance(classifier.preprocessing, Preprocessing)
    assert classifier.preprocessing.resize == 256


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors"])
@pytest.mark.parametrize("inside", ["plain", "state_dict", "DataParallel"])
def test_weights_from_a_file(tmp_path: Path, suffix: str, inside: str) -> None:
    torch.manual_seed(1)
    module = torchvision.models.squeezenet1_1(num_classes=7)
    weights: Any = {key: value.contiguous() for key, value in module.state_dict().items()}
    if inside == "DataParallel":
        weights = {f"module.{key}": value for key, value in weights.items()}
    path = tmp_path / f"weights{suffix}"
    if suffix == ".safetensors":
        save_file(weights, path)
    else:
        torch.save({"state_dict": weights, "epoch": 3} if inside == "state_dict" else weights, path)
    classifier = load("squeezenet1_1", weights=str(path) if suffix == ".pt" else path)
    x = picture(side=64)
    with torch.no_grad():
        assert torch.equal(classifier.module(x), module.eval()(x))
    assert classifier.labels == [f"class {i}" for i in range(7)]
    assert load("squeezenet1_1", weights=path, labels=list("abcdefg")).labels == list("abcdefg")


@pytest.mark.parametrize("aux", [True, False])
def test_googlenet_with_and_without_its_auxiliary_heads(tmp_path: Path, aux: bool) -> None:
    with torch.device("meta"):
        module = torchvision.models.googlenet(num_classes=4, aux_logits=aux, init_weights=False)
    module = settled(module.to_empty(device="cpu"))
    torch.save(module.state_dict(), tmp_path / "g.pth")
    classifier = load("googlenet", weights=tmp_path / "g.pth")
    assert classifier.logits(picture(side=64)).shape == (1, 4)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("resnet_18", "did you mean 'resnet18'"),
        ("Resnet50", "did you mean 'resnet50'"),
        ("yolo", "valid: efficientnet_"),
    ],
)
def test_unknown_network(name: str, said: str) -> None:
    with pytest.raises(ValueError, match=f"unknown network '{name}'.*{said}"):
        load(name)


def test_unknown_fit() -> None:
    with pytest.raises(ValueError, match="unknown fit 'stretch'; valid: crop, squash"):
        load("efficientnet_lite0", fit="stretch")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["resnet18", "efficientnet_lite0", "toy"])
def test_weights_of_another_architecture(tmp_path: Path, name: str) -> None:
    torch.save(torchvision.models.squeezenet1_1().state_dict(), tmp_path / "other.pth")
    with pytest.raises(ValueError, match=rf"these weights are not of {name}: of its \d+ tensors \d+ missing .first: "):
        load(name, weights=tmp_path / "other.pth")


def test_weights_of_a_relative_say_where_they_differ(tmp_path: Path) -> None:
    torch.save(torchvision.models.resnet18(num_classes=5).state_dict(), tmp_path / "r18.pth")
    said = r"not of resnet34: of its 218 tensors 96 missing \(first: layer1\.2\.conv1\.weight\)$"
    with pytest.raises(ValueError, match=said):
        load("resnet34", weights=tmp_path / "r18.pth")


class Bomb:
    """An object whose unpickling runs a command."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("protocol", ["torch", "pickle"])
@pytest.mark.parametrize("name", ["resnet18", "efficientnet_lite0"])
def test_a_pickle_with_code_in_it_is_not_run(tmp_path: Path, protocol: str, name: str) -> None:
    sign = tmp_path / "it-ran"
    path = tmp_path / "weights.pth"
    content = {"conv1.weight": torch.zeros(3), "extra": Bomb(sign)}
    if protocol == "torch":
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(content))
    with pytest.raises(
        ValueError, match=r"'weights.pth' (holds Python objects beside tensors|is not a readable state)"
    ):
        load(name, weights=path)
    assert not sign.exists(), "the code in the file was run"
    if protocol == "torch":  # the same file does run its code where it is read without care: the trap is a real one
        torch.load(path, weights_only=False)
        assert sign.exists()


def _whole_module(path: Path) -> None:
    torch.save(torchvision.models.squeezenet1_1(), path)


def _torchscript(path: Path) -> None:
    torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2)).save(str(path))


def _cut(path: Path) -> None:
    torch.save({"a": torch.zeros(999)}, path)
    path.write_bytes(path.read_bytes()[:700])


FILES: dict[str, tuple[Any, str]] = {
    "a module": (_whole_module, "holds Python objects beside tensors, which could run code when read"),
    "TorchScript": (_torchscript, "is not a readable state dict"),
    "text": (lambda p: p.write_text("hello"), "is not a readable state dict"),
    "empty": (lambda p: p.touch(), "is not a readable state dict"),
    "list": (lambda p: torch.save([torch.zeros(2)], p), "is not a state dict: it does not hold named tensors alone"),
    "empty dict": (lambda p: torch.save({}, p), "is not a state dict"),
    "numbers": (lambda p: torch.save({"a": torch.zeros(2), "b": 3}, p), "is not a state dict"),
    "odd": (
        lambda p: torch.save({"fc.bias": torch.zeros(()), "fc.weight": torch.zeros(0, 3)}, p),
        "are not of resnet18",
    ),
    "cut": (_cut, "is not a readable"),
}


@pytest.mark.parametrize("what", FILES)
def test_files_that_are_no_state_dict(tmp_path: Path, what: str) -> None:
    write, said = FILES[what]
    path = tmp_path / "weights.pth"
    write(path)
    with pytest.raises(ValueError, match=said) as caught:
        load("resnet18", weights=path)
    assert "\n" not in str(caught.value)
    assert "weights_only` set to `False" not in str(caught.value), "advice to run the code in a file is no help"


def test_weights_that_are_not_there(tmp_path: Path) -> None:
    for weights in (tmp_path / "absent.pth", tmp_path, "IMAGENET1K_V1"):
        with pytest.raises(FileNotFoundError, match="no weights at"):
            load("resnet18", weights=weights)
    with pytest.raises(TypeError, match="weights must be 'DEFAULT', None or the path of a state dict; got int"):
        load("resnet18", weights=3)  # type: ignore[arg-type]
    (tmp_path / "bad.safetensors").write_bytes(b"abc")
    with pytest.raises(ValueError, match=r"'bad.safetensors' is not a readable state dict"):
        load("resnet18", weights=tmp_path / "bad.safetensors")


# -------------------------------------------------------------------------------------------------------- download


@pytest.mark.parametrize(
    "error", [URLError("no route"), TimeoutError("timed out"), ConnectionResetError("reset"), OSError("disk full")]
)
def test_no_network_for_a_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise error

    monkeypatch.setattr(torch.hub, "urlopen", refuse)
    timeout = socket.getdefaulttimeout()
    with pytest.raises(ConnectionError) as caught:
        load("resnet18", progress=False)
    said = str(caught.value)
    assert said.startswith("the weights of resnet18 (45 MB) could not be downloaded from https://")
    assert str(error) in said
    assert "weights=None (random), weights=PATH (a file that you have), or load('efficientnet_lite0')" in said
    assert socket.getdefaulttimeout() == timeout
    assert not list(tmp_path.rglob("*.pth*")), "half a download was left behind"


def test_an_unreachable_host_is_told_within_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real request to a name that can never exist (RFC 2606)."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    weights = torchvision.models.get_model_weights("resnet18").DEFAULT
    fake = SimpleNamespace(url="https://weights.invalid/resnet18-f37072fd.pth", meta=weights.meta, transforms=None)
    monkeypatch.setattr(torchvision.models, "get_model_weights", lambda name: SimpleNamespace(DEFAULT=fake))
    started = time.perf_counter()
    with pytest.raises(ConnectionError, match=r"could not be downloaded from https://weights\.invalid/"):
        load("resnet18", progress=False)
    assert time.perf_counter() - started < 15


def test_a_silent_network_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that takes the connection and never answers."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("camwidgets.classifiers.registry.PATIENCE", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/resnet18-f37072fd.pth"
        fake = SimpleNamespace(url=url, meta={}, transforms=None)
        monkeypatch.setattr(torchvision.models, "get_model_weights", lambda name: SimpleNamespace(DEFAULT=fake))
        started = time.perf_counter()
        with pytest.raises(ConnectionError, match="could not be downloaded"):
            load("resnet18", progress=False)
    assert time.perf_counter() - started < 10


def test_a_damaged_copy_in_the_cache_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    kept = tmp_path / "hub" / "checkpoints" / "resnet18-f37072fd.pth"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"PK\x03\x04 half a file")
    with pytest.raises(ConnectionError, match=r"arrived damaged: delete '.*resnet18-f37072fd.pth' and load again"):
        load("resnet18", progress=False)


# ------------------------------------------------------------------------------------------------------------ wrap


def test_wrap_takes_the_module_as_it_is() -> None:
    module = settled(Small())
    before = state(module)
    classifier = wrap(module, input_size=16)
    assert classifier.module is module
    assert classifier.stages
    assert state(module) == before
    assert module.training


def test_wrap_refuses_what_is_no_module() -> None:
    with pytest.raises(TypeError, match=r"wrap takes a torch.nn.Module; got function"):
        wrap(lambda x: x)  # type: ignore[arg-type]


def test_wrap_refuses_torchscript() -> None:
    with pytest.raises(TypeError, match="wrap takes a Python module; this one is TorchScript"):
        wrap(torch.jit.trace(settled(Small()).eval(), picture()))


def _weight_norm(net: nn.Module) -> nn.Module:
    nn.utils.parametrizations.weight_norm(net.get_submodule("conv2"))
    return net


@pytest.mark.parametrize(
    "dress",
    [
        nn.DataParallel,
        torch.fx.symbolic_trace,
        lambda net: net.to(memory_format=torch.channels_last),
        _weight_norm,
        lambda net: torch.compile(net, backend="eager"),
    ],
    ids=["DataParallel", "fx", "channels last", "weight norm", "torch.compile"],
)
def test_modules_in_other_dress(dress: Any) -> None:
    """The same network, packed or written otherwise, is explained alike and left alike."""
    plain = camwidgets.explain(small(), picture(), target=1)
    net = dress(settled(Small()).eval())
    before = state(net)
    found = camwidgets.explain(wrap(net, input_size=16), picture(), target=1)
    assert np.abs(found.map - plain.map).max() < 1e-5
    assert state(net) == before


def test_names_sizes_labels() -> None:
    classifier = wrap(settled(Small()), input_size=(16, 24), name="mine", labels=["a", "b", "c", "d", "e"])
    assert (classifier.name, classifier.input_size) == ("mine", (16, 24))
    assert classifier.preprocess(Image.new("RGB", (100, 50))).shape == (1, 3, 16, 24)
    assert wrap(settled(Small())).name == "Small"
    assert small().labels == [f"class {i}" for i in range(5)]
    wrong = small(labels=["a", "b"])
    with pytest.raises(ValueError, match="2 labels were given for a network with 5 classes"):
        camwidgets.explain(wrong, picture())


def test_transforms_of_torchvision_and_timm() -> None:
    transforms = torchvision.transforms
    steps = [transforms.Resize(20), transforms.CenterCrop(16), transforms.ToTensor()]
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.3, 0.25)
    transform = transforms.Compose([*steps, transforms.Normalize(mean, std)])
    classifier = wrap(settled(Small()), transform)
    assert classifier.input_size == (16, 16)
    image = camwidgets.samples.picture("cat")
    x = classifier.preprocess(image)
    assert torch.equal(x[0], transform(image))
    seen = np.asarray(transforms.Compose(steps[:2])(image))
    assert np.abs(classifier.pictures(x)[0].astype(int) - seen).max() <= 1, "what is shown is what the network saw"

    timm = pytest.importorskip("timm")
    net = settled(timm.create_model("resnet18", pretrained=False, num_classes=3))
    own = timm.data.create_transform(**timm.data.resolve_model_data_config(net), is_training=False)
    classifier = wrap(net.eval(), own)
    assert classifier.input_size == (224, 224)
    seen = own.transforms[1](own.transforms[0](image))
    assert np.abs(classifier.pictures(classifier.preprocess(image))[0].astype(int) - np.asarray(seen)).max() <= 1


def test_a_transform_of_unknown_range_is_stretched_to_be_seen() -> None:
    classifier = wrap(settled(Small()), lambda image: torch.randn(3, 16, 16) * 50)
    seen = classifier.pictures(classifier.preprocess(Image.new("RGB", (20, 20))))[0]
    assert (seen.min(), seen.max()) == (0, 255)


@pytest.mark.parametrize(
    ("transform", "said"), [(np.asarray, "it returned ndarray"), (lambda i: torch.zeros(16, 16), r"16, 16")]
)
def test_a_transform_that_gives_no_picture(transform: Any, said: str) -> None:
    with pytest.raises(ValueError, match=f"the transform must return a 3×h×w tensor; .*{said}"):
        wrap(Small(), transform, input_size=16).preprocess(Image.new("RGB", (20, 20)))


# --------------------------------------------------------------------------------------------------- what it answers


@pytest.mark.parametrize(
    ("pack", "said", "output"),
    [
        (lambda y: (y, y), "returns a tuple, not a tensor of logits", lambda out: out[0]),
        (
            lambda y: {"logits": y, "aux": y},
            r"returns a dict with keys \['logits', 'aux'\], not a",
            lambda out: out["logits"],
        ),
        (lambda y: SimpleNamespace(logits=y), "returns a SimpleNamespace, not a tensor", lambda out: out.logits),
        (lambda y: None, "returns a NoneType", None),
    ],
)
def test_answers_that_are_no_tensor(pack: Any, said: str, output: Any) -> None:
    module = Answers(pack)
    before = state(module)
    for use in (camwidgets.explain, lambda c, x: c.predict(x), lambda c, x: c.labels, lambda c, x: repr(c)):
        with pytest.raises(TypeError, match=said) as caught:
            use(wrap(module, input_size=16), picture())
        assert "wrap(module, output=lambda out: …)" in str(caught.value)
    assert state(module) == before
    if output:
        classifier = wrap(module, input_size=16, output=output)
        assert camwidgets.explain(classifier, picture(), target=1).map.shape == (16, 16)


def test_logits_of_another_shape() -> None:
    with pytest.raises(ValueError, match=r"returns logits of shape \(1, 5, 1, 1\); N×classes is needed"):
        camwidgets.explain(wrap(Answers(lambda y: y[..., None, None]), input_size=16), picture())


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_logits_that_are_not_finite(value: float) -> None:
    module = Answers(lambda y: y * value)
    before = state(module)
    for use in (camwidgets.explain, camwidgets.capture, lambda c, x: c.predict(x)):
        with pytest.raises(ValueError, match="Answers returned NaN or infinite logits for this picture"):
            use(wrap(module, input_size=16), picture())
    assert state(module) == before


def test_predict() -> None:
    classifier = small(labels=list("abcde"))
    best = classifier.predict(picture(), k=3)
    with torch.no_grad():
        logits = classifier.module(picture())[0]
    order = logits.argsort(descending=True)[:3].tolist()
    assert [p.index for p in best] == order
    assert [p.logit for p in best] == pytest.approx(logits[order].tolist())
    assert [p.probability for p in best] == pytest.approx(logits.softmax(0)[order].tolist())
    assert len(classifier.predict(picture(), k=99)) == 5
    with pytest.raises(ValueError, match="predict takes one picture; got a batch of 2"):
        classifier.predict(picture(2))


@pytest.mark.parametrize(
    ("x", "said"),
    [
        (torch.zeros(16, 16), r"must be 1×3×H×W .*got \(1?,? ?16, 16\)"),
        (torch.zeros(1, 1, 16, 16), r"got \(1, 1, 16, 16\)"),
        (torch.zeros(0, 3, 16, 16), r"got \(0, 3, 16, 16\)"),
        (torch.zeros(1, 3, 16, 16, dtype=torch.uint8), r"floating point; got .*torch.uint8"),
        (torch.full((1, 3, 16, 16), float("nan")), "contains NaN or infinity"),
        (torch.full((1, 3, 16, 16), float("inf")), "contains NaN or infinity"),
    ],
)
def test_tensors_that_are_no_preprocessed_picture(x: Tensor, said: str) -> None:
    classifier = small()
    before = state(classifier.module)
    with pytest.raises(ValueError, match=said):
        camwidgets.explain(classifier, x)
    assert state(classifier.module) == before


def test_labels_with_markup_stay_text() -> None:
    """A label is text. It is not changed, and nothing here turns it into HTML."""
    evil = "<script>alert(1)</script>"
    classifier = small(labels=[evil, "b", "c", "d", "e"])
    found = camwidgets.explain(classifier, picture(), target=evil)
    assert (found.target, found.label) == (0, evil)
    assert any(p.label == evil for p in classifier.predict(picture()))
    for thing in (classifier, found, classifier.predict(picture())[0]):
        assert not hasattr(thing, "_repr_html_")


def test_ambiguous_labels() -> None:
    classifier = small(labels=["crane", "cat", "Crane", "dog", "elk"])
    for use in (camwidgets.explain, camwidgets.capture):
        with pytest.raises(ValueError, match=r"label 'crane' names the classes \[0, 2\]; give one of these indices"):
            use(classifier, picture(), target="crane")
    assert camwidgets.explain(classifier, picture(), target=2).label == "Crane"


# ----------------------------------------------------------------------------------------------------------- hashes


def test_the_hash_of_the_weights_follows_every_change() -> None:
    classifier = small()
    seen = [classifier.weights_hash()]
    assert seen[0] == small().weights_hash(), "the same weights have the same hash"
    module = classifier.module
    assert isinstance(module, Small)
    with torch.no_grad():
        module.fc.weight[0, 0] += 1e-3
    seen.append(classifier.weights_hash())
    assert module.norm1.running_mean is not None
    module.norm1.running_mean += 1
    seen.append(classifier.weights_hash())
    module.fc.weight = nn.Parameter(module.fc.weight.detach() * 2)
    seen.append(classifier.weights_hash())
    module.load_state_dict({key: value * 2 for key, value in module.state_dict().items()})
    seen.append(classifier.weights_hash())
    module.conv1.weight.data.mul_(2)  # behind autograd's back: no version counter moves
    seen.append(classifier.weights_hash())
    assert len(set(seen)) == len(seen)
    assert classifier.weights_hash() == seen[-1]


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_the_hash_in_other_precisions(dtype: torch.dtype) -> None:
    assert small(dtype=dtype).weights_hash() != small().weights_hash()
