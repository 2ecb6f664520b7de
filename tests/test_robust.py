"""What a person does at a bad moment: mistakes while work goes on, weights and files that change, threads that die."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import camwidgets
from camwidgets import AdversarialExplorer, CamExplorer, Classifier, MethodComparison
from camwidgets.widgets.cam import pipeline
from camwidgets.widgets.worker import Worker
from tests.nets import Small, settled

Explorer = CamExplorer | MethodComparison | AdversarialExplorer


class Gated(Small):
    """Waits in each pass until it may go on; does what `before` does first."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.entered = threading.Event(), threading.Event()
        self.gate.set()
        self.before: Callable[[], None] = lambda: None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.entered.set()
        assert self.gate.wait(60)
        self.before()
        found: torch.Tensor = super().forward(x)
        return found


def photo(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (40, 40, 3), np.uint8))


PICTURES = {f"p{i}": photo(i) for i in range(4)}
MAKERS: dict[str, Callable[[Classifier], Explorer]] = {
    "cam": lambda c: CamExplorer(c, pictures=dict(PICTURES)),
    "comparison": lambda c: MethodComparison(c, pictures=dict(PICTURES), methods=["gradcam", "layercam"]),
    "adversarial": lambda c: AdversarialExplorer(c, pictures=dict(PICTURES), epsilons=[8 / 255], steps=1, depth=0),
}


@pytest.fixture
def net() -> Gated:
    return settled(Gated()).eval()


@pytest.fixture(params=MAKERS)
def explorer(request: pytest.FixtureRequest, net: Gated) -> Iterator[Explorer]:
    made = MAKERS[request.param](camwidgets.wrap(net, input_size=(32, 32), name="gated"))
    made.wait()
    yield made
    net.gate.set()
    made.close()


def shown(explorer: Explorer) -> str:
    return str(explorer._scene["picture"]["name"])


def working(explorer: Explorer, net: Gated, picture: str) -> None:
    """The network runs on the picture, and waits at the gate."""
    net.gate.clear()
    net.entered.clear()
    explorer.set_state({"picture": picture})
    assert net.entered.wait(60)


@pytest.mark.parametrize("mistake", ["trait", "message"])
def test_a_mistake_while_work_goes_on_leaves_what_is_asked_and_shown_the_same(
    explorer: Explorer, net: Gated, mistake: str
) -> None:
    explorer.picture = "p1"
    explorer.wait()
    working(explorer, net, "p2")
    if mistake == "trait":
        explorer.set_state({"opacity": 9.0})
    else:
        explorer._handle_custom_msg({"kind": "open", "path": "/no/such.png"}, [])
    net.gate.set()
    explorer.wait()
    assert (explorer.picture, shown(explorer)) == ("p2", "p2")
    assert explorer.error is not None  # what was refused is still said
    explorer.picture = "p1"
    explorer.wait()
    assert (explorer.picture, shown(explorer)) == ("p1", "p1")
    assert not explorer._objection
    assert explorer._status["state"] == "idle"


@pytest.mark.parametrize("kind", ["cam", "comparison"])
def test_a_picture_and_a_class_that_are_set_together(net: Gated, kind: str) -> None:
    classifier = camwidgets.wrap(net, input_size=(32, 32), name="gated")
    explorer = MAKERS[kind](classifier).wait()
    try:
        wanted = (int(explorer.target) + 1) % 4
        with explorer.hold_trait_notifications():
            explorer.picture, explorer.target = "p3", wanted
        explorer.wait()
        assert (shown(explorer), explorer.target) == ("p3", wanted)
        wanted = (wanted + 1) % 4
        explorer.set_state({"picture": "p2", "target": wanted})
        explorer.wait()
        assert (shown(explorer), explorer.target) == ("p2", wanted)
        explorer.picture = "p0"  # alone: the top class of what is new
        best = camwidgets.explain(classifier, PICTURES["p0"]).target
        assert (shown(explorer.wait()), explorer.target) == ("p0", best)
    finally:
        explorer.close()


def test_a_map_is_of_the_weights_that_there_are(net: Gated) -> None:
    classifier = camwidgets.wrap(net, input_size=(32, 32), name="gated")
    explorer = CamExplorer(classifier, pictures=dict(PICTURES)).wait()
    try:
        before, old = explorer.explanation, classifier.weights_hash()
        with torch.no_grad():
            for parameter in net.parameters():
                parameter.mul_(1.3)
        assert explorer.explanation.made_by["weights_sha256"] == old == before.made_by["weights_sha256"]
        explorer.method = "gradcam"
        found = explorer.wait().explanation
        assert found.made_by["weights_sha256"] == classifier.weights_hash() != old
        wanted = camwidgets.explain(
            classifier, PICTURES["p0"], "gradcam", explorer.target, stages=explorer.stages, gradient=explorer.gradient
        )
        assert found.score == pytest.approx(wanted.score)
        np.testing.assert_allclose(found.map, wanted.map, atol=1e-6)
        explorer.target = (int(explorer.target) + 1) % 4  # a class more: no graph of old weights is asked
        assert explorer.wait().error is None
    finally:
        explorer.close()


def test_all_maps_of_a_comparison_are_of_the_same_weights(net: Gated) -> None:
    classifier = camwidgets.wrap(net, input_size=(32, 32), name="gated")
    explorer = MethodComparison(classifier, pictures=dict(PICTURES), methods=["gradcam"]).wait()
    try:
        with torch.no_grad():
            for parameter in net.parameters():
                parameter.mul_(1.3)
        explorer.add("layercam")
        found = explorer.wait().explanations
        assert {one.made_by["weights_sha256"] for one in found.values()} == {classifier.weights_hash()}
        assert explorer._scene["top"][0]["logit"] == pytest.approx(max(one.score for one in found.values()), rel=1e-4)
    finally:
        explorer.close()


def test_a_file_that_is_written_anew_is_run_anew(net: Gated, tmp_path: Path) -> None:
    path = tmp_path / "one.png"
    Image.new("RGB", (40, 40), "black").save(path)
    explorer = CamExplorer(camwidgets.wrap(net, input_size=(32, 32)), image=path).wait()
    try:
        assert explorer.explanation.picture.max() == 0
        Image.new("RGB", (40, 40), "white").save(path)
        os.utime(path, (1, 1))
        explorer.method = "gradcam"
        assert explorer.wait().explanation.picture.min() == 255
        assert np.frombuffer(explorer._picture, np.uint8).min() == 255
        path.unlink()
        explorer.method = "layercam"  # what is in memory is enough
        assert explorer.wait().error is None
        explorer.target = (int(explorer.target) + 1) % 4
        assert explorer.wait().error is None
    finally:
        explorer.close()


def test_only_the_last_explorers_hold_a_graph(net: Gated) -> None:
    classifier = camwidgets.wrap(net, input_size=(32, 32))
    explorers = [CamExplorer(classifier, pictures=dict(PICTURES)).wait() for _ in range(pipeline.GRAPHS + 2)]
    try:
        held = [one._pipeline._kept.graph is not None for one in explorers if one._pipeline._kept is not None]
        assert held == [False] * 2 + [True] * pipeline.GRAPHS
        first = explorers[0]
        first.method = "gradcam"
        assert first.wait()._pipeline.passes == {"forward": 1, "backward": 1}
        first.target = (int(first.target) + 1) % 4
        assert first.wait()._pipeline.passes == {"forward": 2, "backward": 2}
        wanted = camwidgets.explain(
            classifier, PICTURES["p0"], "gradcam", first.target, stages=first.stages, gradient=first.gradient
        )
        np.testing.assert_allclose(first.explanation.map, wanted.map, atol=1e-6)
    finally:
        for one in explorers:
            one.close()


def test_what_must_be_downloaded_first_is_not_explained_by_another_network(net: Gated) -> None:
    explorer = CamExplorer(camwidgets.wrap(net, input_size=(32, 32)), pictures=dict(PICTURES)).wait()
    comparison = MethodComparison(camwidgets.wrap(net, input_size=(32, 32)), pictures=dict(PICTURES)).wait()
    try:
        for one in (explorer, comparison):
            one.network = "vgg19"
            one.wait()
        with pytest.raises(RuntimeError, match=r"vgg19 needs .* Call download\(\), or choose another network"):
            _ = explorer.explanation
        with pytest.raises(RuntimeError, match="vgg19 needs"):
            _ = comparison.explanations
    finally:
        explorer.close()
        comparison.close()


# ---------------------------------------------------------------------------------------------- threads


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
def test_a_worker_outlives_what_a_job_does(error: BaseException) -> None:
    told: list[BaseException] = []
    seen: list[str] = []

    def work(job: str, ticket: Any) -> None:
        if job == "bad":
            raise error
        seen.append(job)

    worker = Worker(work, "camwidgets-test", told.append)
    try:
        worker.submit("bad")
        assert worker.wait(30)
        worker.submit("good")
        assert worker.wait(30)
        assert (told, seen) == ([error], ["good"])
    finally:
        worker.close()


def test_a_dead_thread_is_replaced() -> None:
    """As after a fork, which takes no threads with it."""
    seen: list[str] = []
    worker: Worker[str] = Worker(lambda job, ticket: seen.append(job), "camwidgets-test")
    ended = threading.Thread(target=lambda: None)
    ended.start()
    ended.join()
    worker._thread = ended
    try:
        worker.submit("a")
        assert worker.wait(30)
        assert seen == ["a"]
    finally:
        worker.close()


def test_an_error_in_telling_an_error_is_told(explorer: Explorer, net: Gated) -> None:
    """A callback of the user's that raises when the picture goes back to what is shown."""

    def fails() -> None:
        raise RuntimeError("out of memory")

    def callback(change: Any) -> None:
        if threading.current_thread() is not threading.main_thread():
            raise ValueError("a callback's own fault")

    explorer.observe(callback, "picture")
    net.before = fails
    explorer.picture = "p2"
    explorer.wait()
    assert explorer._status["state"] == "error"
    explorer.unobserve(callback, "picture")
    net.before = lambda: None
    explorer.picture = "p3"
    explorer.wait()
    assert (shown(explorer), explorer.error) == ("p3", None)


def test_a_pass_of_ones_own_beside_an_explorer() -> None:
    """The user's forward pass in another thread: neither disturbs what the other's hooks see."""
    net = settled(Small()).eval()
    classifier = camwidgets.wrap(net, input_size=(32, 32))
    wanted = camwidgets.explain(classifier, PICTURES["p0"]).map
    stop = threading.Event()
    x = torch.rand(1, 3, 32, 32)

    def loop() -> None:
        while not stop.is_set():
            net(x)

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        end = time.monotonic() + 60
        for _ in range(150):
            np.testing.assert_allclose(camwidgets.explain(classifier, PICTURES["p0"]).map, wanted, atol=1e-6)
            if time.monotonic() > end:
                break
    finally:
        stop.set()
        thread.join()
    assert not any(isinstance(m, nn.Module) and (m._forward_hooks or m._forward_pre_hooks) for m in net.modules())
