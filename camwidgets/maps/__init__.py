"""Where the network looks: saliency maps and their fusion."""

from .catalogue import METHODS, Method, methods
from .fusion import PRESETS, Plan, fuse, make_plan
from .regions import box, iou
from .stages import default_stages, stage_maps

__all__ = [
    "METHODS",
    "PRESETS",
    "Method",
    "Plan",
    "box",
    "default_stages",
    "fuse",
    "iou",
    "make_plan",
    "methods",
    "stage_maps",
]
