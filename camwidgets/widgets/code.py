"""The Python lines that reproduce a view."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..maps.method import Method

if TYPE_CHECKING:
    from .comparison.cells import Cell


def view_code(classifier: str, image: str, method: Method, target: tuple[int, str], view: Mapping[str, Any]) -> str:
    """Lines that make `explanation`, whose map is the one on screen.

    Args:
        classifier: the line that makes `classifier`. image: an expression for the picture.
        target: class index and label. view: the explorer's traits by name.
    """
    index, label = target
    lines = _begin(classifier, image)
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


def cell_code(classifier: str, image: str, target: tuple[int, str], cell: Cell) -> str:
    """Lines that make `explanation`, whose map is the cell's."""
    index, label = target
    lines = [*_begin(classifier, image), "explanation = camwidgets.explain(", "    classifier,", f"    {image},"]
    lines += [f"    {name}={value},{f'  # {_comment(label)}' if name == 'target' else ''}"
              for name, value in _arguments(cell, index).items()]  # fmt: skip
    return "\n".join([*lines, ")", "explanation.overlay()"]) + "\n"


def cells_code(classifier: str, image: str, target: tuple[int, str], cells: Sequence[tuple[str, Cell]]) -> str:
    """Lines that make `explanations`, the maps of all cells by name."""
    index, label = target
    named = [] if image == "image" else [f"image = {image}"]
    lines = [*_begin(classifier, image), *named, f"target = {index}  # {_comment(label)}", "explanations = {"]
    for name, cell in cells:
        words = ", ".join(f"{key}={value}" for key, value in _arguments(cell, "target").items())
        lines.append(f"    {name!r}: camwidgets.explain(classifier, image, {words}),")
    return "\n".join([*lines, "}"]) + "\n"


def _arguments(cell: Cell, target: int | str) -> dict[str, str]:
    found = {"method": repr(cell.row.method.name), "target": str(target)}
    found |= {"enhance": "True"} if cell.enhanced else {}
    return found | {name: repr(value) for name, value in cell.parameters.items()}


def _begin(classifier: str, image: str) -> list[str]:
    note = ["# image: the picture that was given to the explorer"] if image == "image" else []
    return ["import camwidgets", "", classifier, *note]


def _overlay(view: Mapping[str, Any]) -> str:
    return f"opacity={round(view['opacity'], 2)!r}, blend={view['blend']!r}, colormap={view['colormap']!r}"


def _comment(label: str) -> str:
    """A label as a comment: one line, whatever is in it."""
    return " ".join(str(label).split())
