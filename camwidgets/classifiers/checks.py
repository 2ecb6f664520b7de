"""Small questions about what goes into a classifier and what comes out of it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping
from io import BytesIO
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn


def fingerprint(tensor: Tensor) -> tuple[int, int, Any]:
    """Changes when a tensor is replaced or written to. Writes through `.data` do not count as versions, so that one of
    its values is looked at, too: what changes others alone, by that way, is not noticed (`weights_hash(anew=True)` is
    for those who must know; looking at all values in every call would cost 5 ms with 5 million parameters).
    """
    value = tensor[(0,) * tensor.ndim].item() if tensor.ndim > 1 and tensor.numel() else None
    return tensor.data_ptr(), 0 if tensor.is_inference() else tensor._version, value


def one_each(target: Any) -> bool:
    """Whether a target holds one class index per picture."""
    return isinstance(target, (list, tuple)) or (isinstance(target, (Tensor, np.ndarray)) and np.ndim(target) == 1)


def check_finite(logits: Tensor, name: str) -> None:
    """Raise when a network answers NaN or infinity: nothing that follows would mean anything."""
    if not torch.isfinite(logits).all():
        raise ValueError(
            f"{name} returned NaN or infinite logits for this picture; its weights or its input are broken"
        )


def checked(x: Tensor) -> Tensor:
    x = x[None] if x.ndim == 3 else x
    if x.ndim != 4 or x.shape[1] != 3 or not x.is_floating_point() or x.numel() == 0:
        raise ValueError(
            f"a preprocessed tensor must be 1×3×H×W (or N×3×H×W) floating point; got {tuple(x.shape)}, {x.dtype}"
        )
    # One pass that makes no copy (isfinite() makes three); NaN shows up as both the least and the greatest value.
    if not all(math.isfinite(end) for end in torch.stack(x.detach().aminmax()).tolist()):
        raise ValueError("the preprocessed tensor contains NaN or infinity")
    return x


def joined(tensors: list[Tensor]) -> Tensor:
    """Preprocessed pictures, each N×3×h×w, as one batch; ValueError where their sizes differ."""
    sizes = sorted({(int(x.shape[2]), int(x.shape[3])) for x in tensors})
    if len(sizes) > 1:
        found = ", ".join(f"{height}×{width}" for height, width in sizes[:3])
        raise ValueError(
            f"pictures that are given together must come out of the transform at one size; these came out at {found}: "
            f"add a crop to the transform, or give them one by one"
        )
    return torch.cat(tensors)


def check_channels(module: nn.Module, name: str, error: Exception) -> None:
    """ValueError instead of `error` where the first convolution of a module does not take the three channels of RGB."""
    first = next((layer for layer in module.modules() if isinstance(layer, nn.Conv2d)), None)
    if first is not None and first.in_channels != 3:
        raise ValueError(
            f"{name} takes pictures of {first.in_channels} channels; networks that take 3×h×w (RGB) are served: put a "
            f"layer before it that makes {first.in_channels} of three, torch.nn.Sequential(layer, module)"
        ) from error


def size_of(given: Any) -> tuple[int, int] | None:
    """An `input_size` as (h, w): from one whole number or two.

    Example:
        >>> size_of(224)
        (224, 224)
    """
    if given is None:
        return None
    pair = list(given) if isinstance(given, (list, tuple)) else [given, given]
    if len(pair) != 2 or not all(isinstance(v, (int, np.integer)) and not isinstance(v, bool) and v > 0 for v in pair):
        raise ValueError(f"input_size must be a whole number of pixels, or two, (h, w); got {given!r}")
    return int(pair[0]), int(pair[1])


def named(labels: Any) -> list[str] | None:
    """Class labels as a list: from any sequence, or from a mapping index → label (Hugging Face's `id2label`).

    Example:
        >>> named({"1": "dog", "0": "cat"})
        ['cat', 'dog']
    """
    if labels is None:
        return None
    if isinstance(labels, (str, bytes)) or not isinstance(labels, Iterable):
        raise TypeError(f"labels are a list of one label per class, or a mapping index → label; got {labels!r}")
    if not isinstance(labels, Mapping):
        return [str(label) for label in labels]
    found = {_index(key): str(label) for key, label in labels.items()}
    if sorted(key for key in found if key is not None) != list(range(len(labels))):
        keys = ", ".join(map(repr, list(labels)[:5]))
        raise ValueError(f"a mapping of labels has the keys 0 … {len(labels) - 1}, each once; got {keys} …")
    return [found[i] for i in range(len(labels))]


def _index(key: Any) -> int | None:
    if isinstance(key, str):
        return int(key) if key.isdecimal() else None
    return int(key) if isinstance(key, (int, np.integer)) and not isinstance(key, bool) else None


def hash_of(state: Mapping[str, Any]) -> str:
    """SHA-256 over a state dict: names, and of each value what `bytes_of` takes of it."""
    digest = hashlib.sha256()
    for name, value in state.items():
        digest.update(name.encode())
        bytes_of(value, digest.update)
    return digest.hexdigest()


def bytes_of(value: Any, take: Callable[[bytes], Any]) -> None:
    """Hand the bytes of an entry of a state dict to `take`: a tensor's shape, type and values; of extra state what is
    plain in it (other objects are their type's name alone: what they print may hold an address)."""
    if isinstance(value, Tensor):
        _bytes_of_tensor(value.detach(), take)
    elif isinstance(value, Mapping):
        for key, one in value.items():
            take(f"{key}:".encode())
            bytes_of(one, take)
    elif isinstance(value, (list, tuple)):
        take(f"{len(value)},".encode())
        for one in value:
            bytes_of(one, take)
    elif isinstance(value, np.ndarray) and value.dtype != object:
        take(f"{value.shape}{value.dtype}".encode() + np.ascontiguousarray(value).tobytes())
    elif isinstance(value, BytesIO):
        take(value.getvalue())
    else:
        plain = value is None or isinstance(value, (str, bytes, bool, int, float, complex, torch.dtype))
        take((repr(value) if plain else type(value).__qualname__).encode())


def _bytes_of_tensor(tensor: Tensor, take: Callable[[bytes], Any]) -> None:
    take(f"{tuple(tensor.shape)}{tensor.dtype}".encode())
    if tensor.is_quantized:
        each = tensor.qscheme() in (torch.per_channel_affine, torch.per_channel_affine_float_qparams)
        scale = (tensor.q_per_channel_scales(), tensor.q_per_channel_zero_points()) if each else ()
        bytes_of(scale or (tensor.q_scale(), tensor.q_zero_point()), take)
        tensor = tensor.int_repr()
    take(cast(Any, tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy()))
