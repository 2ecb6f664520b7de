"""What an evaluation found: tables with intervals, paired comparisons, figures, files."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import choose, unknown
from .measure import Result, find_measure, mean, stacked
from .results import Results, Run
from .statistics import interval

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

    from .comparison import Comparison

CONFIDENCE = (0.0, 0.5, 0.9, 0.99, 0.999, 1.0)  # edges of p_c; [002] 3.3.4 has eleven such groups


@dataclass(frozen=True)
class Report:
    """The outcomes of one run.

    Attributes:
        run: what was asked, when, and how it ended. rows: one a picture, method and test. skipped: picture → why.

    Example:
        >>> import camwidgets
        >>> world = camwidgets.datasets.toyworld.ToyWorld(seed=1, n=6)
        >>> toy = camwidgets.load("toy")
        >>> report = camwidgets.evaluate(toy, world, ["layercam", "random"], ["energy"], progress=False)
        >>> bool(report.table().loc["LayerCAM", "energy"] > report.table().loc["random", "energy"])
        True
    """

    run: Run
    rows: tuple[dict[str, Any], ...] = field(repr=False)
    skipped: dict[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, results: Results, run: int) -> Report:
        """The report of a run in an open file of results."""
        return cls(results.run(run), tuple(results.rows(run)), results.skipped(run))

    @classmethod
    def open(cls, path: str | Path, run: int | None = None) -> Report:
        """The report of a run on record; None = the newest."""
        if not Path(path).expanduser().is_file():
            raise FileNotFoundError(f"there is no file of results at {str(path)!r}")
        with Results(path) as results:
            runs = results.runs()
            if not runs:
                raise ValueError(f"{str(path)!r} holds no run yet")
            return cls.of(results, runs[0].id if run is None else run)

    # ------------------------------------------------------------------ what there is

    @property
    def methods(self) -> list[str]:
        """Titles, in the order in which they were asked for."""
        return list(self.run.request["methods"])

    @cached_property
    def results(self) -> dict[str, tuple[str, Result]]:
        """Name → (test, `Result`), in the order of the tests."""
        tests = [find_measure(name) for name in self.run.request["tests"]]
        return {result.name: (test.name, result) for test in tests for result in test.results}

    @property
    def pictures(self) -> int:
        """Pictures that were evaluated."""
        return len({row["item"] for row in self.rows})

    @property
    def errors(self) -> pd.DataFrame:
        """What failed: item, method, test, error."""
        import pandas as pd

        failed = [{k: row[k] for k in ("item", "method", "test", "error")} for row in self.rows if row["error"]]
        return pd.DataFrame(failed, columns=["item", "method", "test", "error"])

    def values(self, method: str, result: str) -> tuple[list[str], np.ndarray, np.ndarray]:
        """(pictures, values N or N × thresholds, classes as numbers) of one method for one result."""
        test, about = self._result(result)
        choose("method of this report", method, self.methods)
        rows = [r for r in self._of.get((method, test), ()) if r["values"] is not None]
        classes = np.array([self._classes[row["label"]] for row in rows], int)
        return [row["item"] for row in rows], stacked([row["values"][about.key] for row in rows]), classes

    # ------------------------------------------------------------------ tables

    def table(self, results: Sequence[str] | None = None) -> pd.DataFrame:
        """Methods × results: the number for the data set."""
        cells = {}
        for method in self.methods:
            for name in results or list(self.results):
                _, values, labels = self.values(method, name)
                cells[method, name] = self._result(name)[1].aggregate(values, labels) if len(values) else float("nan")
        return self._frame(results, cells)

    def counts(self, results: Sequence[str] | None = None) -> pd.DataFrame:
        """Over how many pictures each number of `table` is: a method may have failed on some."""
        names = results or list(self.results)
        return self._frame(names, {(m, name): len(self.values(m, name)[0]) for m in self.methods for name in names})

    def intervals(self, results: Sequence[str] | None = None) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Lower and upper ends of the 95 % bootstrap intervals, as `table` is laid out."""
        ends = {(m, name): self._interval(m, name) for m in self.methods for name in results or list(self.results)}
        return self._frame(results, {key: low for key, (low, _) in ends.items()}), self._frame(
            results, {key: high for key, (_, high) in ends.items()}
        )

    def cost(self) -> pd.DataFrame:
        """Per method, means over pictures: seconds, forward and backward passes for one map."""
        import pandas as pd

        found = {}
        for method in self.methods:
            rows = {row["item"]: row for row in self.rows if row["method"] == method and row["error"] is None}
            count = max(len(rows), 1)
            found[method] = {
                name: sum(row[name] for row in rows.values()) / count for name in ("seconds", "forward", "backward")
            }
        return pd.DataFrame.from_dict(found, orient="index")

    def paired(self, a: str, b: str, results: Sequence[str] | None = None) -> pd.DataFrame:
        """a − b on the same pictures: n of them, difference, 95 % interval, which is better.

        "" is said where the interval holds 0, or the pictures are fewer than `statistics.FEWEST`; NaN where the two
        have no picture in common.
        """
        from .comparison import pair

        return pair(self, a, b, results)

    def against(self, other: Report) -> Comparison:
        """This run − another one: what was asked differently, and each number's difference on the pictures of both.

        Raises:
            ValueError: the two have no method, or no result, in common.

        Example:
            >>> import camwidgets
            >>> world = camwidgets.datasets.toyworld.ToyWorld(seed=1, n=6)
            >>> nets = camwidgets.load("toy-shortcut"), camwidgets.load("toy")
            >>> old, new = (camwidgets.evaluate(n, world, ["layercam"], ["energy"], progress=False) for n in nets)
            >>> new.against(old).settings["setting"].tolist()
            ['network', 'weights']
        """
        from .comparison import compare

        return compare(other, self)

    def by_confidence(self, result: str, edges: Sequence[float] = CONFIDENCE) -> pd.DataFrame:
        """Methods × groups of pictures by p_c, the network's probability of the class ([002] 3.3.4)."""
        import pandas as pd

        about = self._result(result)[1]
        sure = {row["item"]: row["probability"] for row in self.rows}
        found: dict[str, dict[str, float]] = {}
        for method in self.methods:
            items, values, labels = self.values(method, result)
            p = np.array([sure[item] for item in items])
            found[method] = {}
            for low, high in itertools.pairwise(edges):
                here = (p >= low) & ((p < high) | (high == edges[-1]))
                name = f"{low:g}–{high:g} (n={int(here.sum())})"
                found[method][name] = about.aggregate(values[here], labels[here]) if here.any() else float("nan")
        return pd.DataFrame.from_dict(found, orient="index")

    def steps(self, result: str) -> list[str]:
        """What the entries of a result's curve are called ("head", "S5", …); [] for a result that has no curve."""
        test, about = self._result(result)
        if not about.steps:
            return []
        first = next((r["values"] for r in self.rows if r["test"] == test and r["values"] is not None), None)
        return list(first[about.steps]) if first else []

    def by_step(self, result: str) -> pd.DataFrame:
        """The curve of a result, such as "cascading-mean" over the groups of layers: one row a method and step.

        Columns: method, step, value (mean over pictures), low, high (95 % bootstrap interval). Empty if it has none.
        """
        import pandas as pd

        rows = []
        for method in self.methods if self.steps(result) else ():
            _, values, classes = self.values(method, result)
            for i, step in enumerate(self.steps(result) if len(values) else ()):
                low, high = interval(values[:, i], classes, mean)
                rows.append((method, step, float(values[:, i].mean()), low, high))
        return pd.DataFrame(rows, columns=["method", "step", "value", "low", "high"])

    # ------------------------------------------------------------------ to look at and to keep

    def to_text(self) -> str:
        """The table with intervals, the cost and what failed, as text."""
        from .layout import as_text

        return as_text(self)

    def __str__(self) -> str:
        return self.to_text()

    def _repr_html_(self) -> str:
        from .layout import as_html_table

        return as_html_table(self)

    def figure(self, result: str | None = None) -> go.Figure:
        """Each method's number with its interval, best first; the first result if none is named.

        A result with a curve ("cascading-mean": one value a group of layers) is drawn as one line a method.
        """
        from ..figures.report import curves, ranking
        from .layout import cell

        name = result or next(iter(self.results))
        about = self._result(name)[1]
        if self.steps(name):
            return curves(self.by_step(name), f"{name}: {about.title}", about.arrow, about.better, self.pictures)
        (low, high), middle = self.intervals([name]), self.table([name])
        counts = self.counts([name])
        titles = {m: m if (n := int(cell(counts, m, name))) == self.pictures else f"{m} (n={n})" for m in self.methods}
        lines = [(titles[m], cell(middle, m, name), cell(low, m, name), cell(high, m, name)) for m in self.methods]
        return ranking(lines, f"{name}: {about.title}", about.arrow, about.better, self.pictures)

    def to_frame(self) -> pd.DataFrame:
        """One row a picture, method and result: item, label, probability, method, test, result, value."""
        import pandas as pd

        rows = []
        for row in self.rows:
            for name, (test, about) in self.results.items():
                if test == row["test"] and row["values"] is not None:
                    head = {key: row[key] for key in ("item", "label", "probability", "method", "test")}
                    rows.append(head | {"result": name, "value": row["values"][about.key]})
        columns = ["item", "label", "probability", "method", "test", "result", "value"]
        return pd.DataFrame(rows, columns=columns)

    def to_csv(self, path: str | Path) -> Path:
        """`to_frame` as a CSV file; a cell that a spreadsheet would take for a formula is quoted."""
        frame = self.to_frame()
        for name in ("item", "label", "method"):
            frame[name] = [f"'{text}" if str(text)[:1] in "=+-@\t\r" else text for text in frame[name]]
        path = Path(path).expanduser()
        frame.to_csv(path, index=False)
        return path

    def to_html(self, path: str | Path) -> Path:
        """A page that needs nothing beside it: request, table, figures, comparisons, failures."""
        from .layout import as_page

        path = Path(path).expanduser()
        path.write_text(as_page(self), encoding="utf-8")
        return path

    # ------------------------------------------------------------------ inside

    @cached_property
    def _of(self) -> dict[tuple[str, str], list[dict[str, Any]]]:
        found: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for row in self.rows:
            found.setdefault((row["method"], row["test"]), []).append(row)
        return found

    @cached_property
    def _classes(self) -> dict[str, int]:
        return {label: i for i, label in enumerate(sorted({row["label"] for row in self.rows}))}

    @cached_property
    def _intervals(self) -> dict[tuple[str, str], tuple[float, float]]:
        """What was computed so far: one of each method and result."""
        return {}

    def _interval(self, method: str, name: str) -> tuple[float, float]:
        if (method, name) not in self._intervals:
            _, values, classes = self.values(method, name)
            self._intervals[method, name] = interval(values, classes, self._result(name)[1].aggregate)
        return self._intervals[method, name]

    def _result(self, name: str) -> tuple[str, Result]:
        if name not in self.results:
            raise unknown("result of this report", name, self.results)
        return self.results[name]

    def _frame(self, results: Iterable[str] | None, cells: Mapping[tuple[str, str], float]) -> pd.DataFrame:
        import pandas as pd

        names = list(results or self.results)
        return pd.DataFrame([[cells[m, n] for n in names] for m in self.methods], index=self.methods, columns=names)
