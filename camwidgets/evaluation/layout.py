"""A report as text, as a table for notebooks, and as a page of its own."""

from __future__ import annotations

import json
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

    from .report import Report

MOST_FIGURES = 12
_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1080px; margin: 24px auto; padding: 0 16px; }
table { border-collapse: collapse; margin: 8px 0 24px; font-variant-numeric: tabular-nums; }
th, td { padding: 4px 12px; text-align: right; border-bottom: 1px solid #8884; }
th:first-child, td:first-child { text-align: left; }
.cw-range { opacity: .65; font-size: 85%; white-space: nowrap; }
.cw-scroll { overflow-x: auto; }
pre { overflow: auto; padding: 8px; border: 1px solid #8884; border-radius: 4px; }
"""


def as_text(report: Report) -> str:
    """Table with intervals, cost, failures."""
    low, high = report.intervals()
    middle, counts = report.table(), report.counts()
    head = ["method", *[f"{name} {about.arrow}" for name, (_, about) in report.results.items()], "s/map", "passes"]
    rows = [head]
    cost = report.cost()
    for method in report.methods:
        cells = [
            "{} [{}, {}]".format(*(_number(cell(frame, method, name)) for frame in (middle, low, high)))
            + _over(report, counts, method, name)
            for name in report.results
        ]
        passes = cell(cost, method, "forward") + cell(cost, method, "backward")
        rows.append([method, *cells, f"{cell(cost, method, 'seconds'):.3f}", f"{passes:.0f}"])
    curved = [line for table in _curves(report) for line in ["", *_aligned(table)]]
    return "\n".join([_headline(report), "", *_aligned(rows), *curved, "", *_troubles(report)]).rstrip()


def _aligned(rows: list[list[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _curves(report: Report) -> list[list[list[str]]]:
    """Tables of what has a curve: methods × steps, one for each quantity that is drawn over them."""
    found: list[list[list[str]]] = []
    seen: set[tuple[str, str]] = set()
    for name, (test, about) in report.results.items():
        if not report.steps(name) or (test, about.key) in seen:
            continue
        seen.add((test, about.key))
        steps = report.steps(name)
        wide = report.by_step(name).pivot(index="method", columns="step", values="value")
        wide = wide.reindex(index=report.methods, columns=steps)
        rows = [[m, *(_number(cell(wide, m, step)) for step in steps)] for m in report.methods]
        found.append([[f"{test}, {about.key} {about.arrow}", *steps], *rows])
    return found


def as_html_table(report: Report) -> str:
    """The table with intervals; the best of each column, of those over all pictures, is set in bold."""
    low, high = report.intervals()
    middle, counts = report.table(), report.counts()
    leading = {name: _leading(report, middle, counts, name) for name in report.results}
    heads = "".join(
        f'<th title="{escape(about.title)} ({escape(about.unit)})">{escape(name)} {about.arrow}</th>'
        for name, (_, about) in report.results.items()
    )
    rows = []
    cost = report.cost()
    for method in report.methods:
        cells = "".join(
            _cell(
                [cell(frame, method, name) for frame in (middle, low, high)],
                _over(report, counts, method, name),
                leads=leading[name] == method,
            )
            for name in report.results
        )
        passes = cell(cost, method, "forward") + cell(cost, method, "backward")
        rows.append(
            f"<tr><td>{escape(method)}</td>{cells}<td>{cell(cost, method, 'seconds'):.3f}</td>"
            f"<td>{passes:.0f}</td></tr>"
        )
    troubles = "".join(f"<li>{escape(line)}</li>" for line in _troubles(report))
    return (
        f"<style>.cw-range{{opacity:.65;font-size:85%;white-space:nowrap}}</style>"
        f"<p>{escape(_headline(report))}</p><div class='cw-scroll'><table><thead><tr><th>method</th>{heads}"
        f"<th>s/map</th><th>passes</th></tr></thead><tbody>{''.join(rows)}</tbody></table>"
        f"{''.join(map(_plain_table, _curves(report)))}</div>"
        f"<p class='cw-range'>Below each number its 95 % interval (bootstrap over pictures); ↑ more is better, "
        f"↓ less is better.</p><ul>{troubles}</ul>"
    )


def _plain_table(rows: list[list[str]]) -> str:
    head, *body = [[escape(text) for text in row] for row in rows]
    heads = "".join(f"<th>{text}</th>" for text in head)
    lines = "".join(f"<tr>{''.join(f'<td>{text}</td>' for text in row)}</tr>" for row in body)
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{lines}</tbody></table>"


def _leading(report: Report, middle: pd.DataFrame, counts: pd.DataFrame, name: str) -> str | None:
    """The best method of a column; a mean over fewer pictures is another number, and leads nothing."""
    better = report.results[name][1].better
    whole = [m for m in report.methods if cell(counts, m, name) == counts[name].max() and cell(counts, m, name) > 0]
    whole = [m for m in whole if not np.isnan(cell(middle, m, name))]
    return max(whole, key=lambda m: better * cell(middle, m, name), default=None)


def _over(report: Report, counts: pd.DataFrame, method: str, name: str) -> str:
    """ (n=…) where a number is not over all pictures."""
    n = int(cell(counts, method, name))
    return "" if n in (0, report.pictures) else f" (n={n})"


def _cell(numbers: list[float], over: str, *, leads: bool) -> str:
    value, low, high = numbers
    number = f"<b>{_number(value)}</b>" if leads else _number(value)
    return f'<td>{number}{over}<br><span class="cw-range">{_number(low)} … {_number(high)}</span></td>'


def as_page(report: Report) -> str:
    """A whole page: nothing is fetched, and every text in it is escaped."""
    figures = [report.figure(name) for name in list(report.results)[:MOST_FIGURES]]
    drawn = "".join(
        figure.to_html(full_html=False, include_plotlyjs=i == 0, config={"displayModeBar": False})
        for i, figure in enumerate(figures)
    )
    first = report.methods[0]
    signed = "{:+.3f}".format
    pairs = "".join(
        f"<h3>{escape(first)} − {escape(other)}</h3>{report.paired(first, other).to_html(float_format=signed)}"
        for other in report.methods[1:]
    )
    asked = escape(json.dumps(report.run.request, indent=1, ensure_ascii=False))
    return (
        f"<!doctype html><html lang='en'><head><meta charset='utf-8'><title>camwidgets: evaluation</title>"
        f"<style>{_STYLE}</style></head><body><h1>How good are these maps?</h1>{as_html_table(report)}"
        f"<h2>Figures</h2>{drawn}<h2>On the same pictures</h2>{pairs}"
        f"<h2>What was asked</h2><pre>{asked}</pre></body></html>"
    )


def _headline(report: Report) -> str:
    about = report.run.request
    return (
        f"{about['model']} on {about['data']}: {report.pictures} of {about['pictures']} pictures, "
        f"{'the given class' if about['target'] == 'label' else 'the predicted class'}, run {report.run.id} "
        f"of {report.run.made}, {report.run.state}{_origin(about.get('source') or {})}"
    )


def _origin(source: dict[str, Any]) -> str:
    """Where the pictures come from, if that is known."""
    if "source" not in source:
        return ""
    options = ", ".join(f"{name}={value}" for name, value in source.get("options", {}).items())
    return f"; pictures: {source['source']}{f' ({options})' if options else ''}"


def _troubles(report: Report) -> list[str]:
    lines = [f"skipped {item}: {reason}" for item, reason in list(report.skipped.items())[:10]]
    lines += [f"… {len(report.skipped) - 10} more skipped"] if len(report.skipped) > 10 else []
    failed: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in report.rows:
        if row["error"]:
            failed.setdefault((row["method"], row["error"]), []).append(row)
    for (method, error), rows in failed.items():
        items, tests = len({row["item"] for row in rows}), len({row["test"] for row in rows})
        of = f" in {tests} tests" if tests > 1 else ""
        lines.append(f"{method} failed on {items} of {report.pictures} pictures{of}: {error}")
    return lines


def cell(frame: pd.DataFrame, row: str, column: str) -> float:
    """One number of a table."""
    value: Any = frame.at[row, column]
    return float(value)


def _number(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.3f}"
