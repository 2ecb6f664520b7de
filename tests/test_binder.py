"""What mybinder.org reads: it parses, and its pins are versions that the package itself allows."""

from __future__ import annotations

import os
import subprocess
from importlib import metadata

import pytest
from packaging.requirements import Requirement

from tests.conftest import ROOT

BINDER = ROOT / "binder"


def lines(name: str) -> list[str]:
    kept = (line.partition("#")[0].strip() for line in (BINDER / name).read_text().splitlines())
    return [line for line in kept if line]


def pins() -> dict[str, str]:
    requirements = [Requirement(line) for line in lines("requirements.txt") if line[0] not in "-."]
    for requirement in requirements:
        assert [each.operator for each in requirement.specifier] == ["=="], f"{requirement} is not a pin"
    return {each.name: next(iter(each.specifier)).version for each in requirements}


def test_installs_this_checkout_with_cpu_wheels() -> None:
    assert lines("requirements.txt")[-1] == "."
    assert "--extra-index-url https://download.pytorch.org/whl/cpu" in lines("requirements.txt")
    # Without "+cpu" a missing wheel would be replaced by gigabytes of CUDA without a word.
    assert all(pins()[name].endswith("+cpu") for name in ("torch", "torchvision"))


def test_everything_that_draws_is_pinned() -> None:
    assert pins().keys() == {"torch", "torchvision", "jupyterlab", "ipywidgets", "anywidget", "plotly"}


@pytest.mark.parametrize("name", ["torch", "torchvision", "jupyterlab", "ipywidgets", "anywidget", "plotly"])
def test_pins_are_in_the_declared_ranges(name: str) -> None:
    declared = map(Requirement, metadata.requires("camwidgets") or [])
    ranges = [each.specifier for each in declared if each.name == name and each.marker is None]
    assert len(ranges) == 1, f"pyproject.toml does not declare {name} once"
    assert ranges[0].contains(pins()[name])


def test_python_is_one_that_the_package_supports() -> None:
    (runtime,) = lines("runtime.txt")
    name, _, version = runtime.partition("-")
    assert name == "python"
    assert Requirement(f"python{metadata.metadata('camwidgets')['Requires-Python']}").specifier.contains(
        version
    )


def test_post_build_is_a_program_that_stops_at_the_first_error() -> None:
    script = BINDER / "postBuild"
    assert os.access(script, os.X_OK)
    text = script.read_text().splitlines()
    assert text[0] == "#!/bin/bash"
    assert "set -e" in text
    subprocess.run(["bash", "-n", str(script)], check=True)
