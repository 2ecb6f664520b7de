"""AdversarialExplorer without a browser: what the slider shows, settings, cancelling, errors, files, threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import traitlets
from PIL import Image
from torch import Tensor

import camwidgets
from camwidgets import AdversarialExplorer
from camwidgets.figures.tree_diff import SIGNS, colour_of
from camwidgets.investigate import open_bundle, rival, sweep
from camwidgets.widgets.adversarial import pace as adversarial_pace
from camwidgets.widgets.adversarial import work as adversarial_work
from camwidgets.widgets.adversarial.traits import spread
from camwidgets.widgets.adversarial.words import check_size
from tests.explorer_nets import LABELS, Gate, photo, small, small_module
from tests.nets import state

QUICK: dict[str, Any] = {"epsilons": [8 / 255, 32 / 255], "steps": 4}


@pytest.fixture(scope="module")
def explorer() -> Iterator[AdversarialExplorer]:
    made = AdversarialExplorer(small(), photo(1), **QUICK).run().wait()
    yield made
    made.close()


@pytest.fixture
def gated() -> Iterator[tuple[Gate, AdversarialExplorer]]:
    gate = Gate()
    made = AdversarialExplorer(small(module=gate), photo(1), **QUICK).wait()
    yield gate, made
    gate.open.set()
    made.close()


def until(holds: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.01)


def act(explorer: AdversarialExplorer, *buffers: bytes, **content: Any) -> None:
    """A message from the front end."""
    explorer._handle_custom_msg(content, list(buffers))


def bytes_of(values: np.ndarray) -> bytes:
    """Values from 0 to their maximum as 0 … 255."""
    top = values.max()
    return np.round(255 * values / top if top > 0 else values).astype(np.uint8).tobytes()


# ---------------------------------------------------------------------------------------------- what is shown


def test_the_bytes_are_what_the_functions_give(explorer: AdversarialExplorer) -> None:
    found = sweep(small(), photo(1), QUICK["epsilons"], steps=4, trees=2)
    other = rival(found)
    words = explorer._sweep
    assert explorer.error is None
    assert [one["eps"] for one in words["frames"]] == [0.0, 8 / 255, 32 / 255]
    assert explorer._attacked == b"".join(f.attack.adversarial_pictures[0].tobytes() for f in found.frames)
    assert explorer._noise == b"".join(f.attack.amplified().tobytes() for f in found.frames)
    maps = [[f.maps for f in found.frames], other.maps, other.top_maps]
    assert explorer._maps == b"".join(bytes_of(one) for of in maps for at in of for one in at.values())
    assert words["most"]["wrong"][1] == [float(one.max()) for one in other.maps[1].values()]
    for i, frame in enumerate(found.frames):
        shown = words["frames"][i]
        assert [one["label"] for one in shown["top"]] == [one.label for one in frame.predictions]
        assert [one["p"] for one in shown["top"]] == [one.probability for one in frame.predictions]
        assert (shown["true"], shown["wrong"]) == (frame.probability, other.probabilities[i])
        assert shown["factor"] * float(frame.attack.perturbation.abs().max()) == pytest.approx(0.5 if i else 0)
        assert words["peaks"]["true"]["peaks"][i] == list(frame.peaks)
        assert words["peaks"]["clean"]["peaks"][i] == list(other.peaks["clean"][i])
    flips = [i for i, frame in enumerate(found.frames) if frame.attack.success[0]]
    assert words["flip"] == (flips[0] if flips else None)
    sent = ("_attacked", "_noise", "_maps", "_responses")
    assert words["bytes"] == sum(len(getattr(explorer, name)) for name in sent)
    gone = {one["channel"]: one["at"] for one in words["drops"]}
    assert {k: None if at is None else words["frames"][at]["eps"] for k, at in gone.items()} == found.drops


def test_the_tree_is_the_figures_diff(explorer: AdversarialExplorer) -> None:
    found = sweep(small(), photo(1), QUICK["epsilons"], steps=4, trees=2)
    tree = explorer._sweep["tree"]
    first = found.frames[0].tree
    assert first is not None
    diffs = [first.diff(frame.tree) for frame in found.frames]  # type: ignore[arg-type]
    full = {s: max(abs(c.change) for d in diffs for c in d.channels if c.stage == s) for s in tree["stages"]}
    assert tree["signs"] == SIGNS
    for diff, shown in zip(diffs, tree["frames"], strict=True):
        wanted = {f"{c.stage} #{c.channel}": c for c in diff.channels}
        for row, cell in zip(tree["rows"], shown["cells"], strict=True):
            if cell is None:
                assert row["name"] not in wanted
                continue
            c = wanted[row["name"]]
            assert (cell["kind"], tuple(cell["share"])) == (c.kind, c.share)
            assert tuple(cell["colour"]) == colour_of(c.change, full[c.stage] or 1.0)
        assert shown["root"] == {"label": diff.after.label, "p": diff.after.probability, "score": diff.after.score}
        assert shown["parting"] == diff.parting
        assert sum(left for left, _ in shown["left"]) == len([n for n in wanted if n not in
                                                             {row["name"] for row in tree["rows"]}])  # fmt: skip
    assert [row["stage"] for row in tree["rows"]] == sorted((row["stage"] for row in tree["rows"]), reverse=True)
    kept = {s: [row["channel"] for row in tree["rows"] if row["stage"] == s] for s in tree["stages"]}
    answers = rival(found, channels=kept).responses
    assert explorer._responses == b"".join(bytes_of(answers[row["stage"], row["channel"]]) for row in tree["rows"])
    explorer.index = 2
    assert explorer.diff is not None
    assert explorer.diff.channels == diffs[2].channels


def test_eps_goes_to_the_nearest_frame(explorer: AdversarialExplorer) -> None:
    explorer.eps = 9 / 255
    assert (explorer.index, explorer.eps) == (1, 8 / 255)
    explorer.index = 99
    assert explorer.index == 2
    explorer.set_state({"index": 0})
    assert explorer.eps == 0.0
    assert explorer.sweep is not None
    assert explorer.rival is not None
    assert "flip" in repr(explorer)


def test_the_code_gives_the_same_pictures(explorer: AdversarialExplorer) -> None:
    explorer.index = 2
    names: dict[str, Any] = {"classifier": small(), "image": photo(1)}
    exec(explorer.code, names)
    assert explorer.sweep is not None
    np.testing.assert_array_equal(
        names["found"].frames[2].attack.adversarial_pictures[0], explorer.sweep.frames[2].attack.adversarial_pictures[0]
    )
    pd.testing.assert_frame_equal(names["found"].to_frame(), explorer.sweep.to_frame())
    assert names["other"].label == explorer._sweep["wrong"]["label"]
    assert "[e / 255 for e in [8.0, 32.0]]" in explorer.code


def test_the_thesis_story_on_the_toy_world() -> None:
    """A picture that flips within a few grey levels; the true class' channels fall, the wrong one's rise."""
    from camwidgets.datasets.toyworld import ToyWorld

    made = AdversarialExplorer("toy", ToyWorld(seed=1, n=2)[1].image, count=4, depth=1).run().wait()
    try:
        found, other = made.sweep, made.rival
        assert found is not None
        assert other is not None
        assert found.label == "car"
        assert found.flip is not None
        assert made.index == made._sweep["flip"] > 0
        assert sum(found.frames[-1].peaks) < 0.5 * sum(found.frames[0].peaks)
        assert sum(other.peaks["attacked"][-1]) > 2 * sum(other.peaks["attacked"][0])
        assert any(at is not None for at in found.drops.values())
    finally:
        made.close()


def test_no_flip_is_a_finding() -> None:
    made = AdversarialExplorer(small(), photo(1), epsilons=[1e-6], steps=1, depth=0).run().wait()
    try:
        assert made.error is None
        assert made._sweep["flip"] is None
        assert made.index == 1
        assert "does not flip" in repr(made)
        assert made._sweep["tree"] is None
        assert "switched off" in made._sweep["no_tree"]
        assert made.diff is None
    finally:
        made.close()


def test_a_network_without_trees_is_attacked_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **how: Any) -> None:
        raise ValueError("this network has no spatial stages")

    monkeypatch.setattr(adversarial_work, "decompose", refuse)
    made = AdversarialExplorer(small(), photo(1), **QUICK).run().wait()
    try:
        assert made.error is None
        assert made._sweep["no_tree"] == "No tree of this network: this network has no spatial stages"
        assert made._sweep["tree"] is None
        assert made.sweep is not None
        assert made.sweep.frames[1].tree is None
    finally:
        made.close()


def test_labels_stay_labels() -> None:
    made = AdversarialExplorer(small(), photo(1), **QUICK, target=LABELS[3]).run().wait()
    try:
        assert made.target == 3
        assert not made.stale
        assert made._sweep["true"]["label"] == LABELS[3]
        assert "<script>" not in made.export_html().split('id="traits">')[1].split("</script>")[0]
    finally:
        made.close()


# ---------------------------------------------------------------------------------------------- settings


def test_epsilons_in_both_ways() -> None:
    made = AdversarialExplorer(small(), photo(1))
    try:
        assert made.epsilons == spread(8 / 255, 8, "linf")
        made.strongest = 4 / 255
        assert made.epsilons[-1] == 4 / 255
        assert len(made.epsilons) == 8
        made.count = 3
        assert [round(255 * e, 2) for e in made.epsilons] == [0.44, 1.78, 4.0]
        made.epsilons = [0.02, 0.0, 0.01, 0.02]
        assert made.epsilons == [0.01, 0.02]
        assert (made.strongest, made.count) == (0.02, 2)
        made.count = 3
        made.norm = "l2"
        assert made.strongest == 2.0
        assert made.epsilons == spread(2.0, 3, "l2")
    finally:
        made.close()


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("strongest", [1e-9, 0.02 / 255, 0.05 / 255, 8 / 255, 1.0])
def test_there_are_as_many_epsilons_as_were_asked_for(strongest: float, norm: str) -> None:
    for count in range(1, 25):
        found = spread(strongest, count, norm)
        assert len(set(found)) == count
        assert found == sorted(found)
        assert found[0] > 0
        assert found[-1] == strongest


def test_what_was_set_of_epsilons_stays() -> None:
    made = AdversarialExplorer(small(), photo(1), strongest=0.05 / 255, count=24)
    try:
        assert (made.count, len(made.epsilons)) == (24, 24)
        made.count = 8
        made.strongest = 0.02 / 255
        made.strongest = 8 / 255
        assert (made.count, made.epsilons) == (8, spread(8 / 255, 8, "linf"))
        made.set_state({"norm": "l2", "strongest": 1.0})
        assert (made.norm, made.strongest, made.epsilons) == ("l2", 1.0, spread(1.0, 8, "l2"))
        made.set_state({"norm": "linf"})
        assert (made.strongest, made.epsilons) == (8 / 255, spread(8 / 255, 8, "linf"))
        made.set_state({"norm": "l2", "epsilons": [0.5, 1.5]})
        assert (made.strongest, made.count, made.epsilons) == (1.5, 2, [0.5, 1.5])
        made.set_state({"norm": "linf"})
        made.set_state({"strongest": 0.3, "norm": "l2"})
        assert (made.strongest, made.count) == (0.3, 2)
    finally:
        made.close()


def test_stale_until_attacked_again() -> None:
    made = AdversarialExplorer(small(), pictures={"a": photo(1), "b": photo(2)}, **QUICK, depth=0)
    try:
        assert not made.run().wait().stale
        number = made._sweep["id"]
        made.steps = 3
        assert bool(made.stale)
        made.steps = 4
        assert not made.stale
        made.picture = "b"
        assert made.wait().stale
        assert made._scene["picture"]["name"] == "b"
        assert (made._sweep["id"], made._sweep["picture"]) == (number, "a")
        assert not made.run().wait().stale
        assert made._sweep["picture"] == "b"
        assert made.norm == "linf"
    finally:
        made.close()


def test_run_takes_what_was_just_chosen_with_it(explorer: AdversarialExplorer) -> None:
    made = AdversarialExplorer(small(), photo(1), **QUICK, depth=0).wait()
    try:
        act(made, kind="run", asked={"norm": "l2", "strongest": 3.0, "count": 2, "attack": "fgsm", "targeted": False})
        assert made.wait().error is None
        assert made._sweep["asked"]["epsilons"] == [0.75, 3.0]
        assert made.sweep is not None
        assert made.sweep.frames[1].attack.method == "fgsm"
        assert float(made.sweep.frames[2].attack.perturbation.norm()) <= 3.0001
        act(made, kind="run", asked={"index": 3})
        assert "unknown setting 'index'" in (made.error or "")
    finally:
        made.close()


def test_towards_a_class() -> None:
    made = AdversarialExplorer(small(), photo(1), **QUICK, targeted=True, depth=0).run().wait()
    try:
        assert "no class was chosen to move towards" in (made.error or "")
        top = made._scene["target"]["index"]
        made.target = top
        assert "is taken for" in (made.run().wait().error or "")
        made.target = LABELS[(top + 1) % 6]
        assert made.target == (top + 1) % 6
        assert made.run().wait().error is None
        assert made._sweep["wrong"]["index"] == (top + 1) % 6
        assert made._sweep["true"]["index"] == top
        assert "targeted=True" in made.code
    finally:
        made.close()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("attack", "cw", "unknown attack 'cw'; valid: pgd, fgsm"),
        ("norm", "l1", "unknown norm 'l1'"),
        ("strongest", -0.1, "a number above 0"),
        ("strongest", 1.5, "up to 1"),
        ("epsilons", [2.0], "from 0 to 1"),
        ("epsilons", [], "1 … 24 ε"),
        ("epsilons", [0.0], "1 … 24 ε"),
        ("steps", 0, "1 … 1000"),
        ("count", 25, "1 … 24"),
        ("top", 0, "1 … 8"),
        ("depth", 4, "0 … 3"),
        ("maps_of", "both", "unknown class of the maps"),
        ("chosen", "later", "unknown choice of channels"),
        ("opacity", 2.0, "0 … 1"),
        ("picture", "/no/such/picture.png", "no picture or folder"),
        ("network", "resnet9000", "unknown network"),
        ("stage", "S9", "unknown stage 'S9'"),
        ("target", "unicorn", "unicorn"),
    ],
)
def test_values_that_are_none(explorer: AdversarialExplorer, name: str, value: Any, message: str) -> None:
    before = getattr(explorer, name)
    with pytest.raises((traitlets.TraitError, ValueError), match=message.replace("(", r"\(")):
        setattr(explorer, name, value)
    assert getattr(explorer, name) == before
    explorer.set_state({name: value})  # from the front end: said, not raised
    assert explorer.error is not None
    act(explorer, kind="dismiss")
    assert explorer.error is None


def test_what_cannot_be_given() -> None:
    with pytest.raises(ValueError, match="unknown option of AdversarialExplorer 'opacty'"):
        AdversarialExplorer("toy", opacty=1)
    with pytest.raises(TypeError, match="attack is 'pgd', 'fgsm' or a function"):
        AdversarialExplorer("toy", attack=3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="the attack 'mine' is a function"):
        AdversarialExplorer("toy", attacks={"mine": "no"})  # type: ignore[dict-item]
    with pytest.raises(ValueError, match="is there already"):
        AdversarialExplorer("toy", attacks={"pgd": lambda model, x, y: x})
    with pytest.raises(TypeError, match="wrap it first"):
        AdversarialExplorer(small_module())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="would send 288 MB to the browser"):
        check_size(23, (1448, 1448))


def test_an_unknown_class_or_stage_given_before_the_network_is_there() -> None:
    given: tuple[dict[str, Any], ...] = ({"target": "unicorn"}, {"stage": "S9"})
    for bad in given:
        made = AdversarialExplorer(small(), photo(1), **bad).wait()
        try:
            assert next(iter(bad.values())) in (made.error or "")
        finally:
            made.close()


# ---------------------------------------------------------------------------------------------- attacks of one's own


def test_an_attack_of_one_s_own() -> None:
    def brighter(model: Any, x: Tensor, y: Tensor, eps: float) -> Tensor:
        return (x + eps).clamp(0, 1)

    made = AdversarialExplorer(small(), photo(1), attack=brighter, **QUICK).run().wait()
    try:
        assert made.error is None
        assert made.attack == "brighter"
        assert made._attacks[-1] == {"value": "brighter", "text": "brighter"}
        assert made.sweep is not None
        assert float(made.sweep.frames[1].attack.perturbation.max()) == pytest.approx(8 / 255, abs=1e-6)
        assert "# method: the attack that was given to the explorer as 'brighter'" in made.code
    finally:
        made.close()


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (lambda model, x, y: x * np.nan, "NaN or infinite"),
        (lambda model, x, y: x[:, :, 1:], r"returned (1, 3, 63, 64)"),
        (lambda model, x, y: x + 3, "left the box"),
        (lambda model, x, y, eps: (x + 2 * eps).clamp(0, 1), "left its ball"),
        (lambda model, x, y: x.numpy(), "it returned ndarray"),
        (lambda model, x, y: 1 / 0, "the attack bad raised ZeroDivisionError: division by zero"),
        (lambda model, x, y: model(x.flatten()), "the attack bad raised RuntimeError"),
    ],
)
def test_an_attack_that_is_none_says_what_is_wrong(rule: Any, message: str) -> None:
    classifier = small()
    classifier.module.train()
    before = state(classifier.module)
    made = AdversarialExplorer(classifier, photo(1), attack=rule, attacks={"bad": rule}, **QUICK)
    try:
        made.attack = "bad"
        made.run().wait()
        assert message in (made.error or "")
        assert made._progress["state"] == "failed"
        assert made._status["details"]
        assert not made._sweep
        assert state(classifier.module) == before
        made.attack = "fgsm"
        assert made.run().wait().error is None
        assert made.sweep is not None
    finally:
        made.close()
    assert state(classifier.module) == before


# ---------------------------------------------------------------------------------------------- cancelling, threads


def test_cancel_keeps_what_was_there_and_leaves_the_model_bit_for_bit() -> None:
    gate = Gate().train()
    for parameter in gate.parameters():
        parameter.grad = torch.full_like(parameter, 0.5)
    before = state(gate)
    made = AdversarialExplorer(small(module=gate), photo(1), **QUICK).run().wait()
    try:
        first = made.sweep
        assert first is not None
        made.steps = 500
        gate.open.clear()
        gate.begun.clear()
        made.run()
        assert gate.begun.wait(60)
        assert made._progress["state"] == "running"
        made.cancel()
        assert made._progress["state"] == "stopping"
        gate.open.set()
        made.wait()
        assert made._progress["state"] == "cancelled"
        assert made.error is None
        assert made.sweep is first
        assert made.stale
        assert state(gate) == before
        made.steps = 4
        assert made.run().wait()._progress["state"] == "done"
    finally:
        made.close()
    assert state(gate) == before


def test_cancel_in_the_middle_of_an_attack(gated: tuple[Gate, AdversarialExplorer]) -> None:
    _, made = gated
    passes: list[float] = []

    def count(model: Any, x: Tensor, y: Tensor, eps: float) -> Tensor:
        for _ in range(1000):
            passes.append(float(model(x).sum()))
            if len(passes) == 5:
                made.cancel()
        return x

    made.own = {"count": count}
    made.attack = "count"
    made.run().wait()
    assert made._progress["state"] == "cancelled"
    assert len(passes) == 5


def test_the_kernel_is_free_while_it_works(gated: tuple[Gate, AdversarialExplorer]) -> None:
    gate, made = gated
    gate.open.clear()
    start = time.monotonic()
    made.run()
    made.opacity = 0.3
    assert time.monotonic() - start < 10
    assert made._progress["state"] == "running"
    with pytest.raises(TimeoutError, match="still busy after 0 s"):
        made.wait(0)
    gate.open.set()
    assert made.wait().sweep is not None
    words: dict[str, Any] = dict(made._progress)
    assert words["state"] == "done"
    assert words["share"] == 1.0


def test_a_second_run_takes_the_place_of_the_first(gated: tuple[Gate, AdversarialExplorer]) -> None:
    gate, made = gated
    gate.open.clear()
    gate.begun.clear()
    made.run()
    assert gate.begun.wait(60)
    made.epsilons = [0.05]
    made.run()
    gate.open.set()
    made.wait()
    assert made.error is None
    assert made._progress["state"] == "done"
    assert [one["eps"] for one in made._sweep["frames"]] == [0.0, 0.05]


def test_progress_grows_and_names_what_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    made = AdversarialExplorer(small(), photo(1), **QUICK).wait()
    heard: list[dict[str, Any]] = []
    made.observe(lambda change: heard.append(change.new), "_progress")
    try:
        monkeypatch.setattr(adversarial_pace, "OFTEN", 0.0)
        made.run().wait()
        shares = [one["share"] for one in heard if one["state"] == "running"]
        assert shares == sorted(shares)
        assert len(shares) > 10
        assert any("ε 2 of 3" in one["text"] for one in heard)
        assert any("following" in one["text"] for one in heard)
    finally:
        made.close()


def test_threads_end() -> None:
    made = AdversarialExplorer(small(), photo(1), **QUICK, depth=0).run().wait()
    names = {"camwidgets-adversarial-look", "camwidgets-adversarial-run"}
    mine = [one for one in threading.enumerate() if one.name in names]
    assert len(mine) >= 2
    made.close()
    assert made._worker._thread is not None
    assert made._runner._thread is not None
    assert not made._worker._thread.is_alive()
    assert not made._runner._thread.is_alive()


# ---------------------------------------------------------------------------------------------- pictures and files


def test_pictures_from_everywhere(tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"this is no picture")
    Image.fromarray(photo(3)).save(tmp_path / "good.png")
    made = AdversarialExplorer(small(), photo(1), **QUICK).wait()
    try:
        shown = made.picture
        act(made, kind="open", path=str(broken))
        assert made.wait().error is not None
        assert made.picture == shown
        act(made, kind="open", path="/no/such/place")
        assert "no picture or folder" in (made.wait().error or "")
        act(made, kind="open", path=str(tmp_path / "good.png"))
        assert made.wait().error is None
        assert made._scene["picture"]["name"] == "good.png"
        buffer = BytesIO()
        Image.fromarray(photo(4)).save(buffer, "PNG")
        act(made, buffer.getvalue(), kind="upload", name="mine.png")
        assert made.wait().error is None
        assert made._scene["picture"]["name"] == "mine.png"
        act(made, b"no picture", kind="upload", name="mine.png")
        assert made.wait().error is not None
        made.show(photo(5), "shown")
        assert made.wait().error is None
        assert made.run().wait()._sweep["picture"] == "shown"
    finally:
        made.close()


def test_weights_that_are_not_there_are_offered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    made = AdversarialExplorer(small(), photo(1), **QUICK).wait()
    try:
        made.network = "resnet18"
        assert made._status["state"] == "offer"
        assert made.run()._status["state"] == "offer"
        assert made._progress["state"] == "idle"
        act(made, kind="dismiss")
        assert (made.network, made._status["state"]) == ("small", "idle")
    finally:
        made.close()


def test_files(explorer: AdversarialExplorer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    explorer.index = 2
    path = explorer.save(tmp_path / "found.zip")
    kept = open_bundle(path)
    assert explorer.sweep is not None
    frame = explorer.sweep.frames[2]
    np.testing.assert_array_equal(kept.pictures["attacked 02"], frame.attack.adversarial_pictures[0])
    np.testing.assert_array_equal(kept.maps["true 02 S5"], frame.maps["S5"])
    assert kept.config["settings"] == explorer._sweep["asked"]
    assert kept.config["epsilons"] == [0.0, 8 / 255, 32 / 255]
    assert kept.trees == ("tree 00", "tree 01", "tree 02")
    assert kept.tree("tree 02").label == frame.predictions[0].label
    assert kept.pages["explorer"] == explorer.export_html(tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text("utf-8").startswith("<!doctype html>")
    assert explorer.save(tmp_path / "again.zip").read_bytes() == path.read_bytes()
    assert explorer.sheet().width > 600
    sent: list[Any] = []
    monkeypatch.setattr(explorer, "send", lambda content, buffers=None: sent.append((content, buffers)))
    for what, start in (("sheet", b"\x89PNG"), ("html", b"<!doctype"), ("csv", b"eps,predicted"), ("bundle", b"PK")):
        act(explorer, kind="save", what=what)
        assert sent[-1][1][0].startswith(start)
    assert sent[0][0]["name"].endswith("-attacked.png")
    act(explorer, kind="save", what="exe")
    assert "unknown kind of file" in (explorer.error or "")
    act(explorer, kind="dismiss")


def test_files_of_a_stale_sweep_hold_the_code_of_the_sweep(tmp_path: Path) -> None:
    pictures = {"a": photo(1), "b": photo(2)}
    made = AdversarialExplorer(small(), pictures=pictures, **QUICK, depth=0).run().wait()
    try:
        fresh = open_bundle(made.save(tmp_path / "fresh.zip"))
        assert fresh.config["code"] == made.code
        made.steps, made.count, made.picture = 7, 5, "b"
        assert made.wait().stale
        assert "steps=7" in made.code
        stale = open_bundle(made.save(tmp_path / "stale.zip"))
        assert stale.config["code"] == fresh.config["code"]
        assert stale.pages == fresh.pages
        assert "steps=4" in stale.config["code"]
    finally:
        made.close()


def test_nothing_to_save_yet() -> None:
    made = AdversarialExplorer(small(), photo(1)).wait()
    try:
        with pytest.raises(RuntimeError, match="no sweep is done yet"):
            made.export_html()
        with pytest.raises(RuntimeError, match="no sweep is done yet"):
            made.eps = 0.1
        assert "not attacked yet" in repr(made)
        made._ready = False
        made.picture = ""
        with pytest.raises(ValueError, match="no picture is chosen"):
            made.run()
    finally:
        made.close()


def test_public_names() -> None:
    assert camwidgets.AdversarialExplorer is AdversarialExplorer
