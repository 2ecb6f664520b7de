"""What a newcomer gives first: a module, a name, a class where a method belongs; what the sentence says to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image
from torch import nn
from torch.utils.data import Dataset
from torchvision import transforms

import camwidgets
from camwidgets.classifiers.registry import BUILT_IN, imagenet_labels
from camwidgets.decomposition.fidelity import fidelity
from camwidgets.errors import unknown
from camwidgets.investigate.blame import blame
from camwidgets.investigate.sweep import sweep
from camwidgets.widgets.sources import Networks
from tests.nets import picture, small

DOORS: dict[str, Callable[[Any], Any]] = {
    "explain": lambda net: camwidgets.explain(net, picture(1)),
    "capture": lambda net: camwidgets.capture(net, picture(1)),
    "record": lambda net: camwidgets.record(net, picture(1)),
    "decompose": lambda net: camwidgets.decompose(net, picture(1)),
    "attack": lambda net: camwidgets.attack(net, picture(1)),
    "sweep": lambda net: sweep(net, picture(1), [0.1]),
    "blame": lambda net: blame(net, picture(1), 0, 1),
    "evaluate": lambda net: camwidgets.evaluate(net, "toyworld"),
    "failures": lambda net: camwidgets.failures(net, "toyworld"),
    "fidelity": lambda net: fidelity(net, [picture(1)]),
}


class Plain(nn.Module):
    pass


@pytest.mark.parametrize("name", DOORS)
def test_a_module_or_a_name_is_told_what_to_do_with(name: str) -> None:
    with pytest.raises(TypeError, match=rf"^{name} takes a Classifier; got a Plain: wrap it first, camwidgets\.wrap\("):
        DOORS[name](Plain())
    with pytest.raises(TypeError, match=rf"^{name} takes .* 'toy': load it first, camwidgets\.load\('toy'\)$"):
        DOORS[name]("toy")
    with pytest.raises(TypeError, match=rf"^{name} takes a Classifier; got int; camwidgets\.load and"):
        DOORS[name](3)


@pytest.mark.parametrize("widget", ["CamExplorer", "TreeExplorer", "MethodComparison", "AdversarialExplorer"])
def test_a_widget_says_its_own_name(widget: str) -> None:
    with pytest.raises(TypeError, match=f"^{widget} takes a Classifier; got a Plain: wrap it"):
        getattr(camwidgets, widget)(Plain())


def test_load_does_not_print_a_whole_network() -> None:
    with pytest.raises(TypeError, match=r"^load takes a network's name; a Plain is wrapped: camwidgets\.wrap\("):
        camwidgets.load(Plain())  # type: ignore[arg-type]


def test_a_class_where_the_method_belongs() -> None:
    classifier = small()
    label = classifier.labels[1]
    with pytest.raises(ValueError, match=rf"unknown method .*; {label!r} is a class: give it as target={label!r}$"):
        camwidgets.explain(classifier, picture(1), label)
    with pytest.raises(ValueError, match=r"unknown method 'gradcamm'.*'gradcam'[^;]*$"):
        camwidgets.explain(classifier, picture(1), "gradcamm")


@pytest.mark.parametrize(
    ("given", "near"),
    [("cat", "Egyptian cat"), ("DOG", "Maltese dog"), ("tabbi", "tabby"), ("espreso", "espresso"), ("dgo", "dingo")],
)
def test_of_many_names_those_come_first_that_hold_the_word(given: str, near: str) -> None:
    said = str(unknown("label", given, imagenet_labels()))
    assert repr(near) in said
    assert said.startswith(f"unknown label {given!r} (did you mean ")
    assert said.endswith("; 1000 are valid")
    assert len(said) < 200


def test_of_many_names_none_is_near() -> None:
    said = str(unknown("label", "astronaut", imagenet_labels()))
    assert "did you mean" not in said
    assert said.startswith("unknown label 'astronaut'; 1000 are valid: tench, ")


def test_a_network_is_named_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made = small()
    monkeypatch.setitem(BUILT_IN, "mynet", lambda weights, labels, fit: made)
    assert "mynet" in camwidgets.available()
    assert camwidgets.load("mynet") is made
    networks = Networks([])
    assert "mynet" in networks.names()
    assert networks.ready("mynet")
    assert networks.get("mynet") is made


class Pairs(Dataset[tuple[Any, int]]):
    """Pictures and class indices, through a transform, as most people have them."""

    def __init__(self, transform: Callable[[Image.Image], Any]) -> None:
        world = camwidgets.datasets.toyworld.ToyWorld(seed=4, n=6)
        self.pairs = [(Image.fromarray(scene.image), scene.main) for scene in world]
        self.transform = transform

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        image, label = self.pairs[index]
        return self.transform(image), label


def test_a_data_sets_transform_does_not_replace_the_classifiers_own() -> None:
    """A picture as a tensor in [0, 1] is a picture: `failures` and `evaluate` see the same pixels."""
    toy = camwidgets.load("toy")
    plain = camwidgets.failures(toy, Pairs(lambda image: image))
    tensors = camwidgets.failures(toy, Pairs(transforms.ToTensor()))
    assert [one.confidence for one in tensors.decided] == [one.confidence for one in plain.decided]
    normalising = transforms.Compose([transforms.ToTensor(), transforms.Normalize([0.5] * 3, [0.25] * 3)])
    with pytest.raises(ValueError, match="give the data set no normalising transform"):
        camwidgets.failures(toy, Pairs(normalising))


def test_failures_open_what_evaluate_opens() -> None:
    toy = camwidgets.load("toy")
    assert len(camwidgets.failures(toy, "toyworld", limit=4).decided) == 4
    with pytest.raises(ValueError, match=r"toy does not have 2 of the labels of .*'sound'"):
        camwidgets.failures(toy, "textures")
    with pytest.raises(FileNotFoundError, match="there is no data set at 'nowhere'"):
        camwidgets.failures(toy, "nowhere")
