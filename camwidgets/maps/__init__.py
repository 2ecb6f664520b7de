"""Where the network looks: saliency maps and their fusion."""

from .catalogue import evidence_methods, methods
from .enhance import Enhancement
from .fusion import PRESETS, Plan, fuse, make_plan
from .method import Method, Parameter, Request
from .passes import Passes
from .regions import box, iou
from .stages import default_stages, stage_maps

__all__ = [
    "PRESETS",
    "Enhancement",
    "Method",
    "Parameter",
    "Passes",
    "Plan",
    "Request",
    "box",
    "default_stages",
    "evidence_methods",
    "fuse",
    "iou",
    "make_plan",
    "methods",
    "stage_maps",
]
