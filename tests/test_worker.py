"""The explorers' thread: what is not wanted any more is not worked on, and no thread outlives the interpreter."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from camwidgets.widgets.worker import Ticket, Worker

SWEEP = """
import time
import camwidgets
explorer = camwidgets.AdversarialExplorer(steps=100).wait()
explorer.run()
while not explorer._progress.get("share"):
    time.sleep(0.01)
"""
TABLE = """
import time
import camwidgets
from camwidgets.datasets.toyworld import ToyWorld
explorer = camwidgets.FailureExplorer("toy-shortcut", ToyWorld(seed=5, n=100_000, context="swap"))
while not explorer._progress["table"].get("done"):
    time.sleep(0.01)
"""


@pytest.mark.parametrize("script", [SWEEP, TABLE], ids=["sweep", "table"])
def test_a_script_that_ends_while_an_explorer_works_ends_well(script: str) -> None:
    run = subprocess.run(  # noqa: PLW1510 - its own words are shown below
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=600
    )
    assert run.returncode == 0, run.stderr
    assert not run.stderr


def test_an_event_is_set_once_its_answer_is_not_wanted() -> None:
    began, ended = threading.Event(), threading.Event()
    worker: Worker[threading.Event]

    def work(stop: threading.Event, ticket: Ticket) -> None:
        ticket.stops(stop)
        began.set()
        if stop.wait(60):
            ended.set()

    worker = Worker(work)
    worker.submit(threading.Event())
    assert began.wait(60)
    worker.close(60)
    assert ended.is_set()


def test_an_event_of_a_job_that_was_dropped_before_is_set_at_once() -> None:
    ticket, event = Ticket(), threading.Event()
    ticket.drop()
    ticket.stops(event)
    assert event.is_set()
