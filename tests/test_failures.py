"""Failures: told rightly where the errors are known, grouped by the channel that was planted, saved and read again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import camwidgets
from camwidgets import Classifier, wrap
from camwidgets.classifiers.preprocessing import Preprocessing
from camwidgets.classifiers.taps import ReceptiveField, Tap
from camwidgets.datasets.items import Item, Source
from camwidgets.datasets.sources import PictureFile
from camwidgets.datasets.toyworld import HOME, ToyWorld
from camwidgets.figures.investigate import confusion_figure
from camwidgets.investigate import FailureTable, failures, group_failures
from camwidgets.investigate.groups import window_around
from tests.nets import state


class Colours(nn.Module):
    """Tells red, green and blue by the mean of a channel, and falls for yellow: red and green together say blue.

    First tap (16×16): red, green, blue, and yellow = ReLU(red + green − 1.5). Second (8×8): the same, pooled.
    """

    def __init__(self) -> None:
        super().__init__()
        one, two = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1)
        self.first = nn.Sequential(one, nn.ReLU())
        self.pool = nn.AvgPool2d(2)
        self.second = nn.Sequential(two, nn.ReLU())
        self.fc = nn.Linear(4, 3)
        with torch.no_grad():
            one.weight.copy_(torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0]])[..., None, None])
            one.bias = nn.Parameter(torch.tensor([0.0, 0, 0, -1.5]))
            two.weight.copy_(torch.eye(4)[..., None, None])
            two.bias = nn.Parameter(torch.zeros(4))
            self.fc.weight.copy_(torch.tensor([[9.0, 0, 0, 0], [0, 9, 0, 0], [0, 0, 9, 400]]))
            self.fc.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.second(self.pool(self.first(x))).mean((2, 3)))


RED, GREEN, BLUE, YELLOW = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0)


def net() -> Classifier:
    rule = Preprocessing((16, 16), 16, "squash", (0.0,) * 3, (1.0,) * 3, "nearest")
    return wrap(Colours().eval(), rule, ["red", "green", "blue"], name="colours", input_size=16)


def flat(colour: Sequence[int], spot: Sequence[int] | None = None) -> Image.Image:
    """One colour, with a 4×4 spot in the corner (12, 8)."""
    picture = np.full((16, 16, 3), colour, np.uint8)
    if spot is not None:
        picture[8:12, 12:16] = spot
    return Image.fromarray(picture)


#: Two errors: yellow spots make red and green pictures blue.
DATA = [
    (flat(RED), "red"), (flat(RED, YELLOW), "red"), (flat(GREEN), 1), (flat(GREEN, YELLOW), 1), (flat(BLUE), 2),
    (flat(BLUE, RED), np.int64(2)),
]  # fmt: skip


def test_what_is_wrong_how_surely_and_into_what() -> None:
    classifier = net()
    before = state(classifier.module)
    told: list[tuple[int, int]] = []
    table = failures(classifier, DATA, progress=lambda *at: told.append(at))
    assert state(classifier.module) == before
    expected = [classifier.predict(picture, 1)[0] for picture, _ in DATA]
    assert [d.predicted for d in table.decided] == [p.index for p in expected]
    assert [d.confidence for d in table.decided] == pytest.approx([p.probability for p in expected])
    wrong = [i for i, d in enumerate(table.decided) if not d.right]
    assert wrong
    assert {table.decided[i].predicted for i in wrong} == {2}
    assert sorted(d.number for d in table.failures) == wrong
    assert [d.confidence for d in table.failures] == sorted((d.confidence for d in table.failures), reverse=True)
    assert table.accuracy == pytest.approx(1 - len(wrong) / 6)
    counts = table.confusion()
    assert int(counts.to_numpy().sum()) == 6
    blue = counts["blue"]
    assert blue.to_dict() == {"red": 1, "green": 1, "blue": 2}
    frame = table.to_frame()
    assert list(frame["label"]) == ["red", "red", "green", "green", "blue", "blue"]
    assert told[-1] == (6, 6)
    assert "misclassified" in str(table)
    figure = confusion_figure(table)
    assert [list(row) for row in figure.data[0].z] == counts.to_numpy().tolist()


def test_no_failure_offers_the_least_confident() -> None:
    table = failures(net(), [DATA[0], DATA[2], DATA[4], DATA[5]])
    assert len(table) == 0
    assert table.accuracy == 1
    assert str(table).startswith("no failure among 4 pictures; the least confident: ")
    least = table.least_confident(2)
    assert [d.confidence for d in least] == sorted(d.confidence for d in table.decided)[:2]
    assert group_failures(table) == []
    assert len(confusion_figure(table).data) == 1


def test_a_table_of_nothing_says_so() -> None:
    """Made by hand: `failures` itself refuses to decide nothing."""
    table = FailureTable(["cat", "dog"], (), {}, {})
    assert np.isnan(table.accuracy)
    assert (len(table), table.failures, table.least_confident()) == (0, (), [])
    assert str(table) == "no picture was decided"
    assert table.confusion().shape == (0, 0)
    assert list(table.to_frame()) == ["id", "label", "predicted", "confidence", "own", "right"]
    assert confusion_figure(table).layout.title.text == "no picture was decided"
    broken = FailureTable(["cat", "dog"], (), {"a.png": "no picture", "b.png": "cut off"}, {})
    figure = confusion_figure(broken)
    assert figure.layout.title.text == "no picture was decided, 2 could not be read"
    assert len(figure.data[0].z) == 0


def test_groups_name_the_channel_that_was_planted() -> None:
    wrong = [(flat(RED, YELLOW), 0), (flat(GREEN, YELLOW), 1), (flat((230, 0, 0), YELLOW), 0)]
    right = [(flat(BLUE), 2), (flat((0, 0, 200)), 2), (flat(RED), 0)]
    classifier = net()
    table = failures(classifier, [*right, *wrong]).grouped(depth=2, top=1)
    assert len(table) == 3
    stages = list(classifier.stages)
    first = table.groups[0]
    assert (first.channel, first.count, first.of) == (3, 3, 3)
    assert first.expected == pytest.approx(3 * 0.5 / 3)  # none of the two right blue pictures rests on it
    assert first.lift == pytest.approx(6)
    assert first.into == {2: 3}
    assert set(first.members) == {3, 4, 5}
    assert {(g.stage, g.channel) for g in table.groups} == {(s, 3) for s in stages}
    assert f"3 of 3 errors rest on {first.stage} #3" in str(first)
    for patch in first.patches:
        x0, y0, x1, y1 = patch.window
        assert 12 <= x0 < x1 <= 16
        assert 8 <= y0 < y1 <= 12
        assert (patch.picture == YELLOW).all()


def test_the_trees_of_both_classes_of_a_failure() -> None:
    classifier = net()
    table = failures(classifier, DATA)
    one = next(d for d in table.failures if d.label == 0)
    found = table.tree_diff(one)
    assert (found.before.target, found.after.target) == (0, 2)
    deepest = found.stages[0]
    assert {(c.channel, c.kind) for c in found.channels if c.stage == deepest} == {(0, "lost"), (3, "gained")}
    assert found.parting == deepest


def test_saved_and_read_again(tmp_path: Path) -> None:
    table = failures(net(), [*DATA, (flat((230, 0, 0), YELLOW), 0)]).grouped(top=1)
    again = FailureTable.load(table.save(tmp_path))
    assert again.decided == table.decided
    assert again.groups == table.groups
    assert str(again) == str(table)
    for a, b in zip(again.groups, table.groups, strict=True):
        assert all(np.array_equal(p.picture, q.picture) for p, q in zip(a.patches, b.patches, strict=True))
    worst = again.failures[0]
    assert np.array_equal(again.picture(worst), table.picture(worst))
    with pytest.raises(ValueError, match="pictures of its failures only"):
        again.picture(again.decided[0])
    with pytest.raises(ValueError, match="loaded without its data set"):
        again.grouped()
    with pytest.raises(FileNotFoundError, match=r"failures\.json is missing"):
        FailureTable.load(tmp_path / "none")
    assert {p.suffix for p in tmp_path.iterdir()} == {".json", ".png"}


class Broken(Source):
    def open(self) -> Any:
        raise ValueError("cannot be read: it is cut off")


class Held(Source):
    def __init__(self, picture: Image.Image) -> None:
        self.picture = picture

    def open(self) -> Image.Image:
        return self.picture


def test_items_scenes_pairs_and_broken_pictures() -> None:
    items = [
        Item("a.png", "red", (), None, Held(flat(RED))),
        Item("b.png", 2, (), None, Broken()),
        Item("c.png", 1, (), None, Held(flat(BLUE))),
    ]
    table = failures(net(), items)
    assert [d.id for d in table.decided] == ["a.png", "c.png"]
    assert table.broken == {"b.png": "cannot be read: it is cut off"}
    assert [d.id for d in table.failures] == ["c.png"]
    assert table.confusion().loc["green", "blue"] == 1
    with pytest.raises(ValueError, match="none of the 1 pictures could be read"):
        failures(net(), items[1:2])
    scenes = failures(camwidgets.load("toy"), ToyWorld(seed=1, n=20), limit=12)
    assert len(scenes.decided) == 12
    assert [d.label for d in scenes.decided] == [ToyWorld(seed=1, n=20).main_label(i) for i in range(12)]


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        ([], ValueError, "empty data set"),
        ("folder", FileNotFoundError, "there is no data set at 'folder'"),
        ([flat(RED)], TypeError, "neither open"),
        ([(flat(RED), "red", 1)], TypeError, "a tuple of 3"),
        ([(flat(RED), "pink")], ValueError, "unknown label 'pink'"),
        ([Item("a", None, (), None, Held(flat(RED)))], TypeError, "no label"),
        ([object()], TypeError, r"neither open\(\) nor image"),
    ],
)
def test_bad_data(data: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        failures(net(), data)


def test_it_can_be_ended_at_any_time_and_refuses_bad_numbers() -> None:
    classifier = net()
    before = state(classifier.module)

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        failures(classifier, DATA, progress=stop)
    table = failures(classifier, DATA)
    with pytest.raises(KeyboardInterrupt):
        table.grouped(progress=stop)
    assert state(classifier.module) == before
    with pytest.raises(ValueError, match="limit is a number of pictures"):
        failures(classifier, DATA, limit=0)
    with pytest.raises(ValueError, match="depth is a whole number"):
        table.grouped(depth=0)


def test_windows_are_receptive_fields_cut_to_half_the_picture() -> None:
    small = Tap("a", size=(8, 8), receptive_field=ReceptiveField((4, 4), (2, 2), (-1, -1)))
    assert window_around(small, 2, 3, (16, 16)) == (5, 3, 9, 7)
    assert window_around(small, 0, 0, (16, 16)) == (0, 0, 3, 3)
    large = Tap("b", size=(2, 2), receptive_field=ReceptiveField((60, 60), (8, 8), (-26, -26)))
    assert window_around(large, 1, 1, (16, 16)) == (8, 8, 16, 16)
    whole = Tap("c", size=(2, 2), receptive_field=ReceptiveField(whole=True))
    assert window_around(whole, 0, 1, (16, 16)) == (8, 0, 16, 8)


def test_the_shortcut_learner_s_errors_share_channels_of_the_wrong_home() -> None:
    """Ducks on rails are called trains: what these errors share is found in right trains, too (lift near 1)."""
    table = failures(camwidgets.load("toy-shortcut"), ToyWorld(seed=6, n=60, context_strength=0.5))
    groups = table.grouped(controls=4).groups
    assert groups[0].count >= 3
    wrong = table.failures
    world = ToyWorld(seed=6, n=60, context_strength=0.5)
    at_home = [HOME[table.labels[d.predicted]] == world[d.number].context for d in wrong]
    assert np.mean(at_home) > 0.8  # nearly every error is the class whose home the scene shows


def test_cancelled_it_keeps_what_it_has() -> None:
    classifier, world = camwidgets.load("toy"), ToyWorld(seed=1, n=100)
    asked: list[int] = []
    found = failures(classifier, world, cancelled=lambda: asked.append(1) or len(asked) == 2)  # type: ignore[func-returns-value]
    assert len(asked) == 2
    assert len(found.decided) == found.made_by["looked_at"] == 32
    assert found.decided == failures(classifier, world, limit=32).decided


class Folder(Sequence[Any]):
    """Like other people's data sets: opens the picture when the item is asked for."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, i: Any) -> Any:
        with Image.open(self.paths[i]) as image:
            return image.convert("RGB"), 0


def test_pictures_that_cannot_be_read_end_nothing(tmp_path: Path) -> None:
    for i in range(3):
        flat(RED).save(tmp_path / f"{i}.png")
    (tmp_path / "1.png").write_bytes(b"no picture")
    table = failures(net(), Folder([tmp_path / f"{i}.png" for i in range(3)]), limit=np.array([3])[0])
    assert [d.number for d in table.decided] == [0, 2]
    assert list(table.broken) == ["1"]
    same = [Item("twin", 0, (), None, PictureFile(tmp_path / "1.png")) for _ in range(3)]
    table = failures(net(), [*same, DATA[0]])
    assert (len(table.broken), len(table.decided)) == (3, 1)
    with pytest.raises(ValueError, match="unicorn"):  # not a file's fault
        failures(net(), [DATA[0], (flat(RED), "unicorn")])


def test_pictures_of_two_sizes_are_decided_each_in_its_own() -> None:
    rule = lambda image: torch.from_numpy(np.array(image)).permute(2, 0, 1) / 255  # noqa: E731
    free = wrap(Colours().eval(), rule, net().labels, input_size=16)
    data = [(p.resize((16, 24), Image.Resampling.NEAREST), y) if i % 2 else (p, y) for i, (p, y) in enumerate(DATA)]
    table = failures(free, data)
    assert [d.number for d in table.decided] == list(range(6))
    assert [d.predicted for d in table.decided] == [free.predict(p, 1)[0].index for p, _ in data]
