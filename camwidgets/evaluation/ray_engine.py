"""The same work on many machines: Ray Data with a pool of actors, each holding the network.

`ray start --head` on one machine and `ray start --address=…` on the others make a cluster; without one, workers are
started here. Workers send finished pictures back; only the calling process writes them down.
"""

from __future__ import annotations

import logging
import pickle
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from ..classifiers.classifier import Classifier
from ..datasets.items import Item
from .plan import Plan
from .results import Outcome, Picture, Results
from .work import work

BLOCKS = 8  # pieces of work a worker gets, one after the other: what a killed worker loses is one of them

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

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        picture = work(self.classifier, self.items[int(row["item"])], self.plan, self.known)
        return {"picture": pickle.dumps(picture)}  # comes from our own workers only; Ray's tables hold plain values


    def known(self, keys: list[str]) -> dict[str, Outcome]:
        """What is on record already."""
        import ray

        found: dict[str, Outcome] = {} if self.record is None else ray.get(self.record.known.remote(keys))
        return found


class Record:
    """Answers for the file of results, on the machine where it lies."""

    def __init__(self, path: str) -> None:
        self.results = Results(path)

    def known(self, keys: list[str]) -> dict[str, Outcome]:
        return self.results.known(keys)


def pictures(
    classifier: Classifier, items: Sequence[Item], plan: Plan, kept: Results, workers: int
) -> Iterator[Picture]:
    """Finished pictures as they come, in any order. A worker that dies is replaced and its picture done again."""
    ray = _ray()
    if isinstance(workers, bool) or int(workers) != workers or workers < 1:
        raise ValueError(f"the number of workers is a whole number, at least 1; got {workers!r}")
    with _cluster(ray), _quiet(ray):
        store = [ray.put(classifier), ray.put(items)]
        blocks = min(len(items), BLOCKS * int(workers))
        rows = ray.data.from_items([{"item": i} for i in range(len(items))], override_num_blocks=blocks)
        found = rows.map(
            Evaluator, fn_constructor_args=(store, plan, _record(ray, kept), torch.get_num_threads()),
            compute=ray.data.ActorPoolStrategy(size=int(workers)),
            num_gpus=1 if ray.cluster_resources().get("GPU") else 0,
        )  # fmt: skip
        for row in found.iter_rows():
            yield pickle.loads(row["picture"])


def _record(ray: Any, kept: Results) -> Any:
    """A `Record` here, where the file is; None for results in memory."""
    if kept.path == ":memory:":
        return None
    here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
        ray.get_runtime_context().get_node_id(), soft=False
    )
    return ray.remote(Record).options(num_cpus=0, scheduling_strategy=here).remote(str(kept.path))


@contextmanager
def _cluster(ray: Any) -> Iterator[None]:
    """The cluster that is there, or workers of our own that end with the work."""
    ours = not ray.is_initialized()
    if ours:
        ray.init(log_to_driver=False, include_dashboard=False, logging_level=logging.ERROR)
    try:
        yield
    finally:
        if ours:
            ray.shutdown()


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
