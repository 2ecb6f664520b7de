"""Taking a view away: one HTML page that works alone, and the explanation as a ZIP file."""

from __future__ import annotations

import io
import re
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...evidence import Evidence
from ...explanation import Explanation
from ...images import ImageSource
from .. import assets
from ..page import alone
from ..scene import Scene, crisper, make_scene, menus
from .traits import DEFAULTS

FILES = {"bundle": ("zip", "application/zip"), "html": ("html", "text/html")}


def export_html(
    evidence: Evidence,
    method: str = "layercam",
    *,
    image: ImageSource = None,
    name: str = "picture",
    view: Mapping[str, Any] | None = None,
) -> str:
    """One HTML page of a picture's evidence, in which stages, signs, γ, opacity, threshold and colours still work.

    Args:
        evidence: of one picture. method: of the catalogue. name: how the picture is called.
        image: the picture as opened, for a crisper view; None = what the network saw.
        view: values for the traits of `CamExplorer` (stages, gradient, gamma …); the rest as usual.

    The page holds everything (maps as float32, picture, front end) and makes no request; open it with any browser.

    Example:
        >>> import camwidgets
        >>> evidence = camwidgets.capture(camwidgets.load("efficientnet_lite0"), camwidgets.samples.picture("cat"))
        >>> export_html(evidence, name="cat")[:15]
        '<!doctype html>'
    """
    return page(make_scene(evidence, method, crisper(evidence.classifier, evidence.pictures[0], image), name), view)


def page(scene: Scene, view: Mapping[str, Any] | None = None) -> str:
    """The HTML page of a scene."""
    traits = {**_usual(scene), **(view or {}), **_fixed(scene), **menus(), **scene.traits()}
    label = scene.evidence.classifier.labels[scene.target]
    return alone(f"{label} · {scene.name}", traits, assets.esm("cam/explorer.js"), assets.css())


def _usual(scene: Scene) -> dict[str, Any]:
    """The view's traits where nobody chose others."""
    return {
        **{name: value for group in ("how", "show") for name, value in DEFAULTS[group].items()},
        "gradient": scene.method.gradient,
        "stages": scene.defaults,
    }


def _fixed(scene: Scene) -> dict[str, Any]:
    """Traits that only a kernel could change."""
    network = scene.evidence.classifier.name
    return {
        "_still": True,
        "_status": {"state": "idle"},
        "_defaults": DEFAULTS,
        "_pictures": [{"value": scene.name, "text": scene.name}],
        "_networks": [{"value": network, "text": network}],
        "_labels": [],
        "_channel": {},
        "picture": scene.name,
        "network": network,
        "method": scene.method.name,
        "target": scene.target,
        "channel_stage": "",
        "channel_rank": 0,
        "reason": "",
        "code": "",
    }


def bundle_zip(explanation: Explanation) -> bytes:
    """What `Explanation.save` writes, as one ZIP file."""
    buffer = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(explanation.save(Path(folder) / "explanation").iterdir()):
            archive.write(path, f"explanation/{path.name}")
    return buffer.getvalue()


def file_name(scene: Scene, ending: str) -> str:
    """picture-class-method.ending, in letters, digits and dashes."""
    label = scene.evidence.classifier.labels[scene.target]
    parts = (Path(scene.name).stem, label, scene.method.title)
    return "-".join(re.sub(r"\W+", "_", part).strip("_")[:40] for part in parts) + f".{ending}"
