"""A view as one HTML page that works without a kernel."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Mapping
from typing import Any

from . import assets

_DEFAULT_EXPORT = "export default { render };"


def alone(title: str, traits: Mapping[str, Any], esm: str, css: str) -> str:
    """A page that works without a kernel: a widget's front end, with these traits (bytes included) in its place."""
    return _PAGE.format(
        policy="default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:",
        title=html.escape(title),
        style=css + assets.part("page.css"),
        traits=safe_json({name: _packed(value) for name, value in traits.items()}),
        code=esm.replace(_DEFAULT_EXPORT, "") + assets.part("page.js"),
    )


def _packed(value: Any) -> Any:
    return {"$bytes": base64.b64encode(value).decode()} if isinstance(value, bytes) else value


def safe_json(value: Any) -> str:
    """JSON that may stand inside a script element: no label can end it."""
    return json.dumps(value).replace("<", "\\u003c")


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{title}</title>
<style>
{style}
</style>
</head>
<body>
<main id="explorer"></main>
<script type="application/json" id="traits">{traits}</script>
<script type="module">
{code}
</script>
</body>
</html>
"""
