"""Reading state dicts without running anything that is in the file."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

WRAPPERS = ("module.", "_orig_mod.")  # before the names of a network that was wrapped when it was saved


def read_state(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a state dict file: .safetensors, or .pth/.pt by `torch.load(weights_only=True)`.

    Raises:
        FileNotFoundError: no such file. ValueError: not a state dict, or a file that carries code.
    """
    if not isinstance(path, (str, Path)):
        raise TypeError(f"weights must be 'DEFAULT', None or the path of a state dict; got {type(path).__name__}")
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"no weights at {str(path)!r}")
    try:
        state = _read(path)
    except pickle.UnpicklingError as error:
        if not _is_pickle(path):
            raise ValueError(
                f"{path.name!r} is no file of weights (.pth or .safetensors): it begins with {_beginning(path)!r}"
            ) from error
        raise ValueError(
            f"{path.name!r} holds Python objects beside tensors, which could run code when read; it was not opened. "
            f"Save a plain state dict: torch.save(model.state_dict(), …), or .safetensors"
        ) from error
    except Exception as error:
        raise ValueError(f"{path.name!r} is not a readable state dict (.pth or .safetensors): {_why(error)}") from error
    for key in ("state_dict", "model", "model_state_dict"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not state or not all(isinstance(v, Tensor) for v in state.values()):
        raise ValueError(f"{path.name!r} is not a state dict: it does not hold named tensors alone")
    return {_plain(str(key)): value for key, value in state.items()}


def _plain(key: str) -> str:
    """Without what DataParallel and torch.compile put before the names, in any order."""
    while key.startswith(WRAPPERS):
        key = key.split(".", 1)[1]
    return key


def _beginning(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(16)


def _is_pickle(path: Path) -> bool:
    """Whether a file begins as a pickle or as the zip file that torch.save packs pickles in."""
    return _beginning(path).startswith((b"PK\x03\x04", b"\x80"))


def _why(error: Exception) -> str:
    """The kind of an error and its first sentence: what PyTorch says after it is advice that is not to be followed."""
    first = str(error).strip().split("\n")[0].split(". ")[0]
    return f"{type(error).__name__} {first}".strip()


def _read(path: Path) -> Any:
    if path.suffix.lower() == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    return torch.load(path, map_location="cpu", weights_only=True)


def adapt(state: dict[str, Tensor], module: nn.Module, name: str) -> dict[str, Tensor]:
    """`state` if its names and shapes are those of `module`, else one sentence that says where they differ."""
    own = module.state_dict()
    missing = [key for key in own if key not in state]
    extra = [key for key in state if key not in own]
    wrong = [key for key in own if key in state and own[key].shape != state[key].shape]
    if not (missing or extra or wrong):
        return state
    parts = [
        f"{len(keys)} {what} (first: {keys[0]})"
        for keys, what in ((missing, "missing"), (extra, "unknown"), (wrong, "of another shape"))
        if keys
    ]
    raise ValueError(f"these weights are not of {name}: of its {len(own)} tensors {', '.join(parts)}")
