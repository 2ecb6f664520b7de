"""`benchmarks learning`: its arithmetic; that it runs from end to end and goes on where it was. Nothing is judged."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import camwidgets
from benchmarks import learning
from benchmarks.learning_maps import Both, by_net, cam, covered, foreground, kept
from benchmarks.learning_nets import begun, world
from benchmarks.learning_stages import GRID, KINDS, MODELS, SPLIT, TRUTH, Stages
from benchmarks.learning_tables import curves, epochs, orderings, spread, table, verdict
from camwidgets.learning.labelled import Example
from camwidgets.learning.objective import normalised

TINY = argparse.Namespace(
    pictures=12, warm=1, epochs=1, held_out=4, segment_epochs=1, segment_width=4,
)  # fmt: skip


def test_spread_and_verdicts() -> None:
    assert spread([]) == ""
    assert spread([0.5, 0.6]) == "55.0 ± 7.1"
    assert [verdict(gains) for gains in ([0.1], [0.2, -0.1], [0.1, -0.2], [0.0])] == [
        "every seed", "in the mean", "no", "no",
    ]  # fmt: skip


def test_tables_hold_the_seeds() -> None:
    results = {
        0: {"a": {"background": 0.3, "miou": 0.5}, "b": {"miou": 0.7}},
        1: {"a": {"background": 0.4, "miou": 0.6}, "b": {"miou": 0.5}},
    }
    rows = table(results)
    assert [row["maps"] for row in rows] == ["a", "b"]
    assert (rows[0]["background below"], rows[0]["pseudo-labels, mIoU"]) == ("0.30, 0.40", "55.0 ± 7.1")
    assert rows[1]["background below"] == ""
    (row,) = orderings(results, [("a", "b")], ["miou"])
    assert row == {"expected": "a < b", "pseudo-labels, mIoU": "+5.0 ± 21.2: in the mean"}


def test_a_threshold_is_the_best_of_the_other_seeds() -> None:
    low, high = np.zeros((2, len(GRID)))
    low[2], high[5] = 1.0, 0.9
    lines = {0: low, 1: high, 2: 0.5 * high}
    found = {seed: dict.fromkeys(KINDS, line.tolist()) for seed, line in lines.items()}
    assert learning.chosen(found, 0)["CAM"] == GRID[5]  # its own best, GRID[2], is not asked for
    assert learning.chosen(found, 1)["CAM"] == GRID[2]


def test_curves_of_several_runs() -> None:
    one = pd.DataFrame({"epoch": [1, 2], "recall_now": [0.1, 0.2], "noise_now": [0.3, 0.4]})
    lines = curves({0: {"oaa": one}, 5: {"oaa": one + 0.0}}, {"CAM": ("oaa", "now")})
    assert lines["seed"].tolist() == [0, 0, 5, 5]
    assert epochs(lines)[1] == {"epoch": "2", "CAM, recall / noise": "20.0 / 40.0"}


def test_what_was_made_is_not_made_again(tmp_path: Path) -> None:
    first = kept(tmp_path / "a" / "x.npy", lambda: np.arange(3))
    again = kept(tmp_path / "a" / "x.npy", lambda: pytest.fail("made twice"))
    np.testing.assert_array_equal(first, again)
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["x.npy"]


def test_two_rules_beside_each_other(tmp_path: Path) -> None:
    data = world(5, 2)
    with Both(tmp_path, data) as both:
        present = torch.stack([example.present for example in data])
        for value in (0.25, 0.75):
            both.update(data.ids, torch.full((2, 10, 24, 24), value), present)
        c = int(present[0].nonzero()[0])
        assert float(both.map(data.ids[0], c).max()) == 0.75
        assert float(both.mean.map(data.ids[0], c).max()) == 0.5
        number = both.flush()
        both.update(data.ids, torch.ones(2, 10, 24, 24), present)
        both.rollback(number)
        assert float(both.map(data.ids[0], c).max()) == 0.75
        assert float(both.mean.map(data.ids[0], c).max()) == 0.5


def test_maps_of_a_net_are_of_the_classes_present() -> None:
    data = world(6, 3)
    net = begun(0, data)
    maps = by_net(net, data, cam)
    assert maps.shape == (3, 10, *maps.shape[2:])
    assert net.training
    for one, example in zip(maps, data, strict=True):
        assert not one[~example.present.numpy()].any()
        assert one.max() <= 1


def test_what_lies_above_a_threshold_and_how_much_of_it_is_the_object() -> None:
    mask = torch.zeros(2, 4, dtype=torch.uint8)
    mask[:, :2], mask[0, 2] = 2, 2  # class 1 in the left half, and in a quarter of the place beside it
    example = Example("a", torch.zeros(3, 2, 4, dtype=torch.uint8), torch.tensor([False, True]), mask)
    maps = np.array([[[[9.0, 9.0]], [[0.8, 0.2]]]], np.float16)  # class 0 is absent: not looked at
    assert covered(maps, [example], 0.0) == (1.0, 0.625)
    assert covered(maps, [example], 0.25) == (0.5, 1.0)  # 0.2 is a quarter of the maximum, and not above it
    assert covered(maps, [example], 1.0) == (0.0, 0.0)
    assert foreground(example).tolist() == [[1, 1, 1, 0], [1, 1, 0, 0]]


def test_with_the_true_foreground_noise_outside_of_objects_costs_nothing(tmp_path: Path) -> None:
    stages = Stages(tmp_path, 0, TINY)
    places = np.tile(np.arange(96 * 96).reshape(96, 96), (12, 1, 1))  # each pixel is a region
    masks = np.stack([example.mask.numpy() for example in stages.data if example.mask is not None])
    right = np.stack([masks == c + 1 for c in range(10)], 1).astype(np.float16)
    noisy = np.maximum(right, (masks == 0)[:, None] * np.float16(0.9))
    assert stages._miou(right, places, 0.3, stages.judged) == 1
    assert stages._miou(noisy, places, 0.3, stages.judged) < 0.5
    assert stages._miou(noisy, places, 0.3, stages.judged, foreground) == 1


def test_integral_models_differ_in_their_threshold_alone(tmp_path: Path) -> None:
    stages = Stages(tmp_path, 0, TINY)
    stages.maps()
    told = {name: json.loads((tmp_path / "seed_0" / name / "run.json").read_text("utf-8")) for name in MODELS}
    of = {name: one["objective"]["settings"] for name, one in told.items()}
    assert of["integral"]["threshold"] == 0
    assert of[f"integral_{SPLIT}"] == {**of["integral"], "threshold": SPLIT}
    assert of[f"integral_drop_{SPLIT}"] == {**of["integral_drop"], "threshold": SPLIT}
    found = stages.split(SPLIT)
    assert set(found) == {"positive", "object"} | {
        f"{what}_{how}" for what in ("recall", "noise", "miou") for how in ("relu", "sigma")
    }
    assert found == stages.split(SPLIT)


def test_a_beginning_that_is_there_is_read_whatever_wrote_it(tmp_path: Path) -> None:
    stages, warm = Stages(tmp_path, 0, TINY), tmp_path / "seed_0" / "warm"
    first = stages._started()
    (warm / "last.pt").write_bytes(b"of another version")
    again = stages._started()
    assert again.training
    torch.testing.assert_close(again.state_dict(), first.state_dict(), rtol=0, atol=0)


def test_a_net_begins_as_the_network_toy() -> None:
    data = world(8, 6)
    x = normalised(torch.stack([example.picture for example in data]))
    features = camwidgets.load("toy").module.features
    assert isinstance(features, torch.nn.Sequential)
    upto = list(dict(features.named_children())).index("relu3_2") + 1
    net = begun(0, data).eval()
    with torch.no_grad():
        torch.testing.assert_close(net.backbone(x), features[:upto](x), rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_it_runs_and_goes_on_where_it_was(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = {name.replace("_", "-"): value for name, value in vars(TINY).items()}
    arguments = [text for name, value in options.items() for text in (f"--{name}", str(value))]
    arguments += ["--folder", str(tmp_path), "--seeds", "0", "1", "--gain-pictures", "8", "--gain-epochs", "1"]
    arguments += ["--gain-test", "10", "--scenes", "2", "--split-seeds", "1"]
    threads = torch.get_num_threads()
    try:
        assert learning.main(arguments) == 0
        first = capsys.readouterr().out
        known = json.loads((tmp_path / "seed_1" / "results.json").read_text("utf-8"))
        assert len(known) == 3 * len(KINDS) + 1 + len(learning.SPLITS) + 1
        assert learning.main(arguments) == 0
    finally:
        torch.set_num_threads(threads)
    again = capsys.readouterr()
    assert again.out == first
    assert TRUTH in first
    assert "OAA++ < OAA+++" in first
    assert "N₊ = {p > 0.4}" in first
    assert "plain < guided" in first
    assert "| S5 |" in first
    assert all((tmp_path / name).stat().st_size for name in ("recall.html", "labels.html", "maps.png"))


def test_results_of_other_settings_are_not_taken_for_these(tmp_path: Path) -> None:
    Stages(tmp_path, 0, TINY)
    Stages(tmp_path, 0, TINY)
    with pytest.raises(SystemExit, match="was made with"):
        Stages(tmp_path, 0, argparse.Namespace(**{**vars(TINY), "epochs": 2}))


def test_one_seed_is_not_enough(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        learning.main(["--seeds", "3", "3"])
    assert "two or more" in capsys.readouterr().err


def test_all_kinds_are_of_the_training_pictures(tmp_path: Path) -> None:
    stages = Stages(tmp_path, 0, TINY)
    maps = stages.maps()
    assert list(maps) == list(KINDS)
    assert all(one.shape[:2] == (12, 10) for one in maps.values())
    assert np.isfinite(np.concatenate([one.ravel() for one in maps.values()])).all()
    lowest = maps["OAA, mean"].astype(np.float32) - maps["OAA, max"].astype(np.float32)
    assert lowest.max() < 1e-3  # no mean is above its maximum
