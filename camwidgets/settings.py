"""Parameters that are kept for a model and a method, in a readable file in the user's configuration folder.

Nothing reads them silently; a script says so::

    settings.keep(classifier, "smoothgrad", samples=200)
    explain(classifier, image, "smoothgrad", **settings.of(classifier, "smoothgrad"))

The file, ``settings.toml`` (`path` says where), may be edited by hand::

    version = 1

    [models."efficientnet_lite0"."smoothgrad"]
    samples = 200

A file that cannot be read is reported and set aside as ``settings.toml.broken-1`` (``-2`` …), never overwritten.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .classifiers.classifier import Classifier
from .maps.catalogue import find
from .maps.method import Method

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

VERSION = 1
NAME = "settings.toml"
FOLDER = "CAMWIDGETS_CONFIG"  # environment variable that names another folder
PATIENCE = 10.0  # seconds to wait for another program that is writing

Parameters = dict[str, Any]
Models = dict[str, dict[str, Parameters]]  # model → method → parameters


class SettingsWarning(UserWarning):
    """Something about the kept settings is wrong, and how it was dealt with."""


class _Newer(ValueError):
    """The file was written by a later version of camwidgets."""


def path() -> Path:
    """Where the settings are kept; the file need not exist. ``$CAMWIDGETS_CONFIG`` names another folder."""
    import platformdirs

    folder = os.environ.get(FOLDER)
    return (Path(folder).expanduser() if folder else platformdirs.user_config_path("camwidgets", False)) / NAME


def of(model: Classifier | str, method: str | Method) -> Parameters:
    """What is kept for a model (a classifier or its name) and a method: parameter → value, {} if nothing is.

    Each value is checked against the method's parameters; one that is no longer valid is left out, with a warning.

    Raises:
        ValueError: unknown method.
    """
    found = find(method)
    good: Parameters = {}
    for name, value in _read_or_set_aside().get(_name(model), {}).get(found.name, {}).items():
        try:
            good[name] = found.check({name: value})[name]
        except (ValueError, TypeError) as error:
            warnings.warn(f"{path()}: left out for {_name(model)}: {error}", SettingsWarning, stacklevel=2)
    return good


def keep(model: Classifier | str, method: str | Method, **parameters: Any) -> Parameters:
    """Keep parameters of a method for a model, beside those kept before; returns all that are kept for the two now.

    Raises:
        ValueError, TypeError: unknown method or parameter, or a value out of range; nothing is kept then.
        OSError: the file cannot be written.
    """
    found = find(method)
    checked = found.check(parameters)
    with _changing() as models:
        kept = models.setdefault(_name(model), {}).setdefault(found.name, {})
        kept.update({name: checked[name] for name in parameters})
        return dict(kept)


def forget(model: Classifier | str | None = None, method: str | Method | None = None) -> None:
    """Forget what is kept for a model and a method; None stands for every model, every method."""
    name, which = None if model is None else _name(model), None if method is None else find(method).name
    with _changing() as models:
        for one, methods in models.items():
            for other in list(methods):
                if name in (None, one) and which in (None, other):
                    del methods[other]


def everything() -> Models:
    """All that is kept, as it stands in the file: model → method → parameters."""
    return _read_or_set_aside()


def _name(model: Classifier | str) -> str:
    if isinstance(model, Classifier):
        return model.name
    if not isinstance(model, str) or not model:
        raise TypeError(f"settings are kept for a classifier or its name; got {model!r}")
    return model


# ---------------------------------------------------------------------------------------------------------- the file


@contextmanager
def _changing() -> Iterator[Models]:
    """What is kept, to be changed; written when the block ends well. Other writers, threads included, wait."""
    with _locked():
        models = _read_or_set_aside(writing=True)
        yield models
        _write(models)


@contextmanager
def _locked() -> Iterator[None]:
    from filelock import FileLock, Timeout

    file = path()
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(f"{file}.lock", timeout=PATIENCE):
            yield
    except Timeout:
        raise TimeoutError(f"another program has held {file}.lock for {PATIENCE:g} seconds; try again") from None


def _read_or_set_aside(writing: bool = False) -> Models:
    """What the file says; a broken one is set aside. A later version's is left in place unless it is to be written."""
    try:
        return _read()
    except _Newer as error:
        if not writing:
            warnings.warn(f"{error}; nothing of it is used", SettingsWarning, stacklevel=4)
            return {}
        reason: Exception = error
    except ValueError as error:
        if not writing:
            with _locked():
                return _read_or_set_aside(writing=True)  # it may have been mended in the meantime
        reason = error
    aside = _set_aside(path())
    warnings.warn(f"{reason}; it was set aside as {aside.name}, and settings begin anew", SettingsWarning, stacklevel=4)
    return {}


def _read() -> Models:
    file = path()
    try:
        text = file.read_bytes().decode("utf-8")
    except FileNotFoundError:
        return {}
    except UnicodeDecodeError:
        raise ValueError(f"{file} is not text") from None
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{file} is not TOML: {error}") from None
    version = content.get("version")
    if isinstance(version, int) and version > VERSION:
        raise _Newer(f"{file} has version {version}, and this camwidgets reads {VERSION}")
    models = content.get("models", {})
    if version != VERSION or not _is_models(models):
        raise ValueError(f"{file} does not hold settings of version {VERSION}")
    return dict(models)


def _is_models(models: Any) -> bool:
    """Tables of tables of tables of plain values."""
    if not isinstance(models, dict) or not all(isinstance(methods, dict) for methods in models.values()):
        return False
    tables = [table for methods in models.values() for table in methods.values()]
    return all(isinstance(t, dict) and all(isinstance(v, (str, int, float)) for v in t.values()) for t in tables)


def _set_aside(file: Path) -> Path:
    number = 1
    while (aside := file.with_name(f"{file.name}.broken-{number}")).exists():
        number += 1
    file.rename(aside)
    return aside


def _write(models: Models) -> None:
    """All or nothing: whoever reads meanwhile sees the old file or the new one."""
    file = path()
    handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=f".{NAME}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as stream:
            stream.write(_as_toml(models))
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).replace(file)
    except BaseException:
        with suppress(FileNotFoundError):
            Path(temporary).unlink()
        raise


def _as_toml(models: Models) -> str:
    lines = ["# Parameters kept by camwidgets.settings: model, method, parameters.", f"version = {VERSION}"]
    for model, methods in sorted(models.items()):
        for method, parameters in sorted(methods.items()):
            lines += ["", f"[models.{_quoted(model)}.{_quoted(method)}]"]
            lines += [f"{_key(name)} = {_value(value)}" for name, value in parameters.items()]
    return "\n".join(lines) + "\n"


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _quoted(name)


def _value(value: str | float) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return _quoted(value) if isinstance(value, str) else repr(value)


def _quoted(text: str) -> str:
    """A TOML string: JSON's, but that DEL is escaped too."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
