"""`explain`: a picture and a classifier to a map; and the `Explanation` that it returns."""

from __future__ import annotations

import io
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .classifiers.checks import check_finite, one_each
from .classifiers.classifier import Classifier, Target
from .classifiers.given import check_classifier
from .classifiers.guards import undisturbed
from .evidence import Evidence, capture
from .images import ImageSource, picture_hash
from .maps.catalogue import find, find_evidence
from .maps.enhance import Enhancement, enhanced
from .maps.fusion import Plan, fuse, make_plan
from .maps.method import Method, Request
from .maps.passes import Passes, Progress
from .maps.recipe import (
    Recipe,
    check_gradients,
    chosen_stages,
    each_map,
    enhancement,
    fused,
    maps_of,
    refuse,
    why_flat,
)
from .maps.stages import default_stages, flat_reason, ordered, sign_of, stage_maps


@dataclass(frozen=True)
class Explanation:
    """A map, and how it was made.

    Attributes:
        map: H×W float32 in [0, 1], the size of the network's input.
        stage_maps: stage → h×w float32 ≥ 0, raw, before any scaling.
        target: class index (or the name of a target callable). label: its name.
        score: the logit y (or what the callable returned). probability: softmax of the class, None for a callable.
        reason: None, or why the map is flat. picture: H×W×3 uint8, what the network saw.
        made_by: method, parameters, model, taps, hashes: plain values.
    """

    map: np.ndarray
    stage_maps: dict[str, np.ndarray]
    target: int | str
    label: str
    score: float
    probability: float | None
    reason: str | None
    picture: np.ndarray
    made_by: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        sure = "" if self.probability is None else f" {self.probability:.1%}"
        flat = f", {self.reason}" if self.reason else ""
        return f"Explanation({self.label!r}{sure}, logit {self.score:.2f}, {self.caption}{flat})"

    @property
    def caption(self) -> str:
        """How the map was made, in one line: "LayerCAM · S5+S4+S3 · tanh γ=2 · max"."""
        made = self.made_by
        return caption(made.get("title", made.get("method", "?")), list(self.stage_maps), made)

    def overlay(self, colormap: str = "inferno", opacity: float = 0.8, **options: Any) -> Image.Image:
        """The map over its picture (see `figures.overlay.overlay` for `blend`, `threshold`, `contour`, `draw_box`)."""
        from .figures.overlay import overlay

        return overlay(self.picture, self.map, colormap, opacity, **options)

    def box(self, threshold: float = 0.15) -> tuple[int, int, int, int] | None:
        """Bounding box (x0, y0, x1, y1) of the largest connected part ≥ threshold·max, pixels of the input."""
        from .maps.regions import box

        return box(self.map, threshold)

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.overlay().save(buffer, "PNG")
        return buffer.getvalue()

    def save(self, folder: str | Path) -> Path:
        """Write `explanation.json`, `maps.npz`, `picture.png` and `overlay.png` to `folder` (made if absent).

        All is made before anything is written, and each file is renamed into its place, explanation.json last.
        """
        from .saved import write

        return write(self, folder)

    @classmethod
    def load(cls, folder: str | Path) -> Explanation:
        """Read what `save` wrote, here or in an earlier version. Nothing in the files is run.

        Raises:
            FileNotFoundError: there is no saved explanation. ValueError: a file is damaged; the sentence names it.
        """
        from .saved import read

        return cls(**read(folder))


def explain(
    classifier: Classifier,
    image: ImageSource,
    method: str | Method = "layercam",
    target: Target = None,
    stages: Iterable[str] | None = None,
    gradient: str | None = None,
    gamma: float = 2.0,
    scale: str = "tanh",
    reduce: str = "max",
    preset: str | None = None,
    *,
    enhance: bool | Enhancement = False,
    batch: int | None = None,
    progress: Progress | Passes | None = None,
    **parameters: Any,
) -> Any:
    """Where does the classifier look? For the gradient family one forward pass, one truncated backward pass, one map.

    Args:
        classifier: from `load` or `wrap`.
        image: path, PIL picture, H×W×3 uint8 array, or preprocessed 1×3×H×W tensor. A list, or a batch of N > 1, gives
            a list of explanations.
        method: a name of `camwidgets.methods()`, or a `Method` of your own. target: class index, label, callable on
            the logits, or a tensor of one index a picture; None = top class.
        stages: names such as ["S3", "S5"]; None = the deepest (Grad-CAM …) or the three deepest (LayerCAM …).
        gradient: "positive", "signed", "absolute" or "negative"; None = as published for the method (LayerCAM:
            positive; Grad-CAM: signed).
        gamma, scale, reduce: fusion of stages as in [000] 3.9 (see `maps.fusion.Plan`).
        preset: "paper", "official-script", "torchcam", "pytorch-grad-cam" or "gated" in place of scale and reduce.
        enhance: sliding-window enhancement (`maps.enhance.Enhancement` to set windows) around the method.
        batch: pictures a forward pass where there are many; None = as memory allows (of given pictures: all at once,
            for the gradient family). The map does not depend on it.
        progress: called with (done, total), of pictures or of passes where one picture takes many; whatever it raises
            ends the work. A `Passes` says the same, and counts.
        parameters: of the method, as `print(camwidgets.methods()["rise"].about())` lists them.
    Raises:
        ValueError, TypeError: something given is not valid; the sentence says what would be.

    Example:
        >>> import camwidgets
        >>> classifier = camwidgets.load("efficientnet_lite0")
        >>> camwidgets.explain(classifier, camwidgets.samples.picture("coffee")).label
        'espresso'
    """
    check_classifier(classifier, "explain")
    found = _found(method, classifier)
    plan = make_plan(gamma, scale, reduce, preset)
    sign_of(found, gradient)
    checked = found.check(parameters)
    if isinstance(target, (list, tuple)):
        raise ValueError(f"explain takes one target, not {len(target)}; use capture for several")
    classifier.check_target(target)
    check_gradients(found, classifier)
    if found.kind != "evidence" or enhance:
        refuse(found, classifier)
    names = chosen_stages(classifier, found, stages)
    x = classifier.preprocess(image)
    each = one_each(target)
    if each and len(target) != len(x):
        raise ValueError(f"{len(target)} targets were given for {len(x)} pictures")
    how = Recipe(found, plan, gradient, checked, enhancement(enhance, (int(x.shape[2]), int(x.shape[3]))))
    passes = progress if isinstance(progress, Passes) else Passes(batch, progress=progress)
    made: list[Explanation] = []
    if found.kind == "evidence" and how.enhancement is None:
        for start in range(0, len(x), batch or len(x)):
            part = slice(start, start + (batch or len(x)))
            evidence = capture(classifier, x[part], target[part] if each else target, taps=names)
            made += [explain_evidence(evidence[i], found, names, gradient, plan) for i in range(len(evidence))]
            passes.report(len(made), len(x))
    else:
        for i in range(len(x)):
            one = target[i] if each else target
            made.append(run(classifier, x[i : i + 1], one, names, how, passes.step(i, len(x))))
    return made if len(made) > 1 or isinstance(image, (list, tuple)) else made[0]


def _found(method: str | Method, classifier: Classifier) -> Method:
    try:
        return find(method)
    except ValueError as error:
        if isinstance(method, str) and method.casefold() in (label.casefold() for label in classifier.labels):
            raise ValueError(f"{error}; {method!r} is a class: give it as target={method!r}") from None
        raise


def explain_evidence(
    evidence: Evidence,
    method: str | Method = "layercam",
    stages: Iterable[str] | None = None,
    gradient: str | None = None,
    plan: Plan | None = None,
) -> Explanation:
    """The explanation of one picture from evidence that is there already: no pass through the network."""
    found = find_evidence(method)
    plan = plan or make_plan()
    names = ordered(evidence, default_stages(evidence, found) if stages is None else stages)
    maps = stage_maps(evidence, found, gradient, names, plan)
    classifier = evidence.classifier
    size = (int(evidence.x.shape[2]), int(evidence.x.shape[3]))
    fused = fuse(maps, size, plan, list(classifier.stages) or names)
    taps = {name: str(evidence.stages[name]) for name in maps}
    how = Recipe(found, plan, gradient)
    made = {"taps": taps, "passes": {"forward": 1, "backward": 1}, "weights_sha256": evidence.weights_sha256}
    return _explanation(classifier, evidence.pictures[0], evidence.targets[0], evidence.logits[0],
                        float(evidence.scores[0]), maps, fused, _reason(evidence, maps, fused),
                        how.as_dict() | made)  # fmt: skip


def run(
    classifier: Classifier, x: Tensor, target: Target, names: list[str], how: Recipe, passes: Passes
) -> Explanation:
    """The explanation of one preprocessed picture by a recipe that runs the network, or is enhanced."""
    clock = time.perf_counter()
    with classifier.lock, torch.inference_mode(False), torch.no_grad(), undisturbed(classifier.module):
        logits = classifier.logits(x)[0].float()
    check_finite(logits, classifier.name)
    passes.counts.forward += 1
    before = replace(passes.counts)
    wanted = target if callable(target) else classifier.index(int(logits.argmax()) if target is None else target)
    request = Request(classifier, x, wanted, passes)
    if how.enhancement is None:
        maps = maps_of(how, request, names)
        made_map = fused(how, request, maps)
    else:
        made_map = enhanced(partial(each_map, how, request, names), x, how.enhancement)
        maps = {"input": made_map}
    counts = passes.counts
    made = how.as_dict() | {
        "taps": {name: str(classifier.stages[name]) for name in names if how.method.kind != "picture"},
        "passes": {"forward": counts.forward - before.forward + 1, "backward": counts.backward - before.backward},
        "seconds": round(time.perf_counter() - clock, 4), "weights_sha256": classifier.weights_hash(),
    }  # fmt: skip
    score = float(request.y(logits[None])[0])
    shown = wanted if isinstance(wanted, int) else getattr(wanted, "__name__", type(wanted).__name__)
    reason = None if np.ptp(made_map) > 0 else why_flat(how.method, wanted, score)
    return _explanation(classifier, classifier.pictures(x)[0], shown, logits, score, maps, made_map, reason, made)


def _explanation(
    classifier: Classifier, picture: np.ndarray, target: int | str, logits: Tensor, score: float,
    maps: dict[str, np.ndarray], fused: np.ndarray, reason: str | None, made: dict[str, Any],
) -> Explanation:  # fmt: skip
    known = isinstance(target, int)
    return Explanation(
        map=fused,
        stage_maps=maps,
        target=target,
        label=classifier.labels[int(target)] if known else str(target),
        score=score,
        probability=float(logits.softmax(0)[int(target)]) if known else None,
        reason=reason,
        picture=picture,
        made_by=made | {"model": classifier.name, "picture_sha256": picture_hash(picture)},
    )


def caption(title: str, stages: list[str], made: dict[str, Any]) -> str:
    """One line that says how a map was made."""
    plan = made.get("plan", {})
    parts = [title] if stages == ["input"] else [title, "+".join(reversed(stages))]
    parts += [f"{made['gradient']} gradient"] if made.get("gradient") else []
    parts += [f"{name}={value}" for name, value in made.get("parameters", {}).items()]
    parts += ["enhanced"] if made.get("enhancement") else []
    if stages == ["input"]:
        return " · ".join(parts)
    if plan.get("name") not in (None, "paper", "custom"):
        parts.append(f"preset {plan['name']}")
    elif len(stages) > 1 or plan.get("scale") != "tanh":
        gamma = f" γ={plan.get('gamma'):g}" if plan.get("scale") == "tanh" else ""
        parts += [f"{plan.get('scale')}{gamma}", str(plan.get("reduce"))]
    return " · ".join(parts)


def _reason(evidence: Evidence, maps: dict[str, np.ndarray], fused: np.ndarray) -> str | None:
    if float(fused.max()) > float(fused.min()):
        return None
    reasons = [flat_reason(evidence, evidence.stages[name], values) for name, values in maps.items()]
    known = [reason for reason in reasons if reason]
    return (
        "; ".join(known) if known else "flat: the chosen stages have no position in common that speaks for the target"
    )
