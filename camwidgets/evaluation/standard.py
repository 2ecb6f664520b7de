"""The tests of [000], [002] and the methods' papers, as entries of the catalogue."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..maps.method import Parameter
from .answers import Single
from .curves import STEPS, blanked, deletion, insertion, perturbation
from .location import THRESHOLDS, box_hits, energy_inside, pointing
from .measure import Case, Measure, Result, Values, best, class_mean
from .segmentation import average_precision, foreground, ious, mean_iou, pixel_accuracy


def insertion_deletion(case: Case, steps: int = STEPS) -> Values:
    """Both curves' areas, and their difference."""
    given = (case.classifier, case.x, case.target, case.map)
    steps = min(steps, case.map.size)
    rise = insertion(*given, steps=steps, passes=case.passes.step(0, 2)).auc
    fall = deletion(*given, steps=steps, passes=case.passes.step(1, 2)).auc
    return {"insertion": rise, "deletion": fall, "overall": rise - fall}


def perturbations(case: Case) -> Values:
    """Is the class still the first answer, when the most or least relevant pixels are blanked?"""
    given = (case.classifier, case.x, case.target, case.map)
    positive = perturbation(*given, passes=case.passes.step(0, 2)).auc
    negative = perturbation(*given, negative=True, passes=case.passes.step(1, 2)).auc
    return {"positive": positive, "negative": negative, "overall": negative - positive}


def occluded(case: Case, threshold: float = 0.7) -> Tensor:
    """The input with the map's peak blanked."""
    return blanked(case.x, case.map, threshold)


def still_said(case: Case, logits: Tensor, threshold: float = 0.7) -> Values:
    """What the network still says when the map's peak is blanked."""
    rank = int((logits > logits[case.target]).sum())
    return {"top1": float(rank < 1), "top5": float(rank < 5), "probability": float(logits.softmax(0)[case.target])}


def weighted(case: Case) -> Tensor:
    """The input multiplied by its map."""
    return case.x * torch.from_numpy(np.ascontiguousarray(case.map)).to(case.x)


def confidence_left(case: Case, logits: Tensor) -> Values:
    """What is left of p_c when the input is multiplied by its map."""
    before, after = (float(one.softmax(0)[case.target]) for one in (case.logits, logits))
    return {"drop": max(0.0, before - after) / before if before > 0 else 0.0, "increase": float(after > before)}


def pointing_game(case: Case, points: int = 100) -> Values:
    """The maximum, and the greatest `points` pixels."""
    inside = case.inside
    return {"maximum": pointing(case.map, inside), "points": pointing(case.map, inside, min(points, inside.size))}


def energy(case: Case) -> Values:
    """Mass inside the boxes."""
    return {"inside": energy_inside(case.map, case.inside)}


def localisation(case: Case, threshold: float = 0.15) -> Values:
    """Hits of the box over thresholds; at the given one also with the network's answer."""
    if not case.boxes:
        raise ValueError("there is no box of the class in this picture")
    rank = case.rank()
    hit = float(box_hits(case.map, case.boxes, [threshold])[0])
    hits = box_hits(case.map, case.boxes).astype(float)
    return {"hits": hits.tolist(), "known": hit, "loc1": hit * (rank < 1), "loc5": hit * (rank < 5)}


def segmentation(case: Case) -> Values:
    """The map cut at its mean, and the map as a score."""
    assert case.mask is not None
    found = foreground(case.map)
    return {
        "accuracy": pixel_accuracy(found, case.mask),
        "miou": mean_iou(found, case.mask),
        "ap": average_precision(case.map, case.mask),
    }


def best_iou(case: Case) -> Values:
    """IoU with the mask over thresholds."""
    assert case.mask is not None
    return {"ious": ious(case.map, case.mask).tolist()}


_THRESHOLD = Parameter("threshold", 0.15, "share of the map's maximum that the box is drawn at", low=0.01, high=1)
MEASURES = (
    Measure(
        "insertion-deletion", "Insertion and deletion", insertion_deletion,
        (
            Result("insertion", "AUC of p_c as pixels return", 1, "insertion"),
            Result("deletion", "AUC of p_c as pixels go", -1, "deletion"),
            Result("overall", "insertion − deletion", 1, "overall"),
        ),
        "∫ p_c(canvas with the first q pixels of x) dq; canvas: x blurred (kernel 51, σ 50)",
        "Petsiuk et al., BMVC 2018, 3.2; [002] 3.3.4", passes=True,
        parameters=(Parameter("steps", STEPS, "equal steps of pixels", low=1, high=100_000),),
    ),
    Measure(
        "perturbation", "Positive and negative perturbation", perturbations,
        (
            Result("positive", "top-1 as the most relevant pixels go, mean over 10 … 90 %", -1, "positive"),
            Result("negative", "top-1 as the least relevant pixels go, mean over 10 … 90 %", 1, "negative"),
            Result("perturbation", "negative − positive", 1, "overall"),
        ),
        "∫ [argmax y(x without q pixels) = c] dq / 0.8, q = 0.1 … 0.9", "Chefer et al., CVPR 2021, 4; [002] 4.3.6",
        passes=True,
    ),
    Measure(
        "occlusion", "Occlusion of the peak", Single(occluded, still_said),
        (
            Result("occluded-top1", "class is the first answer with the peak blanked", -1, "top1"),
            Result("occluded-top5", "class is among the first five", -1, "top5"),
            Result("occluded-p", "p_c with the peak blanked", -1, "probability"),
        ),
        "p_c(x ⊙ [M < 0.7])", "Jiang et al., IEEE TIP 2021, 4.4; [000] table 3.7", passes=True,
        parameters=(Parameter("threshold", 0.7, "value of the map from which pixels are blanked", low=0.01, high=1),),
    ),
    Measure(
        "confidence", "Average drop, increase in confidence", Single(weighted, confidence_left),
        (
            Result("average-drop", "relative fall of p_c when only the map's part is shown", -1, "drop"),
            Result("increase", "pictures whose p_c rises", 1, "increase"),
        ),
        "max(0, p_c(x) − p_c(M ⊙ x)) / p_c(x); [p_c(M ⊙ x) > p_c(x)]", "Chattopadhay et al., WACV 2018, 4.1",
        passes=True,
    ),
    Measure(
        "pointing", "Pointing game", pointing_game,
        (
            Result("pointing", "maximum inside a box, mean over classes", 1, "maximum", aggregate=class_mean),
            Result("pointing-100", "share of the 100 greatest inside, mean over classes", 1, "points",
                   aggregate=class_mean),
        ),
        "[argmax M ∈ box]; |top-100 ∩ box| / 100", "Zhang et al., IJCV 2018; [002] 3.3.5", needs=("boxes",),
        parameters=(Parameter("points", 100, "greatest pixels that are counted", low=1, high=100_000),),
    ),
    Measure(
        "energy", "Energy in the box", energy,
        (Result("energy", "share of the map's mass inside the boxes", 1, "inside"),),
        "Σ M inside / Σ M", 'Wang et al., "Score-CAM", CVPRW 2020, 4.2', needs=("boxes",),
    ),
    Measure(
        "localisation", "Localisation", localisation,
        (
            Result("box", "IoU of the map's box ≥ 0.5 (class given)", 1, "known"),
            Result("box-best", "the same at the threshold that suits the method best", 1, "hits", aggregate=best),
            Result("loc1", "… and the class is the first answer", 1, "loc1"),
            Result("loc5", "… and the class is among the first five", 1, "loc5"),
        ),
        "[IoU(box of the largest part of {M ≥ θ max M}, true box) ≥ 0.5]", "[000] 3.4.1.1", needs=("boxes",),
        parameters=(_THRESHOLD,),
    ),
    Measure(
        "segmentation", "Segmentation", segmentation,
        (
            Result("pixel-accuracy", "pixels told right, map cut at its mean", 1, "accuracy"),
            Result("miou", "mean IoU of object and background, map cut at its mean", 1, "miou"),
            Result("map", "average precision of the map as a score (mean over pictures: mAP)", 1, "ap"),
        ),
        "{M > mean M} against the mask", "[002] 4.3.5; Chefer et al., CVPR 2021, 4", needs=("mask",),
    ),
    Measure(
        "best-iou", "IoU at the best threshold", best_iou,
        (Result("iou-best", f"mean IoU at the best of {len(THRESHOLDS)} thresholds", 1, "ious", aggregate=best),),
        "max_θ mean IoU({M ≥ θ max M}, mask)", "[000] 3.4.4", needs=("mask",),
    ),
)  # fmt: skip
