"""A view as one HTML page that works without a kernel."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import assets

_DEFAULT_EXPORT = "export default { render };"


def alone(title: str, traits: Mapping[str, Any], esm: str, css: str) -> str:
    """A page that works without a kernel: a widget's front end, with these traits (bytes included) in its place."""
    return document(
        title, css + assets.part("page.css"), '<main id="explorer"></main>',
        {"traits": {name: _packed(value) for name, value in traits.items()}},
        esm.replace(_DEFAULT_EXPORT, "") + assets.part("page.js"), pictures="data: blob:",
    )  # fmt: skip


def document(
    title: str, css: str, body: str, data: Mapping[str, Any], code: str, pictures: str = "data:"
) -> str:  # fmt: skip
    """One HTML file that asks nothing of any network.

    Args:
        body: HTML, in which all that is not the kit's own words is escaped. data: the id of a script element → the JSON
            that stands in it. pictures: where pictures may come from, as the content security policy has it.
    """
    scripts = (f'<script type="application/json" id="{id}">{_safe_json(value)}</script>' for id, value in data.items())
    return _PAGE.format(
        title=html.escape(title), css=css, body=body, data="\n".join(scripts), code=code, pictures=pictures
    )


def written(text: str, path: str | Path | None) -> str:
    """The text; written to `path` if there is one."""
    if path is not None:
        Path(path).expanduser().write_text(text, "utf-8")
    return text


def _packed(value: Any) -> Any:
    return {"$bytes": base64.b64encode(value).decode()} if isinstance(value, bytes) else value


def _safe_json(value: Any) -> str:
    """JSON that may stand inside a script element: no label can end it."""
    return json.dumps(value).replace("<", "\\u003c")


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src {pictures}">
<title>{title}</title>
<style>
{css}
</style>
</head>
<body>
{body}
{data}
<script type="module">
{code}
</script>
</body>
</html>
"""
