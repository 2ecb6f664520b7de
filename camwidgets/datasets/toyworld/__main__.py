"""`python -m camwidgets.datasets.toyworld`: a contact sheet of the toy world."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from camwidgets.datasets.sheet import Picture, Row, contact_sheet, run, tinted
from camwidgets.datasets.toyworld import CLASSES, CONTEXTS, HOME, Scene, ToyWorld


def sheet(seed: int) -> Image.Image:
    """Classes at home and abroad, one scene in every context, crowds, and the truth about some scenes."""
    world = ToyWorld(seed=seed, n=200, context_strength=1.0)
    by_class = {name: [s for s in world[:40] if s.name == name] for name in CLASSES}
    rows = [
        Row("at home (context strength 1)", [(f"{c} · {HOME[c]}", by_class[c][0].image) for c in CLASSES]),
        Row("", [(c, by_class[c][1].image) for c in CLASSES]),
        Row(
            "context swapped, same objects",
            [_captioned(world.replace(context="swap")[s[0].index]) for s in by_class.values()],
        ),
    ]
    rows += [_everywhere(world, by_class[name][2].index) for name in ("duck", "train")]
    crowd = world.replace(objects=(2, 5), occlusion=0.35, context_strength=0.5)
    rows.append(
        Row(
            "several objects, occlusion 0.35",
            [(f"{s.name} + {len(s.objects) - 1} more", s.image) for s in crowd[:10]],
        )
    )
    rows += _truth(by_class["cat"][3], crowd[3])
    return contact_sheet(f"toy world, seed {seed}", rows)


def _captioned(scene: Scene) -> tuple[str, Picture]:
    return f"{scene.name} · {scene.context or 'bare'}", scene.image


def _everywhere(world: ToyWorld, index: int) -> Row:
    scenes = [world.replace(context=context)[index] for context in ("none", *CONTEXTS)]
    busy = [(f"clutter {c:g}", world.replace(clutter=c)[index].image) for c in (0.0, 1.0)]
    hidden = [("occlusion 0.6", world.replace(occlusion=0.6)[index].image)]
    return Row(f"one {scenes[0].name}, every context", [*map(_captioned, scenes), *busy, *hidden])


def _truth(*scenes: Scene) -> list[Row]:
    cells: list[tuple[str, Picture]] = []
    for scene in scenes:
        objects = {f"{item.number} {item.name}": item.mask for item in scene.objects}
        cells += [
            ("picture", scene.image),
            ("boxes", _boxed(scene)),
            (f"objects: {len(objects)}", tinted(scene.image, objects)),
            (f"parts: {len(scene.parts)}", tinted(scene.image, scene.parts)),
            (f"context: {', '.join(scene.contexts) or 'bare'}", tinted(scene.image, scene.contexts)),
        ]
    return [Row("what is known of every scene", cells)]


def _boxed(scene: Scene) -> Picture:
    picture = Image.fromarray(scene.image)
    for _, (x0, y0, x1, y1) in scene.boxes:
        ImageDraw.Draw(picture).rectangle((x0, y0, x1 - 1, y1 - 1), outline=(255, 64, 64))
    return np.asarray(picture)


if __name__ == "__main__":
    run("toyworld", sheet)
