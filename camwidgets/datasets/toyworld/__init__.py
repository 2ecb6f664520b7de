"""A procedural world of small pictures whose truth is known to the pixel.

Ten classes, built from parts that they share, in contexts that go with them as strictly as one likes:
>>> from camwidgets.datasets.toyworld import ToyWorld
>>> scene = ToyWorld(seed=0, n=10, context_strength=1.0)[3]
>>> set(scene.parts) <= set(PARTS), len(scene.objects)
(True, 1)

`python -m camwidgets.datasets.toyworld` writes a contact sheet.
"""

from __future__ import annotations

from camwidgets.datasets.toyworld.brush import SIZE
from camwidgets.datasets.toyworld.names import CLASS_PARTS, CLASSES, CONTEXTS, HOME, PARTS
from camwidgets.datasets.toyworld.scene import Scene, SceneObject
from camwidgets.datasets.toyworld.world import ToyWorld

__all__ = ["CLASSES", "CLASS_PARTS", "CONTEXTS", "HOME", "PARTS", "SIZE", "Scene", "SceneObject", "ToyWorld"]
