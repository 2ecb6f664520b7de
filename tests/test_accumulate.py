"""Cumulative maps: the rules by hand, kept by sample id, whole after any kill, and no nonsense believed."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from torch import Tensor

from camwidgets.learning import accumulated
from camwidgets.learning.accumulate import AttentionAccumulator
from camwidgets.learning.accumulated import open_accumulated

IDS = [f"p{i}" for i in range(4)]


def made(folder: Path, rule: str = "max", dtype: str = "float16", ids: list[str] = IDS) -> AttentionAccumulator:
    return AttentionAccumulator(folder / "kept", ids, ["cat", "dog", "car"], (1, 2), rule, dtype)


def fold(kept: AttentionAccumulator, id: str, values: list[float], classes: tuple[int, ...] = (1,)) -> None:
    present = torch.zeros(1, 3, dtype=torch.bool)
    present[0, list(classes)] = True
    kept.update([id], torch.tensor(values).expand(1, 3, 1, 2), present)


# ---------------------------------------------------------------------------------------------------------- rules


def test_maximum_4_4(tmp_path: Path) -> None:
    with made(tmp_path) as kept:
        for values in ([0.25, 1.0], [0.5, 0.0], [0.125, 0.75]):
            fold(kept, "p2", values)
        assert kept.map("p2", "dog").tolist() == [[0.5, 1.0]]
        assert kept.count("p2") == 3
        assert kept.maps("p2").tolist() == [[[0, 0]], [[0.5, 1]], [[0, 0]]]
        assert not kept.maps("p1").any()
        assert (kept.count("p1"), len(kept)) == (0, 1)


@pytest.mark.parametrize("dtype", ["float16", "uint8"])
def test_running_mean_4_9(tmp_path: Path, dtype: str) -> None:
    """M_t = ((t − 1) M_{t−1} + A_t)/t, which is the mean of all."""
    given = [[0.2, 1.0], [0.6, 0.0], [0.4, 0.8]]  # fifths are whole 255ths
    with made(tmp_path, "mean", dtype) as kept:
        M = np.zeros(2)
        for t, A in enumerate(given, start=1):
            fold(kept, "p0", A)
            M = ((t - 1) * M + A) / t
            np.testing.assert_allclose(kept.map("p0", 1)[0], M, atol=1e-7)


def test_the_mean_does_not_drift_in_8_bits(tmp_path: Path) -> None:
    """Error ≤ ½/255 after any number of epochs; a mean rounded back to 8 bits at each would be far off."""
    generator = torch.Generator().manual_seed(0)
    exact, rounded = np.zeros(2), np.zeros(2)
    with made(tmp_path, "mean", "uint8") as kept, made(tmp_path / "half", "mean", "float16") as half:
        for t in range(1, 1001):
            A = torch.rand(2, generator=generator) ** 3
            fold(kept, "p0", A.tolist())
            fold(half, "p0", A.tolist())
            exact += A.double().numpy()
            rounded = np.rint(((t - 1) * rounded + 255 * A.double().numpy()) / t)
            assert np.abs(kept.map("p0", 1)[0].numpy() - exact / t).max() <= 0.5 / 255 + 2**-24
            assert np.abs(half.map("p0", 1)[0].numpy() - exact / t).max() <= t * 2**-24 + 2**-24
        assert np.abs(rounded / 255 - exact / 1000).max() > 0.05


@pytest.mark.parametrize(("dtype", "step"), [("float16", 2**-12), ("uint8", 0.5 / 255)])
def test_the_maximum_is_rounded_once(tmp_path: Path, dtype: str, step: float) -> None:
    maps = torch.rand(30, 2, generator=torch.Generator().manual_seed(1))
    with made(tmp_path, "max", dtype) as kept:
        for A in maps:
            fold(kept, "p3", A.tolist())
        assert (kept.map("p3", 1)[0] - maps.amax(0)).abs().max() <= step + 1e-7


def test_order_and_batches_do_not_matter(tmp_path: Path) -> None:
    """Kept by sample id: the same after shuffled batches, one of which has a picture twice."""
    generator = torch.Generator().manual_seed(2)
    maps = torch.rand((12, 3, 1, 2), generator=generator)
    present = torch.rand((4, 3), generator=generator) < 0.7
    whose = [0, 1, 2, 3, 3, 1, 0, 2, 1, 1, 0, 2]
    results: list[Tensor] = []
    for k, order in enumerate([range(12), [11, 3, 5, 0, 9, 8, 7, 1, 2, 4, 10, 6]]):
        with made(tmp_path / str(k), "mean") as kept:
            for part in (list(order)[:5], list(order)[5:]):
                kept.update([IDS[whose[i]] for i in part], maps[part], present[[whose[i] for i in part]])
            results.append(kept.batch(IDS))
            assert [kept.count(id) for id in IDS] == [3, 4, 3, 2]
    torch.testing.assert_close(*results)
    wanted = torch.stack([maps[[i for i in range(12) if whose[i] == n]].mean(0) for n in range(4)])
    torch.testing.assert_close(results[0], wanted * present[..., None, None])


# ---------------------------------------------------------------------------------------------------------- states


def test_states_and_the_way_back(tmp_path: Path) -> None:
    with made(tmp_path) as kept:
        assert kept.flush() == 0
        numbers = []
        for k in range(1, 5):
            fold(kept, "p0", [k / 8, 0.0])
            numbers.append(kept.flush())
        assert numbers == [1, 2, 3, 4]
        assert kept.flush() == 4
        assert accumulated.states(kept.folder) == [3, 4]
        fold(kept, "p1", [1.0, 1.0])
        kept.rollback(3)
        assert kept.map("p0", 1)[0, 0] == 3 / 8
        assert (len(kept), kept.count("p1")) == (1, 0)
        fold(kept, "p2", [0.5, 0.25])  # a slot that held something else before
        assert kept.map("p2", 1).tolist() == [[0.5, 0.25]]
        assert kept.flush() == 4
        with pytest.raises(ValueError, match=r"has no state 1 of its maps \(it has: 3, 4\)"):
            kept.rollback(1)
        assert len(kept) == 2
        kept.rollback(0)
        assert not kept.batch(IDS).any()


def test_goes_on_where_it_was(tmp_path: Path) -> None:
    with made(tmp_path, "mean") as kept:
        fold(kept, "p0", [0.5, 1.0])
        kept.flush()
        fold(kept, "p0", [0.0, 0.0])  # not flushed: given up
    with pytest.raises(ValueError, match="was closed"):
        kept.update([], torch.zeros(0, 3, 1, 2), torch.zeros(0, 3))
    with made(tmp_path, "mean", ids=IDS[::-1]) as again:  # the same pictures in another order
        assert again.map("p0", 1).tolist() == [[0.5, 1.0]]
        fold(again, "p0", [0.0, 0.5])
        assert again.map("p0", 1).tolist() == [[0.25, 0.75]]


def test_readers_see_the_last_state_while_it_is_written(tmp_path: Path) -> None:
    with made(tmp_path) as kept:
        assert not open_accumulated(kept.folder).batch(IDS).any()
        fold(kept, "p0", [0.5, 1.0])
        kept.flush()
        reader = open_accumulated(kept.folder)
        fold(kept, "p0", [1.0, 1.0])
        assert (reader.classes, reader.size, reader.ids) == (("cat", "dog", "car"), (1, 2), tuple(IDS))
        assert reader.map("p0", "dog").tolist() == [[0.5, 1.0]]
        for _ in range(3):
            fold(kept, "p0", [1.0, 1.0])
            kept.flush()  # the reader's state is thrown away meanwhile
        assert reader.map("p0", "dog").tolist() == [[0.5, 1.0]]
        assert open_accumulated(kept.folder).map("p0", "dog").tolist() == [[1.0, 1.0]]
    with pytest.raises(FileNotFoundError, match="holds no accumulated maps"):
        open_accumulated(tmp_path)


WRITER = """
    import sys, torch
    from camwidgets.learning.accumulate import AttentionAccumulator
    ids = [f"p{i}" for i in range(200)]
    kept = AttentionAccumulator(sys.argv[1], ids, 3, (24, 24))
    t = 0
    while True:
        t += 1
        for part in range(0, 200, 50):
            kept.update(ids[part:part + 50], torch.full((50, 3, 24, 24), min(t / 1024, 1.0)), torch.ones(50, 3))
            if t == 2 and part == 100 and sys.argv[2] == "unflushed":
                print("ready", flush=True)
                sys.stdin.read()
        kept.flush()
        if t == 3:
            print("ready", flush=True)
"""


def start(folder: Path, how: str) -> subprocess.Popen[str]:
    code = textwrap.dedent(WRITER)
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(folder), how], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        cwd=Path(__file__).parents[1],
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def reopened(folder: Path) -> Tensor:
    with AttentionAccumulator(folder, [f"p{i}" for i in range(200)], 3, (24, 24)) as kept:
        assert len({kept.count(id) for id in kept.ids}) == 1
        return kept.batch(kept.ids)


def test_a_kill_in_the_middle_of_an_epoch_leaves_the_epoch_before(tmp_path: Path) -> None:
    process = start(tmp_path, "unflushed")
    with pytest.raises(ValueError, match=rf"are open already, in process {process.pid} on .+; close them there"):
        AttentionAccumulator(tmp_path, ["a"], 3, (24, 24))
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert (reopened(tmp_path) == 1 / 1024).all()


def test_a_kill_at_any_moment_tears_no_state(tmp_path: Path) -> None:
    """Killed while it folds and flushes as fast as it can: all maps are of one epoch each time."""
    seen = []
    for k in range(3):
        process = start(tmp_path / str(k), "flushing")
        time.sleep(0.04 * k)
        process.send_signal(signal.SIGKILL)
        process.wait()
        maps = reopened(tmp_path / str(k))
        assert maps.min() == maps.max()
        seen.append(maps.min().item() * 1024)
        assert not list((tmp_path / str(k)).glob(".state*"))
    assert min(seen) >= 3


def test_workers_that_outlive_a_killed_process_are_waited_for(tmp_path: Path) -> None:
    code = """
        import os, signal, sys, time
        from camwidgets.learning.accumulate import AttentionAccumulator
        kept = AttentionAccumulator(sys.argv[1], ["a"], 3, (24, 24))
        if os.fork():
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(3)
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)]
    assert subprocess.run(command, cwd=Path(__file__).parents[1], check=False).returncode == -signal.SIGKILL
    AttentionAccumulator(tmp_path, ["a"], 3, (24, 24)).close()


def test_two_in_one_process(tmp_path: Path) -> None:
    kept = made(tmp_path)
    with pytest.raises(ValueError, match=rf"open already, in this process \(number {os.getpid()}\)"):
        made(tmp_path)
    kept.close()
    kept.close()
    made(tmp_path).close()


def test_another_thread_may_fold_flush_and_close(tmp_path: Path) -> None:
    kept = made(tmp_path)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(fold, kept, "p0", [0.5, 1.0]).result()
        assert pool.submit(kept.flush).result() == 1
        pool.submit(kept.close).result()
    with made(tmp_path) as again:  # the lock was released
        assert again.map("p0", 1).tolist() == [[0.5, 1.0]]


# --------------------------------------------------------------------------------------------------------- trouble


def full(*_: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_while_growing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with made(tmp_path) as kept:
        monkeypatch.setattr(os, "posix_fallocate", full)
        with pytest.raises(OSError, match=r"no room for the accumulated maps in .+ MiB free\); what was flushed"):
            fold(kept, "p0", [1.0, 1.0])
        monkeypatch.undo()
        assert len(kept) == 0
        fold(kept, "p0", [0.5, 1.0])
        assert kept.map("p0", 1).tolist() == [[0.5, 1.0]]


def test_a_full_disk_while_flushing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with made(tmp_path) as kept:
        fold(kept, "p0", [0.5, 1.0])
        kept.flush()
        fold(kept, "p1", [0.5, 1.0])
        monkeypatch.setattr(accumulated, "write_arrays", full)
        with pytest.raises(OSError, match="what was flushed before is whole"):
            kept.flush()
        monkeypatch.undo()
        assert [one.name for one in kept.folder.glob("*state*")] == ["state_000001"]
        assert open_accumulated(kept.folder).count("p0") == 1
        assert kept.flush() == 2


def test_without_fallocate_room_is_taken_by_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "posix_fallocate")
    with made(tmp_path) as kept:
        fold(kept, "p0", [0.5, 1.0])
        assert (kept.folder / "working.bin").stat().st_size == 12 * 4  # never more than every class in each picture
        assert kept.map("p0", 1).tolist() == [[0.5, 1.0]]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"rule": "mean"}, "its rule is 'max', not 'mean'"),
        ({"dtype": "uint8"}, "its dtype is 'float16', not 'uint8'"),
        ({"size": (2, 2)}, r"its size is \(1, 2\), not \(2, 2\)"),
        ({"classes": ["cat", "dog", "bus"]}, "its classes are"),
        ({"ids": [*IDS[:3], "q"]}, "it is of 4 other pictures, the first that differs is 'p3'"),
        ({"ids": IDS[:2]}, "it is of 4 other pictures"),
    ],
)
def test_a_folder_of_something_else(tmp_path: Path, change: dict[str, Any], sentence: str) -> None:
    given: dict[str, Any] = {"ids": IDS, "classes": ["cat", "dog", "car"], "size": (1, 2), "rule": "max"}
    AttentionAccumulator(tmp_path, **given).close()
    with pytest.raises(ValueError, match=sentence):
        AttentionAccumulator(tmp_path, **{**given, **change})
    AttentionAccumulator(tmp_path, **given).close()  # the error left no lock behind


def _index(folder: Path, **changed: Any) -> None:
    path = folder / "state_000001" / "index.npz"
    with np.load(path) as file:
        arrays = dict(file)
    np.savez(path, **{**arrays, **changed})


def _about(folder: Path, **changed: Any) -> None:
    path = folder / "accumulator.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changed}))


def _flip(folder: Path) -> None:
    path = folder / "state_000001" / "maps.bin"
    data = bytearray(path.read_bytes())
    data[1] ^= 4
    path.write_bytes(bytes(data))


DAMAGE: dict[str, Callable[[Path], Any]] = {
    "checksum": _flip,
    r"has 0 bytes, not the 8 of 2 maps": lambda f: (f / "state_000001" / "maps.bin").write_bytes(b""),
    "names pictures or classes that there are not": lambda f: _index(f, sample=np.array([0, 9])),
    "names pictures or classes that": lambda f: _index(f, cls=np.array([0, -1])),
    "names one map twice": lambda f: _index(f, sample=np.array([1, 1]), cls=np.array([0, 0])),
    "does not say whose": lambda f: _index(f, count=np.array([0.5, 2])),
    "holds object": lambda f: _index(f, count=np.array([{}, {}])),
    "no checksum": lambda f: _index(f, crc=np.zeros((2, 2), int)),
    "no readable file of arrays": lambda f: (f / "state_000001" / "index.npz").write_bytes(b"PK"),
    "is damaged": lambda f: (f / "accumulator.json").write_text("{"),
    "size must lie between 1 and 4096": lambda f: _about(f, size=[10**6, 10**6]),
    "unknown rule 7": lambda f: _about(f, rule=7),
    "this version reads 1": lambda f: _about(f, schema=2),
    "holds no accumulated maps|no accumulator.json": lambda f: (f / "accumulator.json").unlink(),
    "does not say which pictures": lambda f: np.savez(f / "samples.npz", ids=np.zeros(4)),
}


@pytest.mark.parametrize("sentence", DAMAGE)
def test_damaged_and_hostile_folders(tmp_path: Path, sentence: str) -> None:
    with made(tmp_path) as kept:
        fold(kept, "p0", [0.5, 1.0], (0, 1))
        kept.flush()
    DAMAGE[sentence](kept.folder)
    with pytest.raises(ValueError, match=sentence):
        made(tmp_path)
    with pytest.raises((ValueError, FileNotFoundError), match=sentence):
        open_accumulated(kept.folder)


def test_what_killed_writers_left_is_swept_away(tmp_path: Path) -> None:
    made(tmp_path).close()
    (tmp_path / "kept" / ".accumulator.json.77.part").write_bytes(b"{")
    (tmp_path / "kept" / ".mine.part").write_bytes(b"not ours")
    made(tmp_path).close()
    assert [one.name for one in (tmp_path / "kept").glob(".*.part")] == [".mine.part"]


def test_a_link_in_the_folder_is_not_followed(tmp_path: Path) -> None:
    made(tmp_path).close()
    precious = tmp_path / "precious"
    precious.write_bytes(b"mine")
    (tmp_path / "kept" / "working.bin").symlink_to(precious)
    with made(tmp_path) as kept:
        fold(kept, "p0", [0.5, 1.0])
    assert precious.read_bytes() == b"mine"


def test_bad_maps(tmp_path: Path) -> None:
    present = torch.tensor([[False, True, False]])
    with made(tmp_path) as kept:
        for bad in (1.5, -0.1, float("nan")):
            with pytest.raises(ValueError, match=r"values in \[0, 1\]; that of 'p1', class 'dog', has not"):
                kept.update(["p1"], torch.full((1, 3, 1, 2), bad), present)
        with pytest.raises(ValueError, match=r"\(1, 3, 1, 2\) and present of \(1, 3\) are needed; got \(1, 3, 2, 2\)"):
            kept.update(["p1"], torch.zeros(1, 3, 2, 2), present)
        with pytest.raises(ValueError, match="unknown picture 'p9'; valid: p0, p1, p2, p3"):
            kept.update(["p9"], torch.zeros(1, 3, 1, 2), present)
        with pytest.raises(ValueError, match="did you mean 'dog'"):
            kept.map("p1", "dgo")
        with pytest.raises(ValueError, match=r"class 3 is out of range: there are classes 0 … 2"):
            kept.map("p1", 3)
        assert len(kept) == 0
    with pytest.raises(ValueError, match="the id 'p0' is there twice"):
        made(tmp_path / "twice", ids=["p0", "p1", "p0"])
    with pytest.raises(ValueError, match="unknown rule 'min'; valid: max, mean"):
        made(tmp_path / "rule", "min")


def test_ten_thousand_pictures_of_twenty_classes(tmp_path: Path) -> None:
    """Slots for classes present only: 15,000 of 200,000 maps, 4.3 MB; memory stays near that."""
    n, c, size = 10_000, 20, (12, 12)
    ids = [f"VOC/{i:06d}.jpg" for i in range(n)]
    generator = torch.Generator().manual_seed(0)
    present = torch.zeros(n, c, dtype=torch.bool)
    for k in range(2):
        some = torch.arange(n)[:: k + 1]
        present[some, torch.randint(0, c, (len(some),), generator=generator)] = True
    slots = int(present.sum())
    before = psutil.Process().memory_info().rss
    with AttentionAccumulator(tmp_path, ids, c, size) as kept:
        for part in torch.randperm(n, generator=generator).split(500):
            kept.update([ids[i] for i in part.tolist()], torch.rand((len(part), c, *size)), present[part])
        kept.flush()
        assert len(kept) == slots < 15_001
        state = kept.folder / "state_000001"
        assert (state / "maps.bin").stat().st_size == slots * 12 * 12 * 2
        assert (kept.folder / "working.bin").stat().st_size < 1.6 * slots * 12 * 12 * 2
        assert (state / "index.npz").stat().st_size < 200_000
        assert psutil.Process().memory_info().rss - before < 100e6
