"""The Python lines that reproduce a view."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..maps.method import Method


def view_code(classifier: str, image: str, method: Method, target: tuple[int, str], view: Mapping[str, Any]) -> str:
    """Lines that make `explanation`, whose map is the one on screen.

    Args:
        classifier: the line that makes `classifier`. image: an expression for the picture.
        target: class index and label. view: the explorer's traits by name.
    """
    index, label = target
    lines = ["import camwidgets", "", classifier]
    if image == "image":
        lines.append("# image: the picture that was given to the explorer")
    arguments = [f"method={method.name!r}", f"target={index}", f"stages={list(view['stages'])!r}"]
    arguments += [f"gradient={view['gradient']!r}", f"gamma={view['gamma']!r}"]
    if view["preset"]:
        arguments.append(f"preset={view['preset']!r}")
    else:
        arguments += [f"scale={view['scale']!r}", f"reduce={view['reduce']!r}"]
    lines += ["explanation = camwidgets.explain(", "    classifier,", f"    {image},"]
    comments = {f"target={index}": f"  # {_comment(label)}"}
    lines += [f"    {argument},{comments.get(argument, '')}" for argument in arguments]
    lines += [")", f"explanation.overlay({_overlay(view)})"]
    return "\n".join(lines) + "\n"


def _overlay(view: Mapping[str, Any]) -> str:
    return f"opacity={round(view['opacity'], 2)!r}, blend={view['blend']!r}, colormap={view['colormap']!r}"


def _comment(label: str) -> str:
    """A label as a comment: one line, whatever is in it."""
    return " ".join(str(label).split())
