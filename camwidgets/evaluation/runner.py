"""`evaluate`: methods × tests over a data set, on this machine or on many."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from ..classifiers.classifier import Classifier
from ..classifiers.given import check_classifier
from ..datasets.items import Item, Items
from ..datasets.labels import match_labels
from ..errors import choose
from .plan import Methods, Plan, digest, make_plan
from .randomisation import Copies
from .report import Report
from .results import Picture, Results
from .work import Stopped, work

ENGINES = ("local", "ray")
Progress = Callable[[float, float], None]
Stop = Callable[[], bool]


def evaluate(
    classifier: Classifier,
    dataset: Any,
    methods: Methods = ("layercam", "gradcam"),
    tests: Any = ("insertion-deletion",),
    *,
    target: str = "label",
    fit: str | None = "squash",
    limit: int | None = None,
    seed: int = 0,
    results: str | Path | Results | None = None,
    engine: str = "local",
    workers: int = 2,
    batch: int | None = None,
    progress: bool | Progress = True,
    stop: Stop | None = None,
) -> Report:
    """How good are maps? Every method's map of every picture goes through every test.

    Args:
        classifier: from `load` or `wrap`.
        dataset: a folder, an annotation file, a torchvision data set, a toy world, or `datasets.Items`.
        methods: names of `camwidgets.methods()`, or `{title: {"method": name, option of explain: value, …}}`;
            "centre", "whole" and "random" are baselines that know nothing of the picture. A `Method` of your own is
            taken too, and recorded under its name and a hash of its function (`identity.method_hash`).
        tests: names of `camwidgets.measures()`, or `{name: {parameter: value}}`.
        target: "label": the data set's class is explained; "predicted": the network's first answer.
        fit: "squash": the network is shown the whole picture; "crop": its middle; None: the classifier's own way.
        limit: so many pictures, drawn by chance (`seed`) and balanced over classes.
        results: a file that keeps every outcome: what is there already is not computed again, and a run that was
            broken off goes on. None: nothing is kept.
        engine: "local", or "ray" (`workers` processes, on this machine or on a cluster that `ray start` made).
        batch: pictures a pass. progress: a bar with the time left, or called with (done, total) pictures; whatever
            it raises ends the work, and what is done is kept.
        stop: asked between two passes through the network, such as `threading.Event().is_set`: when it says True the
            work ends with `Stopped`. The picture in work is not recorded, finished ones are kept.
    Raises:
        ValueError, TypeError: something given is not valid, or the data set lacks what a test needs: told before
            anything runs. ResultsError: the file of results cannot be used. Stopped: `stop` said so.

    Example:
        >>> import camwidgets
        >>> world = camwidgets.datasets.toyworld.ToyWorld(seed=1, n=4)
        >>> report = evaluate(camwidgets.load("toy"), world, ["gradcam", "centre"], ["energy"], progress=False)
        >>> list(report.table().index)
        ['Grad-CAM', 'centre']
    """
    check_classifier(classifier, "evaluate")
    choose("engine", engine, ENGINES)
    plan = make_plan(classifier, methods, tests, target=target, fit=fit, batch=batch, seed=seed)
    items = _items(dataset)
    items = items if limit is None else items.limit(limit, seed)
    items = checked(classifier, items, plan)
    if engine == "ray":
        from .ray_engine import check

        check(plan, workers)
    with ExitStack() as stack:
        kept = results if isinstance(results, Results) else stack.enter_context(Results(results or ":memory:"))
        run = kept.start(request(classifier, items, plan, limit), {"source": items.origin})
        report = stack.enter_context(_reporting(progress, len(items)))
        done = 0
        try:
            for picture in _pictures(classifier, items, plan, kept, engine, workers, stop):
                kept.add(run, picture)
                done += 1
                report(done, len(items))
        except BaseException:
            kept.finish(run, "cancelled")
            raise
        kept.finish(run)
        return Report.of(kept, run)


def checked(classifier: Classifier, items: Items, plan: Plan) -> Items:
    """The items with class indices for labels; a ValueError if the data set lacks what is needed."""
    if "boxes" in plan.needs and not items.has_boxes:
        raise ValueError(f"{_asking(plan, 'boxes')} needs boxes; {items.name} has none")
    if "mask" in plan.needs and not items.has_masks:
        raise ValueError(f"{_asking(plan, 'mask')} needs masks; {items.name} has none")
    try:
        found = match_labels(items, classifier)
    except ValueError as error:
        if plan.target == "predicted":
            return items
        raise ValueError(f"{error}; target='predicted' needs no labels") from None
    if not found and plan.target == "label":
        raise ValueError(f"{items.name} has no labels; with target='predicted' none are needed")
    return items.relabelled(found)


def request(classifier: Classifier, items: Items, plan: Plan, limit: int | None) -> dict[str, Any]:
    """What a run is identified by: the same request goes on with its run."""
    listed = digest([(item.id, str(item.label), item.boxes) for item in items])
    about = {"model": classifier.name, "weights_sha256": classifier.weights_hash(anew=True), "data": items.name}
    return about | {"pictures": len(items), "limit": limit, "listed": listed, **plan.as_dict()}


def _asking(plan: Plan, need: str) -> str:
    names = [measure.name for measure, _ in plan.tests if need in measure.needs]
    return f"the test {names[0]!r}" if len(names) == 1 else f"each of the tests {', '.join(map(repr, names))}"


def _items(dataset: Any) -> Items:
    if isinstance(dataset, Items):
        return dataset
    from ..datasets import open_dataset

    return open_dataset(dataset)


def _pictures(
    classifier: Classifier, items: Sequence[Item], plan: Plan, kept: Results, engine: str, workers: int,
    stop: Stop | None,
) -> Iterator[Picture]:  # fmt: skip
    """One finished picture after the other, in whatever order."""
    if engine == "ray":
        from .ray_engine import pictures

        yield from pictures(classifier, items, plan, kept, workers, stop)
        return

    def hear() -> None:
        if stop is not None and stop():
            raise Stopped("the evaluation was stopped")

    copies = Copies(classifier)
    for item in items:
        yield work(classifier, item, plan, kept.known, copies, hear)


class _Bar:
    """tqdm's bar as a progress function and a context manager."""

    def __init__(self, total: int) -> None:
        from tqdm.auto import tqdm

        self.bar = tqdm(total=total, unit="picture", disable=None)

    def __enter__(self) -> Progress:
        return lambda done, total: (self.bar.update(done - self.bar.n), None)[1]

    def __exit__(self, *_: object) -> None:
        self.bar.close()


def _reporting(progress: bool | Progress, total: int) -> Any:
    from contextlib import nullcontext

    if progress is True:
        return _Bar(total)
    return nullcontext((lambda done, total: None) if progress is False else progress)
