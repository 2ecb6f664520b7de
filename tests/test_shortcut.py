"""Curing a shortcut learner: what is measured, measured another way; and the comparison itself, small."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import camwidgets
from camwidgets.datasets.toyworld import ToyWorld
from camwidgets.learning.run import open_run
from camwidgets.learning.shortcut import accuracy, cure_shortcut, map_mass, painted_scenes


def test_accuracy_and_mass_are_what_capture_and_predict_say() -> None:
    classifier = camwidgets.load("toy-shortcut")
    world = ToyWorld(seed=3, n=8, context_strength=1.0)
    right, context, inside = [], [], []
    for scene in world:
        right.append(classifier.predict(scene.image, 1)[0].label == scene.name)
        A, g = camwidgets.capture(classifier, scene.image, scene.name, "S5").at("S5")
        small = torch.relu((g.mean((2, 3), keepdim=True) * A).sum(1, keepdim=True))
        large = F.interpolate(small, (96, 96), mode="bilinear", align_corners=False)[0, 0].numpy()
        shares = large / large.sum()
        context.append(sum(float(shares[mask].sum()) for mask in scene.contexts.values()))
        inside.append(float(shares[scene.mask(scene.main)].sum()))
    scenes = painted_scenes(world)
    found = map_mass(classifier.module, scenes)
    assert accuracy(classifier.module, scenes) == pytest.approx(np.mean(right))
    assert found["context"] == pytest.approx(np.mean(context), abs=1e-4)
    assert found["object"] == pytest.approx(np.mean(inside), abs=1e-4)
    bare = painted_scenes(world.replace(context="none"))
    assert map_mass(classifier.module, bare)["context"] == 0


def test_the_comparison_differs_in_the_guidance_alone(tmp_path: Path) -> None:
    found = cure_shortcut(tmp_path, pictures=12, masks=3, epochs=1, batch=6, extra_batch=2, test_pictures=6)
    assert list(found.index) == ["before", "plain", "guided"]
    assert ((found >= 0) & (found <= 1)).all(axis=None)
    plain, guided = open_run(tmp_path / "plain").about, open_run(tmp_path / "guided").about
    assert plain["settings"] == guided["settings"]
    assert plain["data"] == guided["data"]
    differing = {k for k, v in plain["objective"]["settings"].items() if v != guided["objective"]["settings"][k]}
    assert differing == {"alpha", "weight"}
    again = cure_shortcut(tmp_path, pictures=12, masks=3, epochs=1, batch=6, extra_batch=2, test_pictures=6)
    assert again.equals(found)  # the runs that lie there are not trained again


def test_stopped_it_says_what_there_is(tmp_path: Path) -> None:
    found = cure_shortcut(tmp_path, pictures=6, masks=1, epochs=1, test_pictures=4, cancelled=lambda: True)
    assert list(found.index) == ["before"]
    with pytest.raises(ValueError, match="masks must lie between 1 and the number of pictures, 6"):
        cure_shortcut(tmp_path, pictures=6, masks=7)
