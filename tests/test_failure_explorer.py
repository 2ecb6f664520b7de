"""FailureExplorer without a browser: it shows what the functions say, survives what goes wrong, and replays."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import camwidgets
from camwidgets import Classifier, FailureExplorer, failures
from camwidgets.datasets.toyworld import ToyWorld
from camwidgets.decomposition.ablation import ablate
from camwidgets.investigate import Edit, Edits, Region, blame, open_bundle, save_bundle
from camwidgets.investigate.groups import group_failures
from camwidgets.widgets.failure import record as failure_record
from camwidgets.widgets.failure import work as failure_work
from camwidgets.widgets.failure.case import Case
from camwidgets.widgets.failure.cases import LIVE
from tests.nets import state
from tests.test_failures import BLUE, DATA, GREEN, RED, YELLOW, flat, net

SPOT = Region.box(12, 8, 16, 12)  # the yellow one


@pytest.fixture
def explorer() -> Iterator[FailureExplorer]:
    """Two failures, pictures 1 and 3: a yellow spot makes red and green blue."""
    made = FailureExplorer(net(), DATA).wait()
    yield made
    made.close()


def opened(explorer: FailureExplorer, number: int = 1) -> FailureExplorer:
    explorer.choose(number).wait()
    assert explorer.error is None
    return explorer


def case(explorer: FailureExplorer) -> Case:
    """The one that is open."""
    assert explorer._open is not None
    return explorer._open


def hear(explorer: FailureExplorer, kind: str, **content: Any) -> FailureExplorer:
    """As from the front end."""
    explorer._hear(None, {"kind": kind, **content}, [])
    return explorer.wait()


# ---------------------------------------------------------------------------------------------- gallery


def test_the_gallery_shows_the_table(explorer: FailureExplorer) -> None:
    table = failures(net(), DATA)
    assert explorer.table is not None
    assert explorer.table.decided == table.decided
    words = explorer._table
    assert (words["pictures"], words["failures"], words["broken"]) == (6, 2, 0)
    assert sorted(words["cells"]) == [[0, 0, 1], [0, 2, 1], [1, 1, 1], [1, 2, 1], [2, 2, 2]]
    cards = explorer._cards["cards"]
    assert [one["number"] for one in cards] == [d.number for d in table.failures]
    assert {(one["label"], one["predicted"]) for one in cards} == {("red", "blue"), ("green", "blue")}
    assert all(one["thumb"].startswith("data:image/jpeg;base64,") for one in cards)
    explorer.sort = "least confident"
    rising = sorted(table.failures, key=lambda d: (d.confidence, d.number))
    assert [one["number"] for one in explorer.wait()._cards["cards"]] == [d.number for d in rising]
    explorer.cell = [1, 2]
    assert [one["number"] for one in explorer.wait()._cards["cards"]] == [3]
    explorer.cell = [2, 2]  # the diagonal: rightly classified ones
    assert sorted(one["number"] for one in explorer.wait()._cards["cards"]) == [4, 5]


def test_pages(explorer: FailureExplorer) -> None:
    many = FailureExplorer(net(), [(flat(RED, YELLOW), "red")] * 30).wait()
    assert (many._cards["total"], many._cards["pages"], len(many._cards["cards"])) == (30, 3, 12)
    many.page = 2
    assert [one["number"] for one in many.wait()._cards["cards"]] == list(range(24, 30))
    many.page = 99
    assert many.wait()._cards["page"] == 2
    many.close()


def test_groups_are_those_of_the_function(explorer: FailureExplorer) -> None:
    assert explorer._groups == {"state": "none", "rows": []}
    explorer.group_failures().wait()
    wanted = group_failures(failures(net(), DATA))
    assert explorer.table is not None
    assert list(explorer.table.groups) == wanted
    assert [(row["stage"], row["channel"], row["count"]) for row in explorer._groups["rows"]] == [
        (g.stage, g.channel, g.count) for g in wanted][:12]  # fmt: skip
    explorer.group = 0
    assert {one["number"] for one in explorer.wait()._cards["cards"]} == set(wanted[0].members)


def test_no_failure_says_so_and_offers_the_least_confident() -> None:
    made = FailureExplorer(net(), [DATA[0], DATA[2], DATA[5]]).wait()
    assert made._table["failures"] == 0
    assert made._cards["least"]
    assert made.table is not None
    assert [one["number"] for one in made._cards["cards"]] == [d.number for d in made.table.least_confident(48)]
    opened(made, 2)
    assert made._case["right"]
    assert made._case["own"]["label"] == "blue"  # against its runner-up
    assert made._case["taken"]["label"] == "red"
    assert made._trees["state"] == "done"
    made.close()


def test_a_table_in_place_of_a_data_set() -> None:
    table = failures(net(), DATA).grouped()
    made = FailureExplorer(net(), table=table).wait()
    assert made.table is table
    assert made._groups["state"] == "done"
    opened(made)
    made.close()
    with pytest.raises(ValueError, match="not both"):
        FailureExplorer(net(), DATA, table=table)
    with pytest.raises(ValueError, match="'colours', not with toy"):
        FailureExplorer("toy", table=table)
    with pytest.raises(ValueError, match="did you mean 'radius'"):
        FailureExplorer(net(), DATA, radus=3)


def test_a_table_that_was_loaded_without_its_data_set(tmp_path: Path) -> None:
    table = failures(net(), DATA)
    loaded = type(table).load(table.save(tmp_path))
    made = FailureExplorer(net(), table=loaded).wait()
    assert len(made._cards["cards"]) == 2
    made.choose(1).wait()
    assert made._case["state"] == "failed"
    assert "without its data set" in (made.error or "")
    hear(made, "groups")
    assert "without its data set" in (made.error or "")
    made.close()


# ---------------------------------------------------------------------------------------------- one failure


def test_one_failure_and_the_channel_to_blame(explorer: FailureExplorer) -> None:
    opened(explorer)
    classifier = explorer.classifier
    assert (explorer._case["label"], explorer._case["predicted"]) == ("red", "blue")
    wanted = blame(classifier, DATA[1][0], "blue", "red")
    deepest = next(reversed(classifier.stages))
    assert explorer.stage == deepest
    assert explorer.blame[deepest][0] == wanted[deepest][0]
    assert wanted[deepest][0].channel == 3  # yellow
    assert [row["channel"] for row in explorer._blame["rows"]] == [one.channel for one in wanted[deepest]]
    assert explorer.diff is not None
    own, taken = (camwidgets.decompose(classifier, DATA[1][0], c, depth=2) for c in ("red", "blue"))
    assert explorer.diff.distances == pytest.approx(own.diff(taken).distances)
    left, right = explorer._trees["trees"]
    assert (left["label"], right["label"]) == ("red", "blue")
    assert {node["kind"] for node in right["nodes"] if node["channel"] == 3 and node["parent"] == 0} <= {
        "gained",
        "strengthened",
    }
    explorer.stage = next(iter(classifier.stages))
    assert {row["stage"] for row in explorer._blame["rows"]} == {explorer.stage}


def test_the_effect_shown_is_that_of_edits(explorer: FailureExplorer) -> None:
    opened(explorer)
    edits = Edits(explorer.classifier, DATA[1][0])
    for edit in (Edit("paint", SPOT, {"colour": RED}), Edit("blur", Region.box(0, 0, 8, 8), {"sigma": 2.0})):
        explorer.edit(edit).wait()
        wanted = edits.do(edit).effect()
        assert explorer.effect is not None
        assert torch.equal(explorer.effect.logits, wanted.logits)
        p, q = edits.effect(0).logits.softmax(0), wanted.logits.softmax(0)
        for bar in explorer._effect["bars"]:
            assert (bar["before"], bar["after"]) == pytest.approx((float(p[bar["index"]]), float(q[bar["index"]])))
        assert explorer._effect["text"] == str(wanted)
        assert bytes(explorer._now) == edits.picture.tobytes()
    assert explorer._effect["flipped"]
    assert explorer._effect["back"]
    assert explorer._effect["after"] == "red"
    explorer.undo().undo().wait()
    assert explorer._effect["step"] == 0
    assert not explorer._effect["flipped"]
    assert bytes(explorer._now) == b""
    explorer.redo().wait()
    assert explorer._effect["back"]


def test_channels_off_are_those_that_ablate_takes_out(explorer: FailureExplorer) -> None:
    opened(explorer)
    stage, classifier = explorer.stage, explorer.classifier
    hear(explorer, "switch", stage=stage, channels=[3], on=False)
    removed = ablate(camwidgets.capture(classifier, DATA[1][0]), (stage, 3))
    assert explorer.effect is not None
    assert torch.equal(explorer.effect.logits, removed.logits)
    assert explorer._effect["back"]  # without yellow it is red
    assert [row["channel"] for row in explorer._blame["rows"] if row["off"]] == [3]
    hear(explorer, "switch", stage=stage, channels=[0, 1], on=False)
    both = ablate(camwidgets.capture(classifier, DATA[1][0]), [(stage, 3), (stage, 0), (stage, 1)])
    assert torch.equal(explorer.effect.logits, both.logits)
    hear(explorer, "switch", stage=stage, channels=[3, 0, 1], on=True)
    assert not any(row["off"] for row in explorer._blame["rows"])
    assert not explorer._effect["flipped"]


def test_tools_of_the_front_end(explorer: FailureExplorer) -> None:
    opened(explorer)
    # What the message says counts, not what a trait said a moment ago.
    box = {"kind": "box", "points": [[12, 8], [16, 12]]}
    hear(explorer, "edit", tool="box", action="paint", colour="#ff0000", outside=False, region=box)
    assert explorer._effect["back"]
    assert explorer._log[1]["text"] == "painted a box in #ff0000"
    hear(explorer, "undo")
    hear(explorer, "edit", tool="box", action="paint", colour="#0000ff", outside=True, region=box)
    assert tuple(case(explorer).edits.picture[0, 0]) == BLUE
    assert tuple(case(explorer).edits.picture[9, 13]) == YELLOW
    hear(explorer, "undo")
    stroke = {"kind": "brush", "points": [[13.5, 9.5]], "radius": 3}
    hear(explorer, "edit", tool="brush", action="inpaint", colour="", outside=False, region=stroke)
    assert explorer._effect["back"]
    hear(explorer, "undo")
    hear(explorer, "edit", tool="box", action="background", backdrop=2, outside=False, region=box)
    assert tuple(case(explorer).edits.picture[0, 0]) == GREEN
    assert tuple(case(explorer).edits.picture[9, 13]) == YELLOW


def test_a_stroke_is_tried_while_it_is_drawn_and_nothing_is_done(explorer: FailureExplorer) -> None:
    opened(explorer)
    before = explorer._effect
    hear(explorer, "preview", tool="box", action="paint", colour="#ff0000", region=SPOT.to_json())
    assert explorer._effect["state"] == "preview"
    assert explorer._effect["after"] == "red"
    assert len(explorer._log) == 1
    assert bytes(explorer._now) == b""
    outside = {"kind": "box", "points": [[40, 40], [50, 50]]}
    hear(explorer, "preview", tool="box", action="paint", colour="", region=outside)
    assert explorer.error is None
    hear(explorer, "preview")  # it came to nothing
    assert explorer._effect == before


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"region": {"kind": "brush", "points": [], "radius": 3}}, "1 to"),
        ({"region": {"kind": "cloud", "points": []}}, "cloud"),
        ({"region": {"kind": "box", "points": [[40, 40], [50, 50]]}}, "nothing of the box lies in the picture"),
        ({"region": {"kind": "object"}}, "no mask"),
        ({"tool": "paste", "x": 3, "y": 3}, "no patch to paste yet"),
        ({"action": "bleach", "region": {"kind": "brush", "points": [[3, 3]], "radius": 3}}, "bleach"),
        ({"action": "background", "region": {"kind": "box", "points": [[1, 1], [5, 5]]}}, "no background was chosen"),
        ({"colour": "red", "region": {"kind": "box", "points": [[1, 1], [5, 5]]}}, "#rrggbb"),
    ],
)
def test_changes_that_are_refused_are_told_and_change_nothing(
    explorer: FailureExplorer, content: dict[str, Any], words: str
) -> None:
    opened(explorer)
    hear(explorer, "edit", **content)
    assert words in (explorer.error or "")
    assert len(explorer._log) == 1
    hear(explorer, "dismiss")
    assert explorer.error is None


def test_messages_that_make_no_sense_are_told(explorer: FailureExplorer) -> None:
    senseless: list[tuple[str, dict[str, Any]]] = [
        ("undo", {}), ("go", {"step": 3}), ("switch", {"stage": "S1", "channels": [0]}), ("edit", {}), ("save", {}),
        ("trees", {"what": "change"}), ("patch", {"at": 7}), ("open", {"path": "/none"}),
    ]  # fmt: skip
    for kind, content in senseless:
        hear(explorer, kind, **content)
        assert explorer.error, kind
        hear(explorer, "dismiss")
    explorer.set_state({"colour": "green"})
    assert "#rrggbb" in (explorer.error or "")
    assert explorer.colour == ""
    explorer.choose(77).wait()
    assert "77" in (explorer.error or "")
    assert explorer._case["state"] == "failed"


def test_the_change_of_the_tree_and_that_it_is_never_stale(explorer: FailureExplorer) -> None:
    some = Region.box(12, 8, 14, 12)  # half of the spot
    opened(explorer).edit(Edit("paint", some, {"colour": RED})).wait()
    hear(explorer, "trees", what="change")
    assert explorer._trees["what"] == "change"
    wanted = Edits(explorer.classifier, DATA[1][0]).paint(some, RED).tree_diff("blue", depth=2)
    assert explorer._trees["distance"] == pytest.approx(wanted.distance)
    explorer.undo().wait()
    assert explorer._trees["what"] == "classes"
    explorer.switch_off(explorer.stage, 3).wait()
    hear(explorer, "trees", what="change")
    assert explorer._trees["state"] == "failed"
    assert "switch its channels on again" in explorer._trees["text"]


def test_a_channel_its_map_and_its_patches(explorer: FailureExplorer) -> None:
    opened(explorer)
    explorer.channel = [explorer.stage, 3]
    explorer.wait()
    assert explorer._patches == {"state": "offer"}
    seen = np.frombuffer(explorer._channel_map, np.uint8).reshape(16, 16)
    assert seen.max() == 255
    y, x = divmod(int(seen.argmax()), 16)
    assert 8 <= y < 12 <= x < 16
    hear(explorer, "index")
    assert explorer._patches["state"] == "done"
    assert {row["id"] for row in explorer._patches["rows"][:2]} == {"1", "3"}  # where there is yellow
    hear(explorer, "patch", at=0)
    assert explorer.tool == "paste"
    opened(explorer, 1)
    explorer.channel = ["S9", 0]
    explorer.wait()
    assert "S9" in (explorer.error or "")


def test_a_patch_is_pasted() -> None:
    made = opened(FailureExplorer(net(), DATA).wait(), 0)
    made.channel = [made.stage, 3]
    hear(made, "index")
    hear(made, "patch", at=0)
    assert made._effect["after"] == "red"
    hear(made, "edit", tool="paste", x=8, y=8)
    assert made.error is None
    assert made._patches["size"] == [2, 2]  # what a place of this tap sees
    assert case(made).edits.picture[7:9, 7:9].tolist() == [[list(YELLOW)] * 2] * 2
    was, now = made._effect["leads"]
    assert now > was
    made.close()


def test_the_object_and_another_background_of_the_toy_world() -> None:
    world = ToyWorld(seed=5, n=16, context="swap")
    made = FailureExplorer("toy-shortcut", world).wait()
    assert made.table is not None
    number = made.table.failures[0].number
    opened(made, number)
    assert made._case["object"]
    scene = world[number]
    mask = case(made).object
    assert mask is not None
    assert np.array_equal(mask, scene.objects[0].mask | (scene.instance_map == 1))
    other = next(one["value"] for one in made._backdrops if one["value"] != made.chosen)
    hear(made, "edit", tool="object", action="background", backdrop=other, region={"kind": "object"})
    assert made.error is None
    now = case(made).edits.picture
    assert np.array_equal(now[mask], scene.image[mask])
    assert (now[~mask] != scene.image[~mask]).any(-1).mean() > 0.9
    made.close()


# ---------------------------------------------------------------------------------------------- what goes wrong


def test_nothing_yet_and_a_data_set_by_path(tmp_path: Path) -> None:
    made = FailureExplorer(net())
    assert made.table is None
    assert made.effect is None
    assert made.diff is None
    assert made.blame == {}
    hear(made, "run")
    assert "no data set" in (made.error or "")
    hear(made, "open", path=str(tmp_path / "none"))
    assert "no data set at" in (made.error or "")
    for name in ("red", "blue"):
        (tmp_path / name).mkdir()
        flat(RED).save(tmp_path / name / "one.png")
    hear(made, "open", path=str(tmp_path))
    assert made.error is None
    assert made._table["pictures"] == 2
    made.close()


def test_data_sets_that_are_none_are_told() -> None:
    class Unlabelled:
        image = flat(RED)

    with pytest.raises(ValueError, match="empty"):
        FailureExplorer(net(), [])
    for data, words in (
        ([Unlabelled()] * 3, "has no label"),
        ([(flat(RED), "violet")], "violet"),
        ([(b"none", 0)], "could be read"),
    ):
        made = FailureExplorer(net(), data).wait()
        assert words in (made.error or "")
        assert made._progress["table"]["state"] == "failed"
        assert made.table is None
        made.close()


def test_an_unreadable_picture_is_counted_and_the_rest_goes_on() -> None:
    made = FailureExplorer(net(), [*DATA, (b"<script>", "red")]).wait()
    assert made._table["broken"] == 1
    assert made._table["pictures"] == 6
    assert made._table["whys"][0].startswith("6: ")
    made.close()


def test_a_network_without_trees_still_shows_the_rest() -> None:
    class Flat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(3 * 16 * 16, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.fc(x.flatten(1))

    torch.manual_seed(0)
    made = FailureExplorer(
        camwidgets.wrap(Flat().eval(), net().preprocessing, ["red", "green", "blue"], input_size=16), DATA
    ).wait()
    assert made.table is not None
    made.choose(made.table.failures[0].number).wait()
    assert made._case["state"] == "done"
    assert made._blame["state"] == "failed"
    assert made._trees["state"] == "failed"
    made.edit(Edit("paint", SPOT, {"colour": RED})).wait()
    assert made._effect["state"] == "done"
    made.close()


class Waits(list[Any]):
    """Calls `then` when the picture `at` is asked for."""

    def __init__(self, items: Any, at: int) -> None:
        super().__init__(items)
        self.at, self.ready = at, threading.Event()
        self.then: Any = None

    def __getitem__(self, i: Any) -> Any:
        if i == self.at and self.then is not None:
            assert self.ready.wait(30)
            then, self.then = self.then, None
            then()
        return super().__getitem__(i)


def test_a_cancelled_table_keeps_what_it_has_and_the_network_its_state() -> None:
    classifier, data = net(), Waits(DATA * 20, at=20)
    before = state(classifier.module)
    made: list[FailureExplorer] = []
    data.then = lambda: made[0].cancel()  # noqa: PLW0108 - there is none yet
    made.append(FailureExplorer(classifier, data))
    data.ready.set()
    (explorer,) = made
    explorer.wait()
    assert explorer._progress["table"]["state"] == "cancelled"
    assert explorer.table is not None
    assert len(explorer.table.decided) == 32
    explorer.run().wait()
    assert len(explorer.table.decided) == 120  # nothing is in the way of another run
    data.at, data.then = 1, lambda: explorer.cancel("groups")
    explorer.group_failures().wait()
    assert explorer._progress["groups"]["state"] == "cancelled"
    assert explorer._groups == {"state": "none", "rows": []}
    assert state(classifier.module) == before
    explorer.close()


def test_groups_that_come_late_do_not_bring_an_old_table_back() -> None:
    data = Waits(DATA, at=1)
    made = FailureExplorer(net(), data, limit=2).wait()

    def more() -> None:
        made.limit = None
        made.run()
        assert made._workers["table"].wait(60)

    data.then = more
    made.group_failures()
    data.ready.set()
    made.wait()
    assert made.table is not None
    assert made._table["pictures"] == len(made.table.decided) == len(DATA)
    assert made._groups == {"state": "none", "rows": []}
    assert made._progress["groups"]["state"] == "cancelled"
    made.group_failures().wait()
    assert made.table.groups
    made.close()


def test_a_channel_that_is_switched_off_while_blame_is_drawn_is_shown_off(
    explorer: FailureExplorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = failure_work.blame_words

    def and_off(case: Case, stage: str) -> dict[str, Any]:
        monkeypatch.setattr(failure_work, "blame_words", drawn)
        words = drawn(case, stage)
        explorer.switch_off(stage, 3)
        return words

    monkeypatch.setattr(failure_work, "blame_words", and_off)
    opened(explorer)
    assert case(explorer).edits.off
    assert [row["channel"] for row in explorer._blame["rows"] if row["off"]] == [3]


def test_another_data_set_is_refused_while_a_table_is_made() -> None:
    data = Waits(DATA, at=3)
    made: list[FailureExplorer] = []
    data.then = lambda: made[0]._hear(None, {"kind": "showcase"}, [])
    made.append(FailureExplorer(net(), data))
    data.ready.set()
    (explorer,) = made
    explorer.wait()
    assert "being made already" in (explorer.error or "")
    assert explorer.dataset is data
    assert explorer.table is not None
    assert len(explorer.table.decided) == len(DATA)
    explorer.close()


def test_the_network_is_left_alone_also_after_an_exception() -> None:
    classifier = net()
    classifier.module.train()
    before = state(classifier.module)
    made = FailureExplorer(classifier, DATA).wait()
    opened(made).switch_off(made.stage, 3).wait()
    fails = classifier.module.get_submodule("second").register_forward_hook(
        lambda *_: (_ for _ in ()).throw(RuntimeError("broken"))
    )
    made.edit(Edit("paint", SPOT, {"colour": RED})).wait()
    assert "broken" in (made.error or "")
    fails.remove()
    made.edit(Edit("paint", SPOT, {"colour": RED})).wait()
    assert made._effect["state"] == "done"
    made.close()
    assert state(classifier.module) == before


def test_memory_is_bounded_and_a_case_comes_back_as_it_was_left() -> None:
    data = [(flat(RED, YELLOW), "red")] * (LIVE + 3)
    made = FailureExplorer(net(), data).wait()
    for number in range(len(data)):
        opened(made, number).edit(Edit("paint", SPOT, {"colour": (number, 0, 0)})).wait()
    assert len(made._live) == LIVE
    assert [one["number"] for one in made.log["cases"]] == list(range(len(data)))
    opened(made, 0)
    assert tuple(case(made).edits.picture[9, 13]) == (0, 0, 0)
    assert made.steps == ["the picture as it was", "painted a box in #000000"]
    made.close()


def test_what_was_undone_stays_undone(tmp_path: Path) -> None:
    data = [(flat(RED, YELLOW), "red")] * (LIVE + 2)

    def away(made: FailureExplorer) -> None:
        for number in range(1, LIVE + 1):
            opened(made, number)
        assert 0 not in made._live

    made = FailureExplorer(net(), data).wait()
    opened(made, 0).edit(Edit("paint", SPOT, {"colour": RED})).wait()
    away(made)
    file = made.save_bundle(tmp_path / "a.zip")
    opened(made, 0).undo().wait()
    away(made)
    assert [one["number"] for one in made.log["cases"]] == [LIVE]  # the open one
    assert made._cases == []
    opened(made, 0)
    assert made.steps == ["the picture as it was"]
    made.close()
    again = FailureExplorer.from_bundle(file, net()).wait()
    opened(again, 0).undo().wait()
    opened(again, LIVE)
    assert [len(one["edits"]["edits"]) for one in again.log["cases"]] == [0]
    again.close()


# ---------------------------------------------------------------------------------------------- log and bundle


def busy(explorer: FailureExplorer) -> FailureExplorer:
    """Something done to both failures."""
    opened(explorer, 3).edit(Edit("blur", Region.brush([(3, 3), (9, 9)], 2), {"sigma": 2.0})).wait()
    opened(explorer, 1).switch_off(explorer.stage, 3).edit(Edit("paint", SPOT, {"colour": (9, 200, 30)})).wait()
    return explorer


def test_a_replayed_log_gives_the_same_logits(explorer: FailureExplorer) -> None:
    log = json.loads(json.dumps(busy(explorer).log))
    again = FailureExplorer.replay(log, net(), DATA).wait()
    assert again.chosen == 1
    assert again.error is None
    for number in (1, 3):
        opened(explorer, number)
        opened(again, number)
        assert explorer.effect is not None
        assert again.effect is not None
        assert torch.equal(again.effect.logits, explorer.effect.logits)
        assert again._log == explorer._log
    assert again.log == explorer.log
    again.close()


def test_logs_that_do_not_fit(explorer: FailureExplorer) -> None:
    log = busy(explorer).log
    with pytest.raises(ValueError, match=r"'colours'.*not of toy"):
        FailureExplorer.replay(log, "toy", DATA)
    bad: list[tuple[dict[str, Any], str]] = [
        ({"kind": "x"}, "no log"), ({"format": 99}, "format 99"), ({"cases": [1]}, "cannot be read"),
        ({"cases": [{**log["cases"][0], "label": 99}]}, "a class that"), ({"cases": [{}] * 101}, "at most 100"),
        ({"chosen": "1"}, "no number"),
        ({"cases": [{k: v for k, v in log["cases"][0].items() if k != "id"}, log["cases"][1]]}, "picture 1.*'id'"),
        ({"cases": [{**log["cases"][0], "own": float("nan")}, log["cases"][1]]}, "picture 1.*no probabilities"),
        ({"cases": [{**log["cases"][0], "edits": {}}, log["cases"][1]]}, "picture 1.*'edits'"),
    ]  # fmt: skip
    for change, words in bad:
        with pytest.raises(ValueError, match=words):
            FailureExplorer.replay({**log, **change}, net(), DATA)
    other = FailureExplorer.replay(log, net(), [(flat(GREEN), 1)] * 6).wait()
    assert other._case["state"] == "failed"
    assert "another picture" in (other.error or "")
    other.close()


FRESH = """
import hashlib, sys
import camwidgets
explorer = camwidgets.FailureExplorer.from_bundle(sys.argv[1]).wait()
print(explorer.error, explorer.check(), explorer.effect.after, len(explorer.table), explorer.chosen)
print(hashlib.sha256(explorer._bundle.pages[str(explorer.chosen)].encode()).hexdigest())
print(explorer.steps)
explorer.close()
"""


def test_a_bundle_opens_in_a_fresh_process_and_shows_the_same(tmp_path: Path) -> None:
    made = FailureExplorer("toy-shortcut", ToyWorld(seed=5, n=12, context="swap")).wait()
    assert made.table is not None
    opened(made, made.table.failures[0].number)
    made.switch_off("S5", [one.channel for one in made.blame["S5"]]).edit(
        Edit("paint", Region.box(0, 60, 96, 96))
    ).wait()
    file = made.save_bundle(tmp_path / "found.zip")
    bundle = open_bundle(file)
    run = subprocess.run(  # noqa: PLW1510 - its own words are shown below
        [sys.executable, "-c", FRESH, str(file)], capture_output=True, text=True, cwd=tmp_path, timeout=600
    )
    assert run.returncode == 0, run.stderr
    first, page, steps = run.stdout.strip().splitlines()[-3:]
    assert made.effect is not None
    assert first == f"None [] {made.effect.after} {len(made.table)} {made.chosen}"
    assert page == hashlib.sha256(bundle.pages[str(made.chosen)].encode()).hexdigest()
    assert steps == str(made.steps)
    assert f"{made.chosen} input" in bundle.maps
    assert {f"{made.chosen} own", f"{made.chosen} taken"} == set(bundle.trees)
    np.testing.assert_array_equal(bundle.pictures[f"{made.chosen} now"], case(made).edits.picture)
    made.close()


def test_an_opened_bundle_needs_no_data_set(explorer: FailureExplorer, tmp_path: Path) -> None:
    file = busy(explorer).save_bundle(tmp_path / "a.zip")
    again = FailureExplorer.from_bundle(file, net()).wait()
    assert again.error is None
    assert again.check() == []
    assert len(again._cards["cards"]) == 2
    assert all(one["thumb"] for one in again._cards["cards"])
    assert again.effect is not None
    assert explorer.effect is not None
    assert torch.equal(again.effect.logits, explorer.effect.logits)
    again.undo().wait()  # and it goes on from there
    assert again._effect["state"] == "done"
    assert again.save_bundle(tmp_path / "b.zip").is_file()
    again.close()
    with pytest.raises(ValueError, match="'colours': give it"):
        FailureExplorer.from_bundle(file)
    with pytest.raises(ValueError, match="not of toy"):
        FailureExplorer.from_bundle(file, "toy")
    with pytest.raises(ValueError, match="nothing to check it against"):
        explorer.check()


def test_a_changed_prediction_is_told(explorer: FailureExplorer, tmp_path: Path) -> None:
    file = busy(explorer).save_bundle(tmp_path / "a.zip")
    bundle = open_bundle(file)
    config = {**bundle.config, "results": {"1": [9.0, 9.0, 9.0]}}
    save_bundle(file, config=config, maps=bundle.maps, pictures=bundle.pictures, pages={"1": "other"})
    again = FailureExplorer.from_bundle(file, net()).wait()
    assert again.check() == ["picture 1: the prediction differs"]
    again.close()
    save_bundle(
        file,
        config=bundle.config,
        maps=bundle.maps,
        pictures=bundle.pictures,
        pages={"1": "other", "3": bundle.pages["3"]},
    )
    again = FailureExplorer.from_bundle(file, net()).wait()
    assert again.check() == ["picture 1: the prediction is the same, its page is not"]
    again.close()


def test_a_reopened_bundle_states_the_same_numbers(tmp_path: Path) -> None:
    made = FailureExplorer(net(), DATA, limit=4).wait()
    opened(made, 1)
    opened(made, 0).edit(Edit("paint", SPOT, {"colour": BLUE})).wait()  # one that is classified rightly
    opened(made, 5).edit(Edit("paint", SPOT, {"colour": RED})).wait()  # one beyond the limit
    again = FailureExplorer.from_bundle(made.save_bundle(tmp_path / "a.zip"), net()).wait()
    assert again.error is None
    assert (again._table, again._case) == (made._table, made._case)
    assert again.check() == []
    made.close()
    again.close()


def test_a_bundle_that_was_saved_before_there_was_a_table(tmp_path: Path) -> None:
    data = Waits(DATA, at=3)
    data.then = lambda: None  # nothing but the wait
    made = FailureExplorer(net(), data, limit=4)
    opening = made.choose(1)._workers["case"]
    assert opening.wait(60)
    assert made.table is None
    file = made.save_bundle(tmp_path / "a.zip")
    data.ready.set()
    made.wait().close()
    again = FailureExplorer.from_bundle(file, net()).wait()
    assert again.error is None
    assert again.table is None
    assert (again._case["state"], again._case["id"]) == ("done", "1")
    assert again.check() == []
    again.close()


def test_what_is_done_after_a_bundle_was_opened_does_not_accuse_it(explorer: FailureExplorer, tmp_path: Path) -> None:
    file = busy(explorer).save_bundle(tmp_path / "a.zip")
    again = FailureExplorer.from_bundle(file, net()).wait()
    again.stage = next(iter(again.classifier.stages))
    again.edit(Edit("paint", Region.box(0, 0, 16, 16), {"colour": BLUE})).wait()
    assert again.check() == []
    again.close()
    log = json.loads(json.dumps(open_bundle(file).config["log"]))
    log["cases"][-1]["edits"]["edits"] = [{"kind": "inpaint", "region": None, "options": {}}]
    whole = open_bundle(file)
    save_bundle(file, config={**whole.config, "log": log}, maps=whole.maps, pages=whole.pages)
    again = FailureExplorer.from_bundle(file, net()).wait()
    assert again.check() == ["picture 1: inpaint needs a region of the picture"]
    again.close()


def test_a_bundle_is_of_one_moment(
    explorer: FailureExplorer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = failure_record.case_page

    def meanwhile(case: Case, stage: str) -> str:
        monkeypatch.setattr(failure_record, "case_page", drawn)
        explorer.edit(Edit("paint", Region.box(0, 0, 16, 16), {"colour": BLUE}))
        explorer.stage = next(iter(explorer.classifier.stages))
        return drawn(case, stage)

    busy(explorer)
    monkeypatch.setattr(failure_record, "case_page", meanwhile)
    again = FailureExplorer.from_bundle(explorer.save_bundle(tmp_path / "a.zip"), net()).wait()
    assert len(case(explorer).edits.log) == len(case(again).edits.log) + 1
    assert again.check() == []
    again.close()


def test_every_case_of_a_bundle_has_its_maps(tmp_path: Path) -> None:
    made = FailureExplorer(net(), [(flat(RED, YELLOW), "red")] * (LIVE + 1)).wait()
    for number in range(LIVE + 1):
        opened(made, number).edit(Edit("paint", SPOT, {"colour": RED})).wait()
    maps = open_bundle(made.save_bundle(tmp_path / "a.zip")).maps
    counts = {number: sum(name.startswith(f"{number} ") for name in maps) for number in range(LIVE + 1)}
    assert len(set(counts.values())) == 1
    assert counts[0] > 1  # more than the input
    made.close()


def test_hostile_bundles(explorer: FailureExplorer, tmp_path: Path) -> None:
    whole = open_bundle(busy(explorer).save_bundle(tmp_path / "whole.zip"))
    config = whole.config
    bad: list[tuple[dict[str, Any], str]] = [
        ({"kind": "other"}, "bundle of something else"), ({"log": 3}, "bundle of something else"),
        ({"results": {"../x": [1]}}, "results"), ({"results": {"1": ["a"]}}, "results"),
        ({"results": {"0": [1.0, 1.0, 1.0]}}, "that its log has not"), ({"results": {"1": [1.0]}}, "results"),
        ({"table": {"decided": [[1, 2]], "made_by": {}, "broken": {}}}, "table"),
        ({"table": {"decided": [[0, "x", 0, 99, 1.0, 1.0]], "made_by": {}, "broken": {}}}, "table"),
        ({"log": {**config["log"], "cases": [{"number": "x"}]}}, "cannot be read"),
    ]  # fmt: skip
    for change, words in bad:
        file = save_bundle(tmp_path / "bad.zip", config={**config, **change})
        with pytest.raises(ValueError, match=words):
            FailureExplorer.from_bundle(file, net())
    # A log whose changes are none: told when the picture is opened, nothing is run.
    case = json.loads(json.dumps(config["log"]["cases"][-1]))
    case["edits"]["edits"] = [{"kind": "__import__('os')", "region": None, "options": {}}]
    bad_log = {**config, "log": {**config["log"], "cases": [case]}, "results": {}}
    file = save_bundle(tmp_path / "bad.zip", config=bad_log, maps=whole.maps)
    made = FailureExplorer.from_bundle(file, net()).wait()
    assert "__import__" in (made.error or "")
    assert made._case["state"] == "failed"
    made.close()
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as evil:
        evil.writestr("../../evil.py", "x")
    with pytest.raises(ValueError, match=r"refused|no bundle"):
        FailureExplorer.from_bundle(tmp_path / "evil.zip", net())


def test_labels_and_ids_are_escaped_in_the_page(tmp_path: Path) -> None:
    class Odd:
        id, label = "<script>alert('id')</script>", 0
        image = flat(RED, YELLOW)

    hostile: Classifier = camwidgets.wrap(
        net().module,
        net().preprocessing,
        ["<img src=x onerror=alert(1)>", "b", "<b>c</b>"],
        name="<i>n</i>",
        input_size=16,
    )
    made = opened(FailureExplorer(hostile, [Odd()] * 2).wait(), 0)
    made.switch_off(made.stage, 3).wait()
    page = open_bundle(made.save_bundle(tmp_path / "a.zip")).pages["0"]
    for text in ("<script>", "<img src=x", "<b>c</b>", "<i>n</i>"):
        assert text not in page
    assert "&lt;script&gt;" in page
    assert "default-src 'none'" in page
    made.close()


def test_saving_sends_a_file(explorer: FailureExplorer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sent: list[tuple[Any, Any]] = []
    monkeypatch.setattr(explorer, "send", lambda content, buffers=None: sent.append((content, buffers)))
    hear(busy(explorer), "save")
    ((content, (data,)),) = sent
    assert content == {"kind": "file", "name": "failures-colours.zip", "type": "application/zip"}
    (tmp_path / "a.zip").write_bytes(data)
    assert open_bundle(tmp_path / "a.zip").config["kind"] == "failure-explorer"


def test_closing_ends_the_threads() -> None:
    made = opened(FailureExplorer(net(), DATA).wait())
    threads = [w._thread for w in made._workers.values() if w._thread is not None]
    assert threads
    made.close()
    assert not any(thread.is_alive() for thread in threads)
