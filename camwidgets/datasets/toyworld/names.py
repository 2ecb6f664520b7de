"""What there is in the toy world: classes, the parts they are built from, and the contexts they live in."""

from __future__ import annotations

CLASSES: tuple[str, ...] = (
    "cat", "dog", "bird", "duck", "boat", "car", "bus", "train", "plane", "windmill",
)  # fmt: skip

PARTS: tuple[str, ...] = (
    "body", "head", "pointed ear", "floppy ear", "eye", "muzzle", "leg", "tail", "beak", "wing",
    "hull", "mast", "sail", "wheel", "window", "lamp", "funnel", "fin", "tower", "door",
)  # fmt: skip

CONTEXTS: tuple[str, ...] = ("water", "grass", "rails", "road", "sky", "branches")

#: The context that a class prefers.
HOME: dict[str, str] = {
    "cat": "branches",
    "dog": "grass",
    "bird": "branches",
    "duck": "water",
    "boat": "water",
    "car": "road",
    "bus": "road",
    "train": "rails",
    "plane": "sky",
    "windmill": "grass",
}

#: The parts of a class. Most parts belong to two or more classes.
CLASS_PARTS: dict[str, tuple[str, ...]] = {
    "cat": ("body", "head", "pointed ear", "eye", "muzzle", "leg", "tail"),
    "dog": ("body", "head", "floppy ear", "eye", "muzzle", "leg", "tail"),
    "bird": ("body", "head", "eye", "beak", "wing", "tail", "leg"),
    "duck": ("body", "head", "eye", "beak", "wing", "tail"),
    "boat": ("hull", "mast", "sail"),
    "car": ("body", "window", "wheel", "lamp"),
    "bus": ("body", "window", "wheel", "lamp", "door"),
    "train": ("body", "window", "wheel", "funnel", "lamp"),
    "plane": ("body", "wing", "window", "fin"),
    "windmill": ("tower", "sail", "window", "door"),
}
