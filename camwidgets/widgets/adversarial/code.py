"""The Python lines that make the sweep that is asked for, and the picture on screen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...investigate.attacks import METHODS


def sweep_code(classifier: str, image: str, asked: Mapping[str, Any], label: str, index: int) -> str:
    """Lines that make `found` and `other`, a `Sweep` and its `Rival`.

    Args:
        classifier: the line that makes `classifier`. image: an expression for the picture. asked: settings by name.
        label: of the class that was given, or "". index: number of the ε on screen.
    """
    lines = ["import camwidgets", "from camwidgets.investigate import rival, sweep", "", classifier]
    if image == "image":
        lines.append("# image: the picture that was given to the explorer")
    method = repr(asked["attack"])
    if asked["attack"] not in METHODS:
        method = "method"
        lines.append(f"# method: the attack that was given to the explorer as {asked['attack']!r}")
    arguments = {"method": method, "norm": repr(asked["norm"])}
    arguments |= {name: repr(asked[name]) for name in ("steps", "seed", "top")}
    if asked["target"] is not None:
        arguments["target"] = repr(asked["target"]) + ("," + f"  # {' '.join(label.split())}" if label else "")
    if asked["targeted"]:
        arguments["targeted"] = "True"
    if asked["stage"]:
        arguments["stage"] = repr(asked["stage"])
    if asked["depth"]:
        arguments["trees"] = repr(asked["depth"])
    lines += ["found = sweep(", "    classifier,", f"    {image},", f"    {_radii(asked)},"]
    lines += [f"    {name}={value}" + ("" if "#" in value else ",") for name, value in arguments.items()]
    lines += [")", "other = rival(found)", f"found.frames[{index}].attack.adversarial_pictures[0]"]
    return "\n".join(lines) + "\n"


def _radii(asked: Mapping[str, Any]) -> str:
    """The ε, in grey levels of 255 where these are the shorter ones and the same numbers."""
    values = list(asked["epsilons"])
    levels = [float(f"{255 * e:.6g}") for e in values]
    if asked["norm"] == "linf" and [level / 255 for level in levels] == values:
        return f"[e / 255 for e in {levels!r}]"
    return repr(values)
