"""Writes docs/methods.md from the catalogue: ``python -m tools.methods_page`` (``--check``: only compare).

Which networks a method serves is asked of the methods themselves, with random weights; nothing is downloaded.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

import torch

from camwidgets.classifiers import Classifier, load
from camwidgets.maps import Method, methods
from camwidgets.maps.recipe import chosen_stages

PAGE = Path(__file__).parents[1] / "docs" / "methods.md"
NETWORKS = ("efficientnet_lite0", "resnet18", "vgg11", "densenet121", "convnext_tiny", "vit_b_32", "swin_t")
KINDS = {
    "evidence": "arithmetic on what one forward and one backward pass leave",
    "stage": "runs the network and makes a map of each chosen stage",
    "picture": "runs the network and makes one map of the whole picture",
}
_HEAD = """# Methods

<!-- Written by `python -m tools.methods_page` from the catalogue; a test holds it up to date. Do not edit. -->

What `camwidgets.methods()` knows. Every map is made by `explain(classifier, picture, "name", …)`, on the command
line by `camwidgets explain picture.jpg --method name --set parameter=value`; around each, `enhance=True` puts the
sliding-window enhancement. Letters: A activation at a tap, g its gradient, x the input, y the score, p_c the
probability of the class. Keys such as [002] are in [sources.md](sources.md).

A network that a method cannot serve is told so before anything long runs. Tried with random weights:

"""


def page() -> str:
    """The whole page."""
    served = {name: _served(_random(name)) for name in NETWORKS}
    parts = [_HEAD, _table(served), "\n\n✓ is served; – is refused, the section says why.\n"]
    for kind, meaning in KINDS.items():
        parts.append(f"\n## Kind `{kind}`: {meaning}\n")
        parts += [_section(method, served) for method in methods().values() if method.kind == kind]
    return "".join(parts)


def _random(name: str) -> Classifier:
    """The network with seeded random weights, none of them 0 (torchvision's ViTs begin with a head of zeros)."""
    classifier = load(name, None)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in classifier.module.parameters():
            if not parameter.any():
                parameter.copy_(0.02 * torch.randn(parameter.shape, generator=generator))
    return classifier


def _served(classifier: Classifier) -> dict[str, str | None]:
    """Method → None, or why it cannot serve that network."""
    return {name: _why_not(method, classifier) for name, method in methods().items()}


def _why_not(method: Method, classifier: Classifier) -> str | None:
    reason = method.why_not(classifier)
    if reason is None:
        try:
            chosen_stages(classifier, method, None)
        except ValueError as error:
            reason = str(error)
    return reason


def _table(served: dict[str, dict[str, str | None]]) -> str:
    rows = [["method", *NETWORKS], ["---", *([":---:"] * len(NETWORKS))]]
    anchors = _anchors()
    for name, method in methods().items():
        marks = ["–" if served[network][name] else "✓" for network in NETWORKS]
        rows.append([f"[{method.title}](#{anchors[name]})", *marks])
    return _rows(rows)


def _section(method: Method, served: dict[str, dict[str, str | None]]) -> str:
    lines = ["", f"### {_heading(method)}", "", f"`{method.formula}`", "", f"{method.source}.", ""]
    lines.append(f"* needs: {', '.join(method.needs) or 'nothing but forward passes'}")
    if method.kind != "picture":
        lines.append(f"* stages unless told otherwise: {_deepest(method.depth)}")
    if method.gradient:
        lines.append(f"* gradient signs: {method.gradient} as published; can take {', '.join(method.signs)}")
    reasons: dict[str, list[str]] = {}
    for network in NETWORKS:
        reason = served[network][method.name]
        if reason:
            reasons.setdefault(reason.replace(network, "the network"), []).append(network)
    lines += [f"* refuses {', '.join(names)}: {_cell(reason)}" for reason, names in reasons.items()]
    if method.parameters:
        rows = [["parameter", "default", "valid", "meaning"], ["---"] * 4]
        rows += [[f"`{p.name}`", f"`{p.default!r}`", p.valid, p.meaning] for p in method.parameters]
        lines += ["", _rows(rows)]
    return "\n".join(lines) + "\n"


def _heading(method: Method) -> str:
    return f"{method.title} (`{method.name}`)"


def _anchors() -> dict[str, str]:
    """Method → the link to its section as GitHub makes it: letters, digits and hyphens; a second one of a kind gets -1.

    Sections stand in the order of kinds.
    """
    found: dict[str, str] = {}
    for kind in KINDS:
        for name, method in methods().items():
            if method.kind == kind:
                text = _heading(method).lower().replace(" ", "-")
                plain = "".join(letter for letter in text if letter.isalnum() or letter in "-_")
                taken = sum(one == plain or one.startswith(f"{plain}-") for one in found.values())
                found[name] = f"{plain}-{taken}" if plain in found.values() else plain
    return found


def _deepest(depth: int) -> str:
    return "the deepest" if depth == 1 else f"the {depth} deepest"


def _rows(rows: Iterable[Iterable[str]]) -> str:
    return "\n".join(f"| {' | '.join(map(_cell, row))} |" for row in rows)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def main(arguments: list[str]) -> int:
    """Write the page, or compare; exit status 1 if it differs."""
    text = page()
    if "--check" in arguments:
        same = PAGE.is_file() and PAGE.read_text("utf-8") == text
        print("docs/methods.md is up to date" if same else "docs/methods.md is not up to date", file=sys.stderr)
        return 0 if same else 1
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
