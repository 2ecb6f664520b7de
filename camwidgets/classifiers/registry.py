"""Where classifiers come from: the embedded network, the toy nets, torchvision's zoo, or anybody's module."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from http.client import HTTPException
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from urllib.error import URLError

import torch
from PIL import Image
from torch import Tensor, nn

from ..errors import unknown
from .checks import size_of
from .classifier import Classifier
from .preprocessing import CustomPreprocessing, Fit, Preprocess, Preprocessing
from .states import adapt, read_state

Labels = Sequence[str] | Mapping[Any, str]
HEADS = ("fc", "classifier", "head", "heads")
PATIENCE = 20.0  # seconds without an answer after which a download is given up
EMBEDDED = "efficientnet_lite0"
TOYS = ("toy", "toy-shortcut", "defects", "toy-vit")


def available() -> list[str]:
    """Every name that `load` knows: the embedded network first, then the toy nets, then torchvision's classifiers."""
    import torchvision

    return [*BUILT_IN, *torchvision.models.list_models(module=torchvision.models)]


def load(
    name: str,
    weights: str | Path | None = "DEFAULT",
    *,
    labels: Labels | None = None,
    fit: Fit = "crop",
    progress: bool = True,
) -> Classifier:
    """Return a classifier by name.

    Args:
        name: "efficientnet_lite0" (embedded, no network needed), a toy net ("toy", "toy-shortcut", "defects",
            "toy-vit"), or any torchvision classifier ("resnet50" …; see `available()`).
        weights: "DEFAULT" (torchvision's best: downloaded now, unless a copy is in the cache), None (random), or the
            path of a state dict (.safetensors, or .pth read with `weights_only=True`).
        labels: class labels, if not those of ImageNet.
        fit: "crop" (resize and centre crop, as trained) or "squash" (the whole picture, distorted).
        progress: show the download's progress.
    Raises:
        ValueError: unknown name, weights of another architecture, a file with code in it.
        ConnectionError: the weights cannot be downloaded.

    Example:
        >>> load("efficientnet_lite0").stages["S5"]
        'head'
    """
    if isinstance(name, nn.Module):
        raise TypeError(f"load takes a network's name; a {type(name).__name__} is wrapped: camwidgets.wrap(module, …)")
    name = str(name)
    if fit not in ("crop", "squash"):
        raise unknown("fit", fit, ("crop", "squash"))
    if name in BUILT_IN:
        return BUILT_IN[name](weights, labels, fit)
    return _load_torchvision(name, weights, labels, fit, progress)


def wrap(
    module: nn.Module,
    transform: Callable[[Image.Image], Tensor] | Preprocess | None = None,
    labels: Labels | None = None,
    *,
    name: str = "",
    input_size: int | tuple[int, int] | None = None,
    output: Callable[[Any], Tensor] | None = None,
) -> Classifier:
    """Return a classifier around anybody's module (timm's too). The module is used as it is, never changed.

    Args:
        module: takes N×3×h×w, returns N×C logits. transform: RGB picture → 3×h×w tensor (torchvision transforms, a
            timm transform, a `Preprocessing`, any callable); None = resize, centre crop, ImageNet normalisation.
        labels: one per class, or a mapping index → label; None = "class 0" …
        input_size: h = w or (h, w); None = found by trying the transform.
        output: picks the logits out of what the module returns, if that is a tuple, a dict or an object.

    Example:
        >>> import torchvision
        >>> wrap(torchvision.models.resnet18(), name="mine").stages["S5"]
        'layer4'
    """
    if not isinstance(module, nn.Module):
        raise TypeError(f"wrap takes a torch.nn.Module; got {type(module).__name__}")
    if isinstance(module, torch.jit.ScriptModule):
        raise TypeError("wrap takes a Python module; this one is TorchScript, whose inner values cannot be tapped")
    size = size_of(input_size)
    preprocessing: Preprocess
    if transform is None:
        size = size or (224, 224)
        preprocessing = Preprocessing(size, round(max(size) / 0.875))
    elif hasattr(transform, "show"):
        preprocessing = transform  # type: ignore[assignment]
    else:
        preprocessing = CustomPreprocessing(transform)
    if size is None:
        tried = preprocessing(Image.new("RGB", (320, 320), "grey"))
        size = (int(tried.shape[-2]), int(tried.shape[-1]))
    return Classifier(module, preprocessing, labels, name=name, input_size=size, output=output)


def imagenet_labels() -> list[str]:
    """The 1000 ImageNet class labels, in the order of the logits (torchvision's spelling)."""
    from torchvision.models import ResNet50_Weights

    return list(ResNet50_Weights.DEFAULT.meta["categories"])


def _load_embedded(weights: Any, labels: Labels | None, fit: Fit) -> Classifier:
    from .lite0 import EfficientNetLite0, load_lite0

    module = load_lite0() if weights == "DEFAULT" else EfficientNetLite0().eval()
    if weights not in ("DEFAULT", None):
        module.load_state_dict(adapt(read_state(weights), module, EMBEDDED))
    moments = (127 / 255,) * 3, (128 / 255,) * 3  # (x − 127) / 128, as the weights were trained
    preprocessing = Preprocessing((224, 224), 256, fit, *moments, interpolation="bicubic")
    return Classifier(module, preprocessing, labels or imagenet_labels(), name=EMBEDDED)


def _load_toy(name: str, weights: Any, labels: Labels | None, fit: Fit) -> Classifier:
    from .toynet import build, toy_model

    module, own, size, mean, std = toy_model(name)
    if weights is None:
        module = build(name)
    elif weights != "DEFAULT":
        module.load_state_dict(adapt(read_state(weights), module, name))
    preprocessing = Preprocessing(size, size[0], fit, mean, std)
    return Classifier(module.eval(), preprocessing, labels or own, name=name, input_size=size)


# Name → what makes it of (weights, labels, fit), without a download: for `load`, `available` and the widgets' menus.
BUILT_IN: dict[str, Callable[[Any, Labels | None, Fit], Classifier]] = {
    EMBEDDED: _load_embedded,
    **{name: partial(_load_toy, name) for name in TOYS},
}


def _load_torchvision(name: str, weights: Any, labels: Labels | None, fit: Fit, progress: bool) -> Classifier:
    import torchvision

    if name not in torchvision.models.list_models(module=torchvision.models):
        raise unknown("network", name, available())
    published = torchvision.models.get_model_weights(name).DEFAULT
    state = None
    if weights == "DEFAULT":
        state = _download(published, name, progress)
    elif weights is not None:
        state = read_state(weights)
    module = _build(name, state)
    if state is not None:
        module.load_state_dict(adapt(state, module, name))
    preset = Preprocessing.from_torchvision(published.transforms())
    preprocessing = Preprocessing(preset.size, preset.resize, fit, preset.mean, preset.std, preset.interpolation)
    own = list(published.meta["categories"]) if _classes(state) in (None, 1000) else None
    return Classifier(module.eval(), preprocessing, labels or own, name=name, input_size=preset.size)


def _build(name: str, state: dict[str, Tensor] | None) -> nn.Module:
    """The architecture, with the auxiliary heads and the number of classes that `state` has."""
    import torchvision

    options: dict[str, Any] = {}
    if name in ("googlenet", "inception_v3"):
        options = {"init_weights": state is None, "aux_logits": state is None or any("aux" in k.lower() for k in state)}
        if name == "googlenet" or state is not None:
            options["transform_input"] = state is not None
    classes = _classes(state)
    if classes is not None:
        options["num_classes"] = classes
    module: nn.Module = torchvision.models.get_model(name, weights=None, **options)
    return module


def _classes(state: dict[str, Tensor] | None) -> int | None:
    """The number of classes of a state dict: the rows of the last weight matrix of its head, in any order of keys.

    torchvision's heads are called fc, classifier, head or heads; SqueezeNet's is a 1×1 convolution.
    """
    rows = {
        tuple(key.zfill(4) for key in name.split(".")): int(tensor.shape[0])
        for name, tensor in (state or {}).items()
        if name.split(".")[0] in HEADS and name.endswith("weight") and tensor.ndim in (2, 4)
    }
    return rows[max(rows)] if rows else None


def _download(published: Any, name: str, progress: bool) -> dict[str, Tensor]:
    size = published.meta.get("_file_size", 0)
    others = f"Use weights=None (random), weights=PATH (a file that you have), or load('{EMBEDDED}'), which needs none"
    timeout = socket.getdefaulttimeout()
    try:
        socket.setdefaulttimeout(PATIENCE)  # torch.hub itself would wait for a silent network for ever
        return dict(
            torch.hub.load_state_dict_from_url(
                published.url, map_location="cpu", progress=progress, check_hash=True, weights_only=True
            )
        )
    except (URLError, HTTPException, OSError) as error:
        raise ConnectionError(
            f"the weights of {name} ({size:.0f} MB) could not be downloaded from {published.url}: {error}. {others}"
        ) from error
    except (RuntimeError, UnpicklingError, EOFError) as error:
        kept = Path(torch.hub.get_dir(), "checkpoints", published.url.rsplit("/", 1)[-1])
        what = f"delete {str(kept)!r} and load again" if kept.is_file() else "load again"
        raise ConnectionError(f"the weights of {name} arrived damaged: {what}. {others}") from error
    finally:
        socket.setdefaulttimeout(timeout)
