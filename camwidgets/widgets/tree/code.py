"""The Python lines that reproduce a tree explorer's view."""

from __future__ import annotations

from ..code import _comment
from .work import Shown


def tree_code(classifier: str, image: str, shown: Shown) -> str:
    """Lines that make `tree`, the `figure` on screen and, with something removed, `ablation`.

    Args:
        classifier: the line that makes `classifier`. image: an expression for the picture.
    """
    want, tree = shown.want, shown.tree
    lines = ["import camwidgets", "from camwidgets.figures.tree import tree_figure", "", classifier]
    if image == "image":
        lines.append("# image: the picture that was given to the explorer")
    lines += [
        "tree = camwidgets.decompose(",
        "    classifier,",
        f"    {image},",
        f"    target={want.target!r},  # {_comment(tree.label)}",
        f"    top={want.top}, depth={shown.depth}, conditional={want.conditional},",
        f"    sign={want.sign!r}, merge={want.merge},",
        ")",
    ]
    lines += [f"tree.expand({number})  # {tree.nodes[number].name}" for number in shown.calls]
    lines.append(f"figure = tree_figure(tree, opened={list(want.opened or ())}, selected={want.selected})")
    if want.removed:
        lines.insert(2, "from camwidgets.decomposition.ablation import ablate")
        means = "" if want.removal == "zero" else ", means=means"
        lines += [
            f"ablation = ablate(tree, {list(want.removed)}, removal={want.removal!r}{means})",
            "print(ablation)",
        ]
    return "\n".join(lines) + "\n"
