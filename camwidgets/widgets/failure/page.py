"""A failure's investigation as one page of HTML: pictures, bars, channels, trees, the log; nothing beside it."""

from __future__ import annotations

import base64
import html
import io
from typing import Any

import numpy as np
from PIL import Image

from ...figures.tree_svg import tree_svg
from .case import Case
from .words import blame_words, effect_words, log_words, trees_words

STYLE = """body { font: 14px/1.4 system-ui, sans-serif; color: #212121; background: #fff; max-width: 1240px;
margin: 24px auto; padding: 0 16px; } h1 { font-size: 20px; } h2 { font-size: 15px; margin: 32px 0 8px; }
figure { margin: 0; } .row { display: flex; flex-wrap: wrap; gap: 24px; align-items: flex-start; }
img.big { width: 320px; } table { border-collapse: collapse; } td, th { padding: 2px 12px 2px 0; text-align: left; }
td.n { text-align: right; font-variant-numeric: tabular-nums; } .tree { overflow: auto; max-width: 600px; }
.quiet { color: #616161; } svg { height: auto; }"""
HEAD = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" '
    "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\"><title>{title}</title><style>"
    + STYLE.replace("{", "{{").replace("}", "}}")
    + "</style><body>"
)


def case_page(case: Case, stage: str) -> str:
    """The page of one case: what stands there follows from picture, network and log, and from nothing else."""
    d, labels, edits = case.decided, case.classifier.labels, case.edits
    title = f"{d.id}: {labels[d.label]}" + ("" if d.right else f" taken for {labels[d.predicted]}")
    effect = effect_words(case, edits)
    parts = [
        HEAD.format(title=_(title)), f"<h1>{_(title)}</h1>",
        f'<p class="quiet">{_(case.classifier.name)} · weights {case.classifier.weights_hash()[:12]}… · camwidgets</p>',
        '<div class="row">', _figure(edits.original, "as it was"),
        _figure(edits.picture, "changed") if edits.log else "", _bars(effect), "</div>",
        _log(case), _blame(case, stage), _trees(case),
    ]  # fmt: skip
    return "\n".join(part for part in parts if part) + "\n</body></html>\n"


def _(text: Any) -> str:
    return html.escape(str(text))


def _figure(picture: np.ndarray, caption: str) -> str:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    source = base64.b64encode(buffer.getvalue()).decode("ascii")
    alt = _(caption)
    image = f'<img class="big" alt="{alt}" src="data:image/png;base64,{source}">'
    return f"<figure>{image}<figcaption>{alt}</figcaption></figure>"


def _bars(effect: dict[str, Any]) -> str:
    rows = "".join(
        f'<tr><td>{_(one["label"])}</td><td class="n">{one["before"]:.1%}</td>'
        f'<td class="n">{one["after"]:.1%}</td></tr>'
        for one in effect["bars"]
    )
    said = f"{effect['before']} → {effect['after']}" if effect["flipped"] else f"stays {effect['after']}"
    return f"<div><p>{_(said)}</p><table><tr><th>class</th><th>before</th><th>after</th></tr>{rows}</table></div>"


def _log(case: Case) -> str:
    steps = "".join(f"<li>{_(one['text'])}</li>" for one in log_words(case)[1:] if one["state"] != "undone")
    return f"<h2>What was done</h2><ol>{steps}</ol>" if steps else ""


def _blame(case: Case, stage: str) -> str:
    try:
        rows = blame_words(case, stage)["rows"]
    except (ValueError, RuntimeError, KeyError):
        return ""
    head = "<tr><th></th><th>channel</th><th>name</th><th>for it</th><th>for its own class</th><th></th></tr>"
    body = "".join(
        f'<tr><td><img alt="" src="{row["thumb"]}"></td><td>{_(row["stage"])} #{row["channel"]}</td>'
        f'<td>{_(row["name"])}</td><td class="n">{row["taken"]:+.2f}</td><td class="n">{row["own"]:+.2f}</td>'
        f"<td>{'off' if row['off'] else ''}</td></tr>"
        for row in rows
    )
    own, taken = case.classifier.labels[case.own], case.classifier.labels[case.taken]
    return f"<h2>Channels that speak for {_(taken)} rather than {_(own)}</h2><table>{head}{body}</table>"


def _trees(case: Case) -> str:
    try:
        diff = case.find_diff()
    except (ValueError, RuntimeError, KeyError):
        return ""
    words = trees_words(diff, "classes", case.thumbs)
    drawn = "".join(
        f'<figure class="tree"><figcaption>{_(tree.label)}</figcaption>{tree_svg(tree, width=600)}</figure>'
        for tree in (diff.before, diff.after)
    )
    return f'<h2>Why one, why the other: {_(words["parting"])}</h2><div class="row">{drawn}</div>'
