"""How good a map is: tests with a formula, a source, a unit and a direction; and running them over data sets."""

from __future__ import annotations

from .forecasting import Forecast, forecast
from .measure import Measure, Result, measures
from .report import Report
from .results import Results, ResultsError
from .runner import evaluate
from .work import Stopped

__all__ = [
    "Forecast", "Measure", "Report", "Result", "Results", "ResultsError", "Stopped", "evaluate", "forecast", "measures",
]  # fmt: skip
