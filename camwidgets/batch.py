"""Explaining picture files: each to a folder with the overlay, the saved explanation and a page to play with.

This is what ``camwidgets explain`` does, for scripts::

    settings = Settings(load("efficientnet_lite0"), method="layercam", stages=("S3", "S5"))
    for picture, folder in zip(pictures, folders(pictures, "out"), strict=True):
        write_explanation(picture, folder, settings)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .classifiers.classifier import Classifier
from .errors import choose
from .evidence import capture
from .explanation import Explanation, explain_evidence
from .images import open_image
from .maps.catalogue import find
from .maps.fusion import make_plan
from .maps.stages import sign_of

PAGE = "explorer.html"


@dataclass(frozen=True)
class Settings:
    """How pictures are explained; checked once, when it is made, so that a wrong name is told once.

    Attributes:
        classifier: from ``load`` or ``wrap``. method, stages, gradient, gamma, preset: as in ``camwidgets.explain``.
        target: class index or label; None = each picture's top class.
    Raises:
        ValueError: an unknown method, class, stage, sign or preset; the sentence says what would be valid.
    """

    classifier: Classifier
    method: str = "layercam"
    target: int | str | None = None
    stages: tuple[str, ...] | None = None
    gradient: str | None = None
    gamma: float = 2.0
    preset: str | None = None

    def __post_init__(self) -> None:
        sign_of(find(self.method), self.gradient)
        make_plan(self.gamma, preset=self.preset)
        if self.stages is not None:
            if not self.stages:
                raise ValueError(f"no stage was given; this network has: {', '.join(self.classifier.stages)}")
            for stage in self.stages:
                choose("stage", stage, self.classifier.stages)
        if self.target is not None:
            self.classifier.index(self.target)


def folders(pictures: Sequence[Path], out: str | Path) -> list[Path]:
    """One folder a picture, named as the picture; a second ``cat`` becomes ``cat-2``.

    Example:
        >>> [folder.name for folder in folders([Path("a/cat.jpg"), Path("b/cat.png"), Path("dog.jpg")], "out")]
        ['cat', 'cat-2', 'dog']
    """
    taken: set[str] = set()
    names = []
    for picture in pictures:
        name, count = picture.stem, 1
        while name.casefold() in taken:  # some disks take Cat and cat for one
            count += 1
            name = f"{picture.stem}-{count}"
        taken.add(name.casefold())
        names.append(name)
    return [Path(out).expanduser() / name for name in names]


def write_explanation(picture: Path, folder: Path, settings: Settings) -> Explanation:
    """Explain one picture file and write ``folder``: overlay.png, explanation.json, maps.npz, picture.png and
    explorer.html (all stages, so that they can be switched on in it). Nothing is written for a bad picture.

    Raises:
        ValueError, OSError: the picture cannot be read, or the folder not be written.
    """
    from .widgets.export import export_html

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
    page = export_html(evidence, settings.method, image=image, name=picture.name, view=view)
    explanation.save(folder)
    (folder / PAGE).write_text(page, encoding="utf-8")
    return explanation
