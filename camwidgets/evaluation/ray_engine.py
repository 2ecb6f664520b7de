"""The same work on many machines: Ray Data with a pool of actors, each holding the network.

`ray start --head` on one machine and `ray start --address=…` on the others make a cluster; without one, workers are
started here. Workers send finished pictures back; only the calling process writes them down.
"""

from __future__ import annotations

import logging
import pickle
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from ..classifiers.classifier import Classifier
from ..datasets.items import Item
from .plan import Plan
from .randomisation import Copies
from .results import Outcome, Picture, Results
from .work import Stopped, work

BLOCKS = 8  # pieces of work a worker gets, one after the other: what a killed worker loses is one of them
STARTS = 3  # times that starting Ray is tried
OFTEN = 0.5  # seconds between two questions whether to stop


class Evaluator:
    """One worker: holds the network, answers with finished pictures.

    `store` lists what Ray's store holds of the network and the data set: put there once, not sent with every actor.
    """

    def __init__(self, store: list[Any], plan: Plan, record: Any, threads: int) -> None:
        import ray

        # Sums are added up in another order by another number of threads: results would differ in the last bit.
        torch.set_num_threads(threads)
        self.classifier, self.items = ray.get(store)
        self.plan, self.record = plan, record
        if torch.cuda.is_available():
            self.classifier.to("cuda")
        self.copies = Copies(self.classifier)
        self.stopped, self.asked = False, 0.0

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        try:
            found = work(
                self.classifier, self.items[int(row["item"])], self.plan, self.known, self.copies, self.hear
            )
        except Stopped:
            return {"picture": b""}
        return {"picture": pickle.dumps(found)}  # comes from our own workers only; Ray's tables hold plain values

    def known(self, keys: list[str]) -> dict[str, Outcome]:
        """What is on record already."""
        import ray

        found: dict[str, Outcome] = ray.get(self.record.known.remote(keys))
        return found

    def hear(self) -> None:
        """Whether to stop is asked across the network: not between any two passes, but twice a second."""
        import ray

        if not self.stopped and time.monotonic() - self.asked > OFTEN:
            self.stopped, self.asked = ray.get(self.record.stopped.remote()), time.monotonic()
        if self.stopped:
            raise Stopped("the evaluation was stopped")


class Record:
    """Answers for the file of results, on the machine where it lies; and says whether the work is to stop."""

    def __init__(self, path: str | None) -> None:
        self.results = None if path is None else Results(path)
        self.stop = False

    def known(self, keys: list[str]) -> dict[str, Outcome]:
        return {} if self.results is None else self.results.known(keys)

    def end(self) -> None:
        self.stop = True

    def stopped(self) -> bool:
        return self.stop


def check(plan: Plan, workers: int) -> None:
    """Raise now what would be raised in the middle.

    Raises:
        ImportError: Ray is not installed. ValueError: a bad number of workers, or a method that cannot be sent.
    """
    _ray()
    from ray import cloudpickle

    if isinstance(workers, bool) or int(workers) != workers or workers < 1:
        raise ValueError(f"the number of workers is a whole number, at least 1; got {workers!r}")
    for spec in plan.specs:
        try:
            cloudpickle.dumps(spec.own)
        except Exception as error:  # whatever its parts raise when they are pickled
            raise ValueError(
                f"the method {spec.title!r} cannot be sent to other processes ({error}): take a function of a module, "
                f"without open files or locks, or engine='local'"
            ) from error


def pictures(
    classifier: Classifier, items: Sequence[Item], plan: Plan, kept: Results, workers: int,
    stop: Callable[[], bool] | None = None,
) -> Iterator[Picture]:  # fmt: skip
    """Finished pictures as they come, in any order. A worker that dies is replaced and its picture done again.

    Once `stop()` says True, workers end at their next pass and leave out what is not begun; then `Stopped` is raised.
    """
    ray = _ray()
    with _cluster(ray), _quiet(ray):
        store = [ray.put(classifier), ray.put(items)]
        blocks = min(len(items), BLOCKS * int(workers))
        record = _record(ray, kept)
        rows = ray.data.from_items([{"item": i} for i in range(len(items))], override_num_blocks=blocks)
        found = rows.map(
            Evaluator, fn_constructor_args=(store, plan, record, torch.get_num_threads()),
            compute=ray.data.ActorPoolStrategy(size=int(workers)),
            num_gpus=1 if ray.cluster_resources().get("GPU") else 0,
        )  # fmt: skip
        with _watched(stop, record):
            stopped = False
            for row in found.iter_rows():
                stopped = stopped or not row["picture"]
                if row["picture"]:
                    yield pickle.loads(row["picture"])
            if stopped:
                raise Stopped("the evaluation was stopped")


@contextmanager
def _watched(stop: Callable[[], bool] | None, record: Any) -> Iterator[None]:
    """Inside, a thread asks `stop` and passes it on to the workers: who waits for their next picture cannot."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(OFTEN):
            if stop is not None and stop():
                record.end.remote()
                return

    thread = threading.Thread(target=watch, name="camwidgets-ray-stop", daemon=True)
    if stop is not None:
        thread.start()
    try:
        yield
    finally:
        over.set()
        if stop is not None:
            thread.join()


def _record(ray: Any, kept: Results) -> Any:
    """A `Record` here, where the file is."""
    here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
        ray.get_runtime_context().get_node_id(), soft=False
    )
    path = None if kept.path == ":memory:" else str(kept.path)
    return ray.remote(Record).options(num_cpus=0, scheduling_strategy=here).remote(path)


@contextmanager
def _cluster(ray: Any) -> Iterator[None]:
    """The cluster that is there, or workers of our own that end with the work."""
    ours = not ray.is_initialized()
    if ours:
        _start(ray)
    try:
        yield
    finally:
        if ours:
            ray.shutdown()


def _start(ray: Any) -> None:
    """Start Ray here. It gives its own processes 30 s to come up, which a busy machine exceeds: then once more."""
    for left in reversed(range(STARTS)):
        try:
            ray.init(log_to_driver=False, include_dashboard=False, logging_level=logging.ERROR)
            return
        except Exception as error:  # Ray raises nothing more special
            ray.shutdown()
            if not left or "timed out during startup" not in str(error):
                raise


@contextmanager
def _quiet(ray: Any) -> Iterator[None]:
    """Ray Data's own bars and execution plans would be drawn over ours."""
    context, logger = ray.data.DataContext.get_current(), logging.getLogger("ray.data")
    before = context.enable_progress_bars, logger.level
    context.enable_progress_bars = False
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        context.enable_progress_bars = before[0]
        logger.setLevel(before[1])


def _ray() -> Any:
    try:
        import ray
        import ray.data
        import ray.util.scheduling_strategies
    except ImportError as error:
        raise ImportError("engine='ray' needs Ray: pip install 'camwidgets[ray]'") from error
    return ray
