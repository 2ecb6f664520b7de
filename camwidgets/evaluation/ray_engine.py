"""The same work on many machines: Ray Data with a pool of actors, each holding the network.

`ray start --head` on one machine and `ray start --address=…` on the others make a cluster; without one, workers are
started here. Workers send finished pictures back; only the calling process writes them down.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from ..classifiers.classifier import Classifier
from ..datasets.items import Item
from .plan import Plan
from .results import Picture, Results
from .work import work


class Evaluator:
    """One worker: holds the network, answers with finished pictures."""

    def __init__(self, classifier: Classifier, items: Sequence[Item], plan: Plan, threads: int) -> None:
        # Sums are added up in another order by another number of threads: results would differ in the last bit.
        torch.set_num_threads(threads)
        self.classifier, self.items, self.plan = classifier, items, plan
        if torch.cuda.is_available():
            self.classifier.to("cuda")

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        import pickle

        picture = work(self.classifier, self.items[int(row["item"])], self.plan, lambda keys: {})
        return {"picture": pickle.dumps(picture)}  # from our own workers only; Ray's tables hold plain values


def pictures(
    classifier: Classifier, items: Sequence[Item], plan: Plan, kept: Results, run: int, workers: int
) -> Iterator[Picture]:
    """Finished pictures as they come, in any order. A worker that dies is replaced and its picture done again.

    Pictures that this run has on record without an error are not sent out again.
    """
    import pickle

    ray = _ray()
    if isinstance(workers, bool) or int(workers) != workers or workers < 1:
        raise ValueError(f"the number of workers is a whole number, at least 1; got {workers!r}")
    done = kept.finished(run)
    todo = [i for i, item in enumerate(items) if item.id not in done]
    ours = not ray.is_initialized()
    if ours:
        ray.init(log_to_driver=False, include_dashboard=False, configure_logging=False)
    try:
        if todo:
            constructor = (ray.put(classifier), ray.put(items), plan, torch.get_num_threads())
            rows = ray.data.from_items([{"item": i} for i in todo], override_num_blocks=min(len(todo), 8 * workers))
            gpus = 1 if ray.cluster_resources().get("GPU") else 0
            found = rows.map(
                _Holder, fn_constructor_args=constructor, compute=ray.data.ActorPoolStrategy(size=int(workers)),
                num_gpus=gpus,
            )  # fmt: skip
            for row in found.iter_rows():
                yield pickle.loads(row["picture"])
    finally:
        if ours:
            ray.shutdown()


class _Holder(Evaluator):
    """An `Evaluator` whose network and pictures were put into Ray's store once, not sent with every actor."""

    def __init__(self, classifier: Any, items: Any, plan: Plan, threads: int) -> None:
        import ray

        super().__init__(ray.get(classifier), ray.get(items), plan, threads)


def _ray() -> Any:
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise ImportError("engine='ray' needs Ray: pip install 'camwidgets[ray]'") from error
    return ray
