"""Explaining picture files: each to a folder with the overlay, the saved explanation and a page to play with.

This is what ``camwidgets explain`` does, for scripts::

    settings = Settings(load("efficientnet_lite0"), method="layercam", stages=("S3", "S5"))
    for picture, folder in zip(pictures, folders(pictures, "out"), strict=True):
        write_explanation(picture, folder, settings)

The gradient family comes with ``explorer.html``, in which everything can still be switched; other methods and enhanced
maps, which cannot be made anew without the network, with ``overlay.html``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .classifiers.classifier import Classifier
from .errors import choose
from .evidence import capture
from .explanation import Explanation, explain, explain_evidence
from .files import replaced
from .images import open_image
from .maps.catalogue import find
from .maps.fusion import make_plan
from .maps.passes import Passes, Progress
from .maps.recipe import chosen_stages, refuse
from .maps.stages import sign_of

PAGE = "explorer.html"
OVERLAY_PAGE = "overlay.html"


@dataclass(frozen=True)
class Settings:
    """How pictures are explained; checked once, when it is made, so that a wrong name is told once.

    Attributes:
        classifier: from ``load`` or ``wrap``. method, stages, gradient, gamma, preset: as in ``camwidgets.explain``.
        target: class index or label; None = each picture's top class.
        parameters: of the method; all of them, with defaults, once it is made. enhance: with sliding windows.
        batch: pictures a forward pass where there are many; None = as memory allows.
    Raises:
        ValueError, TypeError: an unknown method, class, stage, sign, preset or parameter, or a method that cannot
            serve this network; the sentence says what would be valid.
    """

    classifier: Classifier
    method: str = "layercam"
    target: int | str | None = None
    stages: tuple[str, ...] | None = None
    gradient: str | None = None
    gamma: float = 2.0
    preset: str | None = None
    parameters: dict[str, Any] = field(default_factory=dict)
    enhance: bool = False
    batch: int | None = None

    def __post_init__(self) -> None:
        found = find(self.method)
        sign_of(found, self.gradient)
        make_plan(self.gamma, preset=self.preset)
        object.__setattr__(self, "parameters", found.check(self.parameters))
        Passes(self.batch)
        refuse(found, self.classifier)
        if self.stages is not None and found.kind == "picture":
            chosen_stages(self.classifier, found, self.stages)
        elif self.stages is not None:
            if not self.stages:
                raise ValueError(f"no stage was given; this network has: {', '.join(self.classifier.stages)}")
            for stage in self.stages:
                choose("stage", stage, self.classifier.stages)
        if self.target is not None:
            self.classifier.index(self.target)


def folders(pictures: Sequence[Path], out: str | Path) -> list[Path]:
    """One folder a picture in `out`, named as the picture (dots at its ends left out); a second ``cat`` is ``cat-2``.

    Example:
        >>> [folder.name for folder in folders([Path("a/cat.jpg"), Path("b/cat.png"), Path("dog.jpg")], "out")]
        ['cat', 'cat-2', 'dog']
    """
    taken: set[str] = set()
    names = []
    for picture in pictures:
        own = picture.stem.strip(". ") or "picture"  # the stem of "...png" is "..": it would lead out of `out`
        name, count = own, 1
        while name.casefold() in taken:  # some disks take Cat and cat for one
            count += 1
            name = f"{own}-{count}"
        taken.add(name.casefold())
        names.append(name)
    return [Path(out).expanduser() / name for name in names]


def write_explanation(
    picture: Path, folder: Path, settings: Settings, progress: Progress | None = None
) -> Explanation:
    """Explain one picture file and write ``folder``: overlay.png, explanation.json, maps.npz, picture.png and a page.

    The page is explorer.html (all stages, so that they can be switched on in it) for a plain method of the gradient
    family, and overlay.html for others; one that an earlier run with another method left there is removed. Nothing is
    written for a bad picture, or when `progress` ends the work.

    Raises:
        ValueError, OSError: the picture cannot be read, or the folder not be written.
    """
    if find(settings.method).kind == "evidence" and not settings.enhance:
        explanation, page, text = _switchable(picture, settings)
    else:
        explanation, page, text = _finished(picture, settings, progress)
    explanation.save(folder)
    with replaced(folder / page) as file:
        file.write(text.encode("utf-8"))
    (folder / (OVERLAY_PAGE if page == PAGE else PAGE)).unlink(missing_ok=True)  # it would show the map of before
    return explanation


def _switchable(picture: Path, settings: Settings) -> tuple[Explanation, str, str]:
    """From one pass; the page makes the other stages' maps itself."""
    from .widgets.cam.export import export_html

    image = open_image(picture)
    evidence = capture(settings.classifier, image, settings.target, taps="stages")
    plan = make_plan(settings.gamma, preset=settings.preset)
    explanation = explain_evidence(evidence, settings.method, settings.stages, settings.gradient, plan)
    view = {
        "stages": list(explanation.stage_maps),
        "gradient": explanation.made_by["gradient"],
        "gamma": settings.gamma,
        "preset": settings.preset,
    }
    return explanation, PAGE, export_html(evidence, settings.method, image=image, name=picture.name, view=view)


def _finished(picture: Path, settings: Settings, progress: Progress | None) -> tuple[Explanation, str, str]:
    """From a method that runs the network; the page shows the map as it is."""
    from .figures.overlay_page import overlay_page

    explanation: Explanation = explain(
        settings.classifier, open_image(picture), settings.method, settings.target, settings.stages,
        settings.gradient, settings.gamma, preset=settings.preset, enhance=settings.enhance, batch=settings.batch,
        progress=progress, **settings.parameters,
    )  # fmt: skip
    title = f"{explanation.label} · {picture.name}"
    return explanation, OVERLAY_PAGE, overlay_page(explanation.picture, explanation.map, title, explanation.caption)
