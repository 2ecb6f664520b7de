"""A map over its picture as one HTML page that works alone, with a slider for the map's opacity."""

from __future__ import annotations

import base64
import html
import io

import numpy as np
from PIL import Image

from .overlay import overlay

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:">
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: min(92vw, 40em); }}
.pair {{ position: relative; }} img {{ width: 100%; display: block; image-rendering: pixelated; }}
#map {{ position: absolute; inset: 0; opacity: .6; }} label {{ display: flex; gap: 1em; margin-top: 1em; }}
input {{ flex: 1; }}
</style></head><body>
<h1 style="font-size: 1.3em">{title}</h1>
<div class="pair"><img src="{picture}" alt="the picture"><img id="map" src="{colours}" alt="its map"></div>
<label>opacity of the map<input id="opacity" type="range" min="0" max="1" step="0.01" value="0.6"></label>
<p>{caption}</p>
<script>
const map = document.getElementById("map");
document.getElementById("opacity").addEventListener("input", e => {{ map.style.opacity = e.target.value; }});
</script></body></html>
"""


def overlay_page(
    picture: np.ndarray, values: np.ndarray, title: str, caption: str = "", colormap: str = "inferno"
) -> str:
    """The page of a map (H×W in [0, 1]) over its picture (H×W×3 uint8); it holds everything and makes no request.

    Example:
        >>> overlay_page(np.zeros((4, 4, 3), np.uint8), np.ones((4, 4), np.float32), "<cat>")[:15]
        '<!doctype html>'
    """
    colours = overlay(picture, values, colormap, 1.0, blend="even")
    return _PAGE.format(
        title=html.escape(title),
        caption=html.escape(caption),
        picture=_data(Image.fromarray(picture)),
        colours=_data(colours),
    )


def _data(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
