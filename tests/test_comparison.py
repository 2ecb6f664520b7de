"""MethodComparison without a browser: the queue, patience, cancelling, stale answers, errors, what it leaves behind."""

from __future__ import annotations

import io
import json
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import camwidgets
from camwidgets import Explanation, MethodComparison, settings
from camwidgets.maps import Method, Parameter, Request
from camwidgets.widgets.comparison.cells import passes_text, seconds_text
from camwidgets.widgets.comparison.work import Costly, Pace
from tests.explorer_nets import Gate, photo, small

GRADIENT = ("gradcam", "layercam", "gradcam++")


def masked(request: Request, masks: int = 40, side: float = 1.0) -> Tensor:
    """A method of many passes: the class's probability under so many shades of the picture, times brightness."""
    shade = request.scores_of(lambda a, b: request.x * torch.linspace(0.5, 1, masks)[a:b, None, None, None], masks)
    return request.x[0].abs().mean(0) ** side * shade.mean()


MASKED = Method(
    "masked", "Masked", masked, "Σ p(shade)", "made up", kind="picture", needs=("many forwards",),
    parameters=(Parameter("masks", 40, "shades", low=1, high=4000), Parameter("side", 1.0, "exponent", low=0)),
)  # fmt: skip


class Slow:
    """A method that is held at its first step until `open`; it tells that it has `begun`."""

    def __init__(self, name: str = "slow") -> None:
        self.begun, self.open, self.runs = threading.Event(), threading.Event(), 0
        self.method = Method(name, name.title(), self, "waits", "made up", kind="picture", needs=("many forwards",))

    def __call__(self, request: Request) -> Tensor:
        self.runs += 1
        for i in range(400):
            request.passes.report(i, 400)
            self.begun.set()
            if self.open.wait(0.02):
                break
        return request.x[0].abs().mean(0)


def refusing(kind: type[Exception], words: str) -> Method:
    def function(_: Request) -> Tensor:
        raise kind(words)

    return Method("refusing", "Refusing", function, "", "made up", kind="picture")


UNFIT = Method(
    "tokens", "Tokens", masked, "", "made up", kind="picture", unfit=lambda net: f"{net.name} has no tokens"
)  # fmt: skip


@pytest.fixture(autouse=True)
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings of the tests' own: what a person keeps is neither read nor written."""
    monkeypatch.setenv("CAMWIDGETS_CONFIG", str(tmp_path / "config"))


@pytest.fixture
def comparison() -> Iterator[MethodComparison]:
    made = MethodComparison(small(), pictures={"first": photo(1), "second": photo(2)}, methods=GRADIENT)
    yield made.wait()
    made.close()


def states(comparison: MethodComparison) -> dict[str, str]:
    return dict(zip(comparison._names().values(), [cell["state"] for cell in comparison._cells], strict=True))


def drawn(comparison: MethodComparison, number: int) -> np.ndarray:
    """The map that the front end gets for the cell of that number."""
    told = comparison._cells[number]["map"]
    return np.frombuffer(getattr(comparison, told["slot"]), "<f4").reshape(told["height"], told["width"])


def until(condition: Callable[[], Any], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


# ---------------------------------------------------------------------------------------------- what is shown


def test_every_cell_is_what_explain_makes(comparison: MethodComparison) -> None:
    assert list(comparison.explanations) == list(GRADIENT)
    assert comparison.target == small().predict(photo(1))[0].index
    for i, name in enumerate(GRADIENT):
        asked = camwidgets.explain(small(), photo(1), name, comparison.target)
        np.testing.assert_allclose(drawn(comparison, i), asked.map, atol=1e-6)
        np.testing.assert_allclose(comparison.explanations[name].map, asked.map, atol=1e-6)
    assert comparison._scene["picture"]["name"] == "first"
    assert comparison._cells[1]["settings"] == "S3 16×16 … S5 4×4"
    assert comparison._cells[0]["facts"].endswith(" s · 1 forward, 1 back")


def test_a_method_with_many_passes_says_what_it_cost() -> None:
    made = MethodComparison(small(), photo(1), [(MASKED, {"masks": 25})]).wait()
    asked = camwidgets.explain(small(), photo(1), MASKED, made.target, masks=25)
    np.testing.assert_allclose(drawn(made, 0), asked.map, atol=1e-6)
    assert "26 forward" in made._cells[0]["facts"]
    assert made._cells[0]["settings"] == "64×64 · masks 25 · side 1"
    assert made.to_frame()[["forward", "backward"]].values.tolist() == [[26, 0]]
    made.close()


def test_cheap_ones_come_first() -> None:
    order: list[str] = []

    def noting(name: str, needs: tuple[str, ...]) -> Method:
        def function(request: Request) -> Tensor:
            order.append(name)
            return request.x[0].abs().mean(0)

        return Method(name, name, function, "", "made up", kind="picture", needs=needs)

    heavy, light = noting("heavy", ("many forwards",)), noting("light", ())
    made = MethodComparison(small(), photo(1), [heavy, light, "gradcam"])
    seen: list[str] = []
    made.observe(lambda change: seen.append("".join(cell["state"][0] for cell in change.new)), "_cells")
    made.wait()
    assert order == ["light", "heavy"]
    assert seen[-1] == "ddd"
    assert "wwd" in seen  # Grad-CAM first, although it stands last
    made.close()


def test_target_costs_no_forward_pass_of_its_own_and_all_maps_follow(comparison: MethodComparison) -> None:
    comparison.target = "owl"
    assert comparison.wait().target == 1
    assert comparison._scene["target"]["label"] == "owl"
    for name, found in comparison.explanations.items():
        np.testing.assert_allclose(found.map, camwidgets.explain(small(), photo(1), name, 1).map, atol=1e-6)


def test_a_new_picture_starts_at_its_own_top_class(comparison: MethodComparison) -> None:
    comparison.target = 3
    comparison.wait().picture = "second"
    assert comparison.wait().target == small().predict(photo(2))[0].index
    assert states(comparison) == dict.fromkeys(GRADIENT, "done")


def test_rows_come_and_go(comparison: MethodComparison) -> None:
    comparison.add("normgrad").add("layercam").wait()
    assert list(comparison.explanations) == [*GRADIENT, "normgrad", "layercam (2)"]
    numbers = [cell["map"]["number"] for cell in comparison._cells]
    comparison.remove("gradcam").remove("layercam (2)").wait()
    assert list(comparison.explanations) == ["layercam", "gradcam++", "normgrad"]
    assert [cell["map"]["number"] for cell in comparison._cells] == numbers[1:4]  # nothing was made again
    slots = {cell["map"]["slot"] for cell in comparison._cells}
    comparison.add("xgradcam").wait()
    assert comparison._cells[-1]["map"]["slot"] not in slots
    assert comparison._slots == 5  # a slot that was given back is used again


def test_a_second_subject_drops_what_runs() -> None:
    slow = Slow()
    made = MethodComparison(small(), pictures={"first": photo(1), "second": photo(2)}, methods=["gradcam", slow.method])
    assert slow.begun.wait(10)
    shown: list[tuple[int, list[str]]] = []
    made.observe(lambda change: shown.append((made._scene["id"], [c["state"] for c in change.new])), "_cells")
    made.picture = "second"
    until(lambda: made._scene["picture"]["name"] == "second")
    slow.open.set()
    made.wait()
    assert slow.runs == 2
    first = next(i for i, (scene, _) in enumerate(shown) if scene == made._scene["id"])
    assert all("done" not in cells for _, cells in shown[first : first + 1])  # nothing of the old picture on the new
    np.testing.assert_allclose(
        drawn(made, 0), camwidgets.explain(small(), photo(2), "gradcam", made.target).map, atol=1e-6
    )
    made.close()


# ---------------------------------------------------------------------------------------------- a cell's life


def test_progress_and_cancel_of_one_cell() -> None:
    slow, other = Slow(), Slow("other")
    made = MethodComparison(small(), photo(1), [slow.method, other.method])
    until(lambda: made._progress.get("share", 0) > 0)
    assert made._progress["cell"] == "1"
    assert made._progress["text"].split(" %")[0].isdigit()
    assert states(made) == {"slow": "working", "other": "waiting"}
    made._handle_custom_msg({"kind": "cancel", "cell": "1"}, [])
    assert states(made)["slow"] == "cancelled"
    other.open.set()
    made.wait()
    assert states(made) == {"slow": "cancelled", "other": "done"}
    slow.open.set()
    made._handle_custom_msg({"kind": "run", "cell": "1"}, [])
    assert states(made.wait()) == {"slow": "done", "other": "done"}
    assert made.error is None
    made.close()


def test_a_cell_that_waits_can_be_cancelled_before_it_begins() -> None:
    slow, other = Slow(), Slow("other")
    made = MethodComparison(small(), photo(1), [slow.method, other.method])
    assert slow.begun.wait(10)
    made._handle_custom_msg({"kind": "cancel", "cell": "2"}, [])
    slow.open.set()
    assert states(made.wait()) == {"slow": "done", "other": "cancelled"}
    assert other.runs == 0
    made.close()


def test_removing_a_row_ends_its_work() -> None:
    slow = Slow()
    made = MethodComparison(small(), photo(1), [slow.method, "gradcam"])
    assert slow.begun.wait(10)
    made._handle_custom_msg({"kind": "remove", "row": "1"}, [])
    assert states(made.wait()) == {"gradcam": "done"}
    assert not slow.open.is_set()  # it was ended, not waited for
    made.close()


def test_a_long_one_asks_first_and_runs_when_told() -> None:
    slow = Slow()
    made = MethodComparison(small(), photo(1), [slow.method, "gradcam"], patience=2.0)
    made.wait()
    assert states(made) == {"slow": "costly", "gradcam": "done"}
    words = made._cells[0]["text"]
    assert words.startswith("≈ ")
    assert " passes, about " in words
    assert words.endswith(" on this machine")
    slow.open.set()
    assert states(made.run("slow").wait())["slow"] == "done"
    made.close()


def test_pace_estimates_from_the_first_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr("camwidgets.widgets.comparison.work.time.perf_counter", lambda: clock[0])
    told: list[tuple[float, str]] = []
    pace = Pace(lambda: None, lambda share, text: told.append((share, text)), patience=60)
    pace.passes.counts.forward = 17
    clock[0] += 0.4
    pace.passes.report(16, 4000)  # too early to say
    assert told == [(0.004, "0 %")]
    clock[0] += 0.6
    pace.passes.counts.forward = 41  # 40 of 4000, and the one that looks at the picture
    with pytest.raises(Costly, match="≈ 4000 passes, about 100 s on this machine"):
        pace.passes.report(40, 4000)
    calm = Pace(lambda: None, lambda share, text: told.append((share, text)))
    clock[0] += 1
    calm.passes.report(1000, 4000)
    assert told[-1] == (0.25, "25 %, about 3.0 s left")


def test_what_comes_first_is_no_measure_of_enhancement(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr("camwidgets.widgets.comparison.work.time.perf_counter", lambda: clock[0])
    pace = Pace(lambda: None, lambda share, text: None, patience=60, skip=1)
    pace.passes.counts.forward = 27  # the picture, then 26 windows scored: the first of 27 steps
    clock[0] += 1
    pace.passes.report(1, 27)
    for done in range(1, 11):
        clock[0] += 0.04
        pace.passes.counts.forward += 1
        pace.passes.report(1 + done / 4000, 27)  # 26 maps of 4000 passes each follow
    clock[0] += 0.2
    pace.passes.counts.forward += 5
    with pytest.raises(Costly, match="≈ 100000 passes, about 69 min on this machine"):
        pace.passes.report(1 + 15 / 4000, 27)


def test_unfit_is_said_before_anything_runs() -> None:
    slow = Slow()
    made = MethodComparison(small("plain"), photo(1), [UNFIT, slow.method])
    assert slow.begun.wait(10)
    assert states(made)["tokens"] == "unfit"
    assert made._cells[0]["text"] == "plain has no tokens"
    slow.open.set()
    made.wait().target = 1
    assert states(made.wait()) == {"tokens": "unfit", "slow": "done"}
    made.close()


@pytest.mark.parametrize(
    ("kind", "words", "advice"),
    [
        (ValueError, "the window is larger than the picture", "Change its parameters"),
        (MemoryError, "no memory", "Choose a smaller network"),
        (KeyError, "x", "Run it again"),
    ],
)
def test_a_failure_is_one_sentence_in_its_own_cell(kind: type[Exception], words: str, advice: str) -> None:
    made = MethodComparison(small(), photo(1), [refusing(kind, words), "gradcam"]).wait()
    assert states(made) == {"refusing": "failed", "gradcam": "done"}
    cell = made._cells[0]
    assert words in cell["text"]
    assert "\n" not in cell["text"]
    assert cell["hint"].startswith(advice)
    assert "Traceback" in cell["details"]
    assert made.error is None
    made.close()


def test_parameters_are_set_and_the_map_is_made_anew() -> None:
    made = MethodComparison(small(), photo(1), [(MASKED, {"masks": 5}), "gradcam"]).wait()
    numbers = [cell["map"]["number"] for cell in made._cells]
    made._handle_custom_msg({"kind": "set", "row": "1", "parameters": {"masks": 7, "side": 2.0}}, [])
    made.wait()
    assert made._cells[0]["settings"] == "64×64 · masks 7 · side 2"
    assert made._cells[0]["map"]["number"] > numbers[0]
    assert made._cells[1]["map"]["number"] == numbers[1]
    made._handle_custom_msg({"kind": "set", "row": "1", "parameters": {"masks": 0}}, [])
    assert (made.error or "") == "masks (shades) must be between 1 and 4000; got 0"
    assert states(made)["masked"] == "done"
    made._handle_custom_msg({"kind": "dismiss"}, [])
    assert made.error is None
    made.close()


def test_parameters_are_kept_for_the_network() -> None:
    made = MethodComparison(small("mine"), photo(1), [("smoothgrad", {"samples": 3})]).wait()
    made._handle_custom_msg({"kind": "set", "row": "1", "parameters": {"samples": 2}, "keep": True}, [])
    made.wait()
    assert settings.of("mine", "smoothgrad")["samples"] == 2
    made.close()
    later = MethodComparison(small("mine"), photo(1), ["smoothgrad", ("smoothgrad", {"samples": 4})]).wait()
    assert [cell.parameters["samples"] for cell in later._shown] == [2, 4]  # what is given comes first
    (offered,) = (method for method in later._methods if method["value"] == "smoothgrad")
    assert next(p["value"] for p in offered["parameters"] if p["name"] == "samples") == 2
    later.close()
    other = MethodComparison(small("other"), photo(1), ["gradcam"]).wait()
    assert settings.of("other", "smoothgrad") == {}
    other.close()


def test_enhanced_stands_beside_plain() -> None:
    made = MethodComparison(small(), photo(1), ["gradcam"], enhanced=True).wait()
    assert [(cell["title"], cell["enhanced"]) for cell in made._cells] == [("Grad-CAM", False), ("Grad-CAM", True)]
    assert states(made) == {"gradcam": "done", "gradcam enhanced": "done"}
    asked = camwidgets.explain(small(), photo(1), "gradcam", made.target, enhance=True)
    np.testing.assert_allclose(drawn(made, 1), asked.map, atol=1e-6)
    assert "enhance=True" in made._codes["1+"]
    made.enhanced = False
    assert list(states(made.wait())) == ["gradcam"]
    number = made._cells[0]["map"]["number"]
    made.enhanced = True
    assert list(states(made.wait())) == ["gradcam", "gradcam enhanced"]
    assert made._cells[0]["map"]["number"] == number
    made.close()


def test_curves_on_demand(comparison: MethodComparison) -> None:
    from camwidgets.evaluation.curves import deletion, insertion

    comparison.steps = 16
    assert comparison._cells[0]["curve"] == {"state": "", "text": ""}
    comparison._handle_custom_msg({"kind": "curves", "cell": "1"}, [])
    comparison.wait()
    curve = comparison._cells[0]["curve"]
    net, map = small(), comparison.explanations["gradcam"].map
    x = net.preprocess(photo(1))
    for name, function in (("insertion", insertion), ("deletion", deletion)):
        asked = function(net, x, comparison.target, map, steps=16)
        np.testing.assert_allclose(curve[name]["y"], asked.scores, atol=1e-4)
        assert curve[name]["auc"] == pytest.approx(asked.auc, abs=1e-6)
        assert len(curve[name]["x"]) == 17
    assert [cell["curve"]["state"] for cell in comparison._cells] == ["done", "", ""]
    comparison.curves().wait()
    assert [cell["curve"]["state"] for cell in comparison._cells] == ["done"] * 3
    assert not comparison.to_frame()["insertion"].isna().any()
    comparison.target = 0
    assert [cell["curve"]["state"] for cell in comparison.wait()._cells] == [""] * 3  # of another class


# ---------------------------------------------------------------------------------------------- taking it away


def test_copied_code_makes_the_same_maps(tmp_path: Path) -> None:
    path = tmp_path / "it's a picture.png"
    Image.fromarray(photo(4)).save(path)
    made = MethodComparison(small(), path, ["layercam", "cam"], target="owl").wait()
    space: dict[str, Any] = {"classifier": small()}
    exec(made.code, space)
    assert list(space["explanations"]) == ["layercam", "cam"]
    for name, found in made.explanations.items():
        np.testing.assert_array_equal(space["explanations"][name].map, found.map)
    exec(made._codes["2"], space)
    np.testing.assert_array_equal(space["explanation"].map, made.explanations["cam"].map)
    made.close()


def test_code_has_every_parameter() -> None:
    made = MethodComparison(small(), photo(1), [(MASKED, {"masks": 7})])
    assert "method='masked', target=target, masks=7, side=1.0)" in made.wait().code
    assert "    masks=7,\n    side=1.0,\n)" in made._codes["1"]
    assert "enhance" not in made.code
    made.close()


def test_saved_folder_page_and_files(
    comparison: MethodComparison, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = comparison.save(tmp_path / "kept")
    loaded = Explanation.load(folder / "gradcam")
    np.testing.assert_array_equal(loaded.map, comparison.explanations["gradcam"].map)
    assert {p.name for p in folder.iterdir()} >= {"sheet.png", "comparison.html", "code.py", "table.csv", "layercam"}
    with Image.open(folder / "sheet.png") as sheet:
        assert sheet.width >= 3 * 280
    sent: list[Any] = []
    monkeypatch.setattr(comparison, "send", lambda content, buffers=None: sent.append((content, buffers)))
    for what in ("bundle", "html", "sheet"):
        comparison._handle_custom_msg({"kind": "save", "what": what}, [])
    assert [content["name"].rsplit(".")[-1] for content, _ in sent] == ["zip", "html", "png"]
    with zipfile.ZipFile(io.BytesIO(sent[0][1][0])) as archive:
        assert "comparison/gradcam++/maps.npz" in archive.namelist()
    assert sent[1][1][0].startswith(b"<!doctype html>")
    assert comparison._status == {"state": "idle"}


def test_the_page_holds_no_live_label() -> None:
    made = MethodComparison(small(), pictures={"</script><img src=x>": photo(1)}, methods=["gradcam"], target=3).wait()
    page = made.export_html()
    assert "<script>alert(1)" not in page
    assert "<img" not in page
    assert page.count("</script") == 2
    data = json.loads(page.split('id="traits">')[1].split("</script>")[0])
    assert data["_still"] is True
    assert "$bytes" in data[data["_cells"][0]["map"]["slot"]]
    made.close()


# ---------------------------------------------------------------------------------------------- what goes wrong


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("opacity", 1.5, "0 … 1"),
        ("share", 0.0, "0.01 … 1"),
        ("zoom", 0.5, "1 … 16"),
        ("centre", [0.5, 2.0], "0 … 1 of the picture"),
        ("columns", 5, "2, 3 or 4"),
        ("rest", "grey", "unknown rest of a cut-out"),
        ("colormap", "rainbow", "unknown colour table"),
        ("patience", 0.0, "above 0"),
        ("target", "foks", "did you mean 'fox'"),
        ("network", "resnet51", "did you mean 'resnet"),
        ("picture", "/no/such.jpg", "no picture or folder"),
    ],
)
def test_a_wrong_value_is_refused_in_words(comparison: MethodComparison, name: str, value: Any, words: str) -> None:
    before = getattr(comparison, name)
    with pytest.raises(ValueError) as said:
        setattr(comparison, name, value)
    assert words in str(said.value)
    assert getattr(comparison, name) == before
    assert comparison.wait().error is None


def test_wrong_arguments_are_refused_in_words() -> None:
    for arguments, words in (
        ({"methods": ["gradcamm"]}, "did you mean 'gradcam'"),
        ({"methods": [(MASKED, {"mask": 3})]}, "did you mean 'masks'"),
        ({"methods": "gradcam"}, "methods is a list"),
        ({"opacityy": 1}, "did you mean 'opacity'"),
        ({"classifier": torch.nn.ReLU()}, "wrap it first"),
    ):
        with pytest.raises((ValueError, TypeError)) as said:
            MethodComparison(**{"classifier": small(), "image": photo(1), **arguments})  # type: ignore[arg-type]
        assert words in str(said.value)
    assert not [thread for thread in threading.enumerate() if thread.name == "camwidgets-comparison"]


def test_a_picture_that_cannot_be_read_leaves_the_view_and_its_work(comparison: MethodComparison) -> None:
    slow = Slow()
    comparison.add(slow.method)
    assert slow.begun.wait(10)
    comparison._handle_custom_msg({"kind": "upload", "name": "x.png"}, [b"not a picture"])
    until(lambda: comparison._status["state"] == "error")
    assert comparison.picture == "first"
    slow.open.set()
    comparison.wait()
    assert set(states(comparison).values()) == {"done"}
    assert comparison._scene["picture"]["name"] == "first"


def test_cancelling_a_new_picture_keeps_the_old_one_going() -> None:
    gate, slow = Gate(), Slow()
    pictures = {"first": photo(1), "second": photo(2)}
    made = MethodComparison(small(module=gate), pictures=pictures, methods=["gradcam", slow.method])
    assert slow.begun.wait(10)
    gate.open.clear()
    gate.begun.clear()
    made.picture = "second"
    assert gate.begun.wait(10)
    made._handle_custom_msg({"kind": "cancel"}, [])
    assert (made.picture, made._status) == ("first", {"state": "idle"})
    gate.open.set()
    slow.open.set()
    made.wait()
    assert set(states(made).values()) == {"done"}
    made.close()


def test_an_upload_of_the_same_name_is_looked_at_again(comparison: MethodComparison) -> None:
    for number in (5, 6):
        file = io.BytesIO()
        Image.fromarray(photo(number)).save(file, "PNG")
        comparison._handle_custom_msg({"kind": "upload", "name": "mine.png"}, [file.getvalue()])
        comparison.wait()
        asked = camwidgets.explain(small(), photo(number), "gradcam", comparison.target)
        np.testing.assert_allclose(drawn(comparison, 0), asked.map, atol=1e-6)


def test_everything_of_a_ground_travels_in_one_message(
    comparison: MethodComparison, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[set[str]] = []

    def note(key: Any = None) -> None:
        sent.append({key} if isinstance(key, str) else set(key))

    monkeypatch.setattr(comparison, "send_state", note)
    comparison.picture = "second"
    comparison.wait()
    (scene,) = [names for names in sent if "_scene" in names]
    assert {"_scene", "_picture", "_cells", "_status", "_map_1", "_map_2", "_map_3"} <= scene
    maps = [names for names in sent if any(name.startswith("_map") for name in names) and names is not scene]
    assert len(maps) == 3
    assert all("_cells" in names for names in maps)  # a map and what is said of it, together


# ---------------------------------------------------------------------------------------------- what it leaves


def test_the_network_is_untouched_and_the_thread_ends() -> None:
    classifier = small()
    state = {name: tensor.clone() for name, tensor in classifier.module.state_dict().items()}
    slow = Slow()
    made = MethodComparison(classifier, photo(1), [*GRADIENT, "cam", (MASKED, {"masks": 9}), slow.method])
    assert slow.begun.wait(10)
    begun = time.monotonic()
    made.close()  # in the middle of a map
    assert time.monotonic() - begun < 5
    assert not [thread for thread in threading.enumerate() if thread.name == "camwidgets-comparison"]
    assert all(torch.equal(state[name], tensor) for name, tensor in classifier.module.state_dict().items())
    assert not any(m._forward_hooks or m._backward_hooks for m in classifier.module.modules())
    assert all(p.grad is None and p.requires_grad for p in classifier.module.parameters())


def test_adding_from_many_sides_loses_nothing(comparison: MethodComparison) -> None:
    """The queue's last look and a new row may meet: fifty times, no row is left waiting."""
    for i in range(50):
        comparison.add("gradcam")
        time.sleep(0.002 * (i % 5))
        comparison.wait(20)
        comparison.remove("gradcam (2)")
    until(lambda: comparison._idle)
    assert set(states(comparison).values()) == {"done"}


def test_words() -> None:
    assert [seconds_text(s) for s in (0.084, 3.21, 95.2, 250, 9700)] == ["0.08 s", "3.2 s", "95 s", "4 min", "2.7 h"]
    assert passes_text({"forward": 1, "backward": 1}) == "1 forward, 1 back"
    assert passes_text({"forward": 4001, "backward": 0}) == "4001 forward"
