"""One loop: seeded, broken off and gone on with, and what it refuses."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from camwidgets.classifiers.toynet import ToyNet
from camwidgets.files import read_arrays, write_arrays
from camwidgets.learning import checkpoint as checkpoint_module
from camwidgets.learning.checkpoint import differences
from camwidgets.learning.feed import Feed, chosen_view, moved
from camwidgets.learning.gain import GainObjective
from camwidgets.learning.labelled import Labelled
from camwidgets.learning.loop import Settings, rate_at
from camwidgets.learning.objective import Batch, Objective, View
from camwidgets.learning.run import Run, open_run
from camwidgets.learning.training import TrainingStopped, train

from .training_nets import Plain, Tiny, arguments, world

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def data() -> Labelled:
    return world().painted()


@pytest.fixture(scope="module")
def unbroken(data: Labelled, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, dict[str, Tensor], Plain]:
    """A training that nobody disturbs: its run, its weights, its objective."""
    objective, net = Plain(), Tiny(7)
    run = train(net, data, objective, tmp_path_factory.mktemp("unbroken"), **arguments())
    return run, {name: tensor.clone() for name, tensor in net.state_dict().items()}, objective


def same(net: nn.Module, weights: dict[str, Tensor]) -> bool:
    return all(torch.equal(tensor, weights[name]) for name, tensor in net.state_dict().items())


def as_unbroken(run: Run, net: nn.Module, objective: Plain, unbroken: Any) -> None:
    """Weights, buffers, what the objective keeps, the table and the maps are those of the unbroken training."""
    reference, weights, kept = unbroken
    assert (run.status, run.epochs_done) == ("done", 3)
    assert same(net, weights)
    assert (objective.seen, objective.ends) == (kept.seen, kept.ends)
    columns = [name for name in reference.metrics().columns if name != "seconds"]
    assert run.metrics()[columns].equals(reference.metrics()[columns])
    for epoch in range(4):
        for id in reference.watched:
            np.testing.assert_array_equal(run.maps(epoch, id), reference.maps(epoch, id))


def test_a_training_learns_and_leaves_a_run(unbroken: Any, data: Labelled) -> None:
    run, weights, objective = unbroken
    assert isinstance(objective, Objective)
    assert (run.status, run.kind, run.epochs, run.classes) == ("done", "plain", [0, 1, 2, 3], data.classes)
    frame = run.metrics()
    assert frame["epoch"].tolist() == [1, 2, 3]
    assert list(frame.columns) == ["epoch", "seconds", "total", "logged", "seen"]
    assert frame["total"].iloc[-1] < frame["total"].iloc[0]
    np.testing.assert_allclose(frame["logged"], 2 * frame["total"], rtol=1e-6)
    assert same(run.net(module=Tiny(1)), weights)
    assert not same(run.net(0, Tiny(1)), weights)
    example = data[data.ids.index(run.watched[1])]
    np.testing.assert_array_equal(run.picture(example.id), example.picture.permute(1, 2, 0))
    np.testing.assert_array_equal(run.mask(example.id), example.mask)
    assert run.present(example.id) == example.present.nonzero().flatten().tolist()
    assert run.about["objective"] == {"name": "plain", "settings": {"noise": 0.1}}
    with pytest.raises(ValueError, match="the kit cannot build a Tiny"):
        run.net()


@pytest.mark.parametrize("attempt", range(3))  # the last with a loader's process, which outlives the kill for a while
def test_a_killed_training_ends_in_the_same_weights(
    attempt: int, tmp_path: Path, data: Labelled, unbroken: Any
) -> None:
    """SIGKILL at a random step, in a process of its own; then again, with what lies there."""
    steps = random.Random(attempt).randint(2, 17)  # of 18
    command = [sys.executable, "-m", "tests.training_nets", str(tmp_path), str(steps), str(int(attempt == 2))]
    killed = subprocess.run(command, cwd=ROOT, timeout=250, check=False, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert open_run(tmp_path).status == "running"
    net, objective, told = Tiny(99), Plain(), []
    run = train(net, data, objective, tmp_path, **arguments(progress=lambda done, total: told.append(done)))
    assert len(told) == 18 - (steps - 1) // 6 * 6  # from the last whole epoch on
    as_unbroken(run, net, objective, unbroken)


def test_a_training_that_is_stopped_in_an_epoch_goes_on_from_there(
    tmp_path: Path, data: Labelled, unbroken: Any
) -> None:
    asked = 0

    def cancelled() -> bool:
        nonlocal asked
        asked += 1
        return asked == 9  # after two steps of the second epoch

    run = train(Tiny(7), data, Plain(), tmp_path, **arguments(cancelled=cancelled))
    assert (run.status, run.epochs_done, run.about["steps_done"]) == ("stopped", 1, 2)
    net, objective, told = Tiny(), Plain(), []
    run = train(net, data, objective, tmp_path, **arguments(progress=lambda done, total: told.append((done, total))))
    assert told[0] == (9, 18)
    assert told[-1] == (18, 18)
    as_unbroken(run, net, objective, unbroken)


def test_ctrl_c_waits_for_the_step(tmp_path: Path, data: Labelled, unbroken: Any) -> None:
    """The signal comes in the middle of a step: the step is finished, what it did is kept."""

    class Interrupted(Plain):
        calls = 0

        def losses(self, net: nn.Module, batch: Batch) -> dict[str, Tensor]:
            self.calls += 1
            if self.calls == 8:
                os.kill(os.getpid(), signal.SIGINT)
            return super().losses(net, batch)

    before = signal.getsignal(signal.SIGINT)
    run = train(Tiny(7), data, Interrupted(), tmp_path, **arguments())
    assert signal.getsignal(signal.SIGINT) is before
    assert (run.status, run.epochs_done, run.about["steps_done"]) == ("stopped", 1, 2)
    net, objective = Tiny(), Plain()
    as_unbroken(train(net, data, objective, tmp_path, **arguments()), net, objective, unbroken)


def test_chance_in_a_measurement_is_the_same_after_a_pause(tmp_path: Path, data: Labelled) -> None:
    """What a measurement draws at the end of an epoch depends on the epoch, not on what was drawn before it."""

    def measure(net: nn.Module, epoch: int, objective: Any) -> dict[str, float]:
        return {"drawn": float(torch.rand(()))}

    def fail(net: nn.Module, epoch: int, objective: Any) -> dict[str, float]:
        if epoch == 2:
            raise ZeroDivisionError
        return measure(net, epoch, objective)

    whole = train(Tiny(7), data, Plain(), tmp_path / "a", **arguments(measure=measure)).metrics()["drawn"]
    with pytest.raises(ZeroDivisionError):
        train(Tiny(7), data, Plain(), tmp_path / "b", **arguments(measure=fail))
    run = train(Tiny(), data, Plain(), tmp_path / "b", **arguments(measure=measure))
    assert run.metrics()["drawn"].tolist() == whole.tolist()
    assert len(set(whole)) == 3


def test_a_torn_step_is_taken_back(tmp_path: Path, data: Labelled, unbroken: Any) -> None:
    """A KeyboardInterrupt out of the very step (as a second Ctrl-C is): back to the last checkpoint."""

    class Torn(Plain):
        def losses(self, net: nn.Module, batch: Batch) -> dict[str, Tensor]:
            found = super().losses(net, batch)
            if batch.step == 8:
                raise KeyboardInterrupt
            return found

    net: nn.Module = Tiny(7)
    run = train(net, data, Torn(), tmp_path, **arguments())
    assert (run.status, run.epochs_done, run.about["steps_done"]) == ("stopped", 1, 0)
    assert same(net, run.net(1, Tiny()).state_dict())
    net, objective = Tiny(), Plain()
    as_unbroken(train(net, data, objective, tmp_path, **arguments()), net, objective, unbroken)


def test_interrupted_before_it_began_a_folder_holds_no_run(tmp_path: Path, data: Labelled) -> None:
    class Blind(Plain):
        def watch(self, net: nn.Module, x: Tensor, ids: tuple[str, ...], present: Tensor) -> dict[str, Tensor]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(Tiny(), data, Blind(), tmp_path, **arguments())
    assert not (tmp_path / "run.json").exists()
    assert train(Tiny(), data, Plain(0.5), tmp_path, **arguments(epochs=1, seed=9)).status == "done"


def test_a_measurement_that_fails_costs_no_training(tmp_path: Path, data: Labelled, unbroken: Any) -> None:
    def measure(net: nn.Module, epoch: int, objective: Any) -> dict[str, float]:
        if epoch == 2:
            raise ZeroDivisionError("nobody measured")
        return {}

    with pytest.raises(ZeroDivisionError):
        train(Tiny(7), data, Plain(), tmp_path, **arguments(measure=measure))
    run = open_run(tmp_path)
    assert (run.status, run.about["reason"]) == ("failed", "nobody measured")
    told: list[int] = []
    net, objective = Tiny(), Plain()
    run = train(net, data, objective, tmp_path, **arguments(progress=lambda done, total: told.append(done)))
    assert told[0] == 13  # the twelve steps of the two epochs were not done again
    as_unbroken(run, net, objective, unbroken)


def test_the_callers_chance_and_flags_are_as_before(tmp_path: Path, data: Labelled) -> None:
    net = Tiny().eval()
    net.norm.train()
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    train(net, data, Plain(), tmp_path, **arguments(epochs=1))
    assert torch.equal(torch.rand(2), expected)
    assert not net.training
    assert net.norm.training


def test_nothing_need_be_watched(tmp_path: Path, data: Labelled) -> None:
    run = train(Tiny(), data, Plain(), tmp_path, **arguments(epochs=1, watch=0))
    assert (run.watched, run.epochs) == ([], [0, 1])
    again = train(Tiny(), data, Plain(), tmp_path, **arguments(epochs=1, watch=0))
    assert again.status == "done"
    with pytest.raises(ValueError, match="unknown watched picture"):
        run.picture("0")


def test_workers_change_nothing(tmp_path: Path, data: Labelled, unbroken: Any) -> None:
    net, objective = Tiny(7), Plain()
    as_unbroken(train(net, data, objective, tmp_path, **arguments(workers=1)), net, objective, unbroken)


def test_seeds_and_settings_change_the_weights(tmp_path: Path, data: Labelled, unbroken: Any) -> None:
    changes: tuple[dict[str, Any], ...] = ({"seed": 1}, {"augment": False}, {"precision": "bf16"})
    for i, change in enumerate((*changes, {"schedule": "constant"})):
        net = Tiny(7)
        run = train(net, data, Plain(), tmp_path / str(i), **arguments(**change))
        assert run.status == "done"
        assert not same(net, unbroken[1]), change
        assert all(tensor.dtype != torch.bfloat16 for tensor in net.state_dict().values())
        assert np.isfinite(run.metrics()["total"]).all()


def test_more_epochs_go_on_where_the_rate_is_constant(tmp_path: Path, data: Labelled) -> None:
    whole, parts = Tiny(7), Tiny(7)
    train(whole, data, Plain(), tmp_path / "a", **arguments(schedule="constant"))
    train(parts, data, Plain(), tmp_path / "b", **arguments(schedule="constant", epochs=1))
    run = train(Tiny(), data, Plain(), tmp_path / "b", **arguments(schedule="constant"))
    assert run.epochs == [0, 1, 2, 3]
    assert same(run.net(module=parts), whole.state_dict())


def test_validation_measures_and_patience(tmp_path: Path, data: Labelled) -> None:
    """A validation loss that rises from the first epoch on: two more are waited for."""

    class Worse(Plain):
        count = 0

        def validate(self, net: nn.Module, batch: Batch) -> dict[str, Tensor]:
            self.count += 1
            return {"loss": torch.tensor(float(self.count)), "x": torch.tensor(1.0)}

    told: list[dict[str, float]] = []
    run = train(
        Tiny(), data, Worse(), tmp_path / "a", validation=world(5, seed=1).painted(),
        measure=lambda net, epoch, objective: {"epochs": epoch, "training": net.training}, after_epoch=told.append,
        **arguments(epochs=9, patience=2),
    )  # fmt: skip
    assert (run.status, run.epochs_done) == ("done", 3)
    assert "has not fallen for 2 epochs" in run.about["reason"]
    frame = run.metrics()
    np.testing.assert_allclose(frame["val_loss"], [(1 * 4 + 2) / 5, (3 * 4 + 4) / 5, (5 * 4 + 6) / 5])
    assert frame["val_x"].tolist() == [1, 1, 1]
    assert frame["epochs"].tolist() == [1, 2, 3]
    assert frame["training"].tolist() == [0, 0, 0]
    assert [row["epoch"] for row in told] == [1, 2, 3]
    run = train(Tiny(), data, Plain(), tmp_path / "b", validation=world(5, seed=1), **arguments(epochs=1))
    net, right = run.net(module=Tiny()), []
    for example in world(5, seed=1):
        logits = net((example.picture[None].float() / 255 - 0.5) / 0.25)
        right.append(bool(example.present[logits.argmax()]))
    assert run.metrics()["val_top1"].item() == pytest.approx(np.mean(right))


# ------------------------------------------------------------------------------------------------- what goes wrong


class Poisoned(Plain):
    """NaN at one step: of a loss that is only logged, of the total, or of the gradient alone."""

    def __init__(self, where: str, step: int = 8) -> None:
        super().__init__()
        self.where, self.step = where, step

    def losses(self, net: nn.Module, batch: Batch) -> dict[str, Tensor]:
        found = super().losses(net, batch)
        if batch.step == self.step:
            if self.where == "gradient":
                zero = (0 * next(net.parameters())).sum()
                found["total"] = found["total"] + torch.sqrt(zero * zero)
            else:
                found[self.where] = found[self.where] * float("nan")
        return found


@pytest.mark.parametrize("where", ["total", "logged", "gradient"])
def test_a_loss_that_is_not_finite_stops_and_keeps_what_was_trained(where: str, tmp_path: Path, data: Labelled) -> None:
    net: nn.Module = Tiny(7)
    with pytest.raises(TrainingStopped, match=r"(total|logged|dient) is nan in epoch 2, step 3 of 6 \(pictures") as e:
        train(net, data, Poisoned(where), tmp_path, **arguments())
    named = str(e.value).split("(pictures ")[1].split(")")[0].split(", ")
    assert len(named) == 4
    assert set(named) <= set(data.ids)
    run = open_run(tmp_path)
    assert (run.status, run.epochs, run.about["reason"]) == ("failed", [0, 1], str(e.value))
    assert same(net, run.net(1, Tiny()).state_dict())
    assert all(torch.isfinite(tensor).all() for tensor in net.state_dict().values())
    again = train(net, data, Plain(), tmp_path, **arguments())
    assert again.status == "done"


def test_nan_at_the_first_step_leaves_the_net_as_it_was_given(tmp_path: Path, data: Labelled) -> None:
    net: nn.Module = Tiny(7)
    with pytest.raises(TrainingStopped, match="epoch 1, step 1 of 6"):
        train(net, data, Poisoned("total", 0), tmp_path, **arguments())
    assert same(net, Tiny(7).state_dict())


@pytest.mark.parametrize("kind", ["last.pt", "safetensors", "npz", "json", "csv"])
def test_a_full_disk_is_said_and_the_last_checkpoint_is_whole(
    kind: str, tmp_path: Path, data: Labelled, unbroken: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file system takes half of a file and then no more."""
    whole, full = checkpoint_module.replaced, [False]

    class Half:
        def __init__(self, file: Any) -> None:
            self.file = file

        def write(self, content: Any) -> int:
            self.file.write(bytes(content)[: len(bytes(content)) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        def __getattr__(self, name: str) -> Any:
            return getattr(self.file, name)

    from contextlib import contextmanager

    @contextmanager
    def replaced(path: Path) -> Any:
        with whole(path) as file:
            yield Half(file) if full[0] and path.name.endswith(kind) else file

    monkeypatch.setattr("camwidgets.learning.checkpoint.replaced", replaced)
    monkeypatch.setattr("camwidgets.files.replaced", replaced)

    def fill(done: int, total: int) -> None:
        full[0] = done > 9  # in the second epoch

    net, objective = Tiny(7), Plain()
    with pytest.raises(TrainingStopped, match=r"No space left on device.*is whole; make room"):
        train(net, data, objective, tmp_path, **arguments(progress=fill))
    assert not list(tmp_path.rglob("*.part"))
    assert open_run(tmp_path).epochs_done in (1, 2)
    full[0] = False
    as_unbroken(train(net, data, objective, tmp_path, **arguments()), net, objective, unbroken)


def test_another_run_is_not_overwritten(tmp_path: Path, data: Labelled) -> None:
    train(Tiny(7), data, Plain(), tmp_path, **arguments(epochs=1))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and path.name != ".lock"}
    for said, other in (
        ("net.net was 'Tiny' and is now 'ToyNet'", {"net": ToyNet(4)}),
        ("net.shapes was", {"net": Tiny(norm=False)}),
        ("data.key was", {"data": world(22, seed=5).painted()}),
        ("objective.settings.noise was 0.1 and is now 0.5", {"objective": Plain(0.5)}),
        ("settings.batch was 4 and is now 5", {"batch": 5}),
        ("settings.epochs was 1 and is now 2", {"epochs": 2}),
        ("seed was 0 and is now 1", {"seed": 1}),
        ("data.validation was None", {"validation": world(5)}),
    ):  # fmt: skip
        given: dict[str, Any] = {"net": Tiny(7), "data": data, "objective": Plain(), **arguments(epochs=1), **other}
        with pytest.raises(ValueError, match=said):
            train(given.pop("net"), given.pop("data"), given.pop("objective"), tmp_path, **given)
    with pytest.raises(ValueError, match="holds a run already"):
        train(Tiny(7), data, Plain(), tmp_path, **arguments(epochs=1, resume=False))
    (tmp_path / "last.pt").write_bytes(before[tmp_path / "last.pt"][:1000])
    with pytest.raises(ValueError, match="no readable checkpoint"):
        train(Tiny(7), data, Plain(), tmp_path, **arguments(epochs=1))
    (tmp_path / "last.pt").write_bytes(before[tmp_path / "last.pt"])
    assert before == {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file() and p.name != ".lock"}
    net = Tiny()
    assert train(net, data, Plain(), tmp_path, **arguments(epochs=1, patience=None, workers=1)).status == "done"
    assert same(net, open_run(tmp_path).net(module=Tiny()).state_dict())


@pytest.mark.parametrize(
    ("part", "content", "said"),
    [
        ("rows", None, "'rows' is missing or no list"),
        ("epoch", "two", "'epoch' is missing or no int"),
        ("net", {"conv.weight": torch.zeros(1)}, "has weights of another network"),
        ("optimiser", {"state": {}}, r"is damaged or of another training \(KeyError: 'param_groups'\)"),
        ("objective", {}, r"is damaged or of another training \(KeyError: 'seen'\)"),
    ],
)
def test_a_damaged_checkpoint_is_said_and_the_net_is_as_it_was(
    part: str, content: Any, said: str, tmp_path: Path, data: Labelled
) -> None:
    train(Tiny(7), data, Plain(), tmp_path, **arguments(epochs=1))
    state = torch.load(tmp_path / "last.pt", weights_only=True)
    state = {name: one for name, one in state.items() if name != part}
    torch.save(state if content is None else {**state, part: content}, tmp_path / "last.pt")
    net = Tiny(3)
    with pytest.raises(ValueError, match=said):
        train(net, data, Plain(), tmp_path, **arguments(epochs=1))
    assert same(net, Tiny(3).state_dict())


@pytest.mark.parametrize("ids", [None, np.arange(2), np.array([["a"], ["b"]])])
def test_watched_pictures_without_their_names_are_said_and_the_net_is_as_it_was(
    ids: Any, tmp_path: Path, data: Labelled
) -> None:
    train(Tiny(7), data, Plain(), tmp_path, **arguments(epochs=1))
    path = tmp_path / "watch" / "pictures.npz"
    arrays = {name: one for name, one in read_arrays(path).items() if name != "ids"}
    write_arrays(path, arrays if ids is None else {**arrays, "ids": ids})
    net, said = Tiny(3), r"pictures\.npz' is damaged: 'ids' is missing or no list of names"
    with pytest.raises(ValueError, match=said):
        train(net, data, Plain(), tmp_path, **arguments(epochs=1))
    assert same(net, Tiny(3).state_dict())
    with pytest.raises(ValueError, match=said):
        open_run(tmp_path)


def test_another_number_of_threads_is_said_once(tmp_path: Path, data: Labelled) -> None:
    """Sums are made in another order: the weights may end otherwise in their last digits."""
    threads = torch.get_num_threads()
    rest = arguments(schedule="constant", device="cpu")
    del rest["epochs"]
    train(Tiny(7), data, Plain(), tmp_path, epochs=1, **rest)
    assert open_run(tmp_path).about["versions"]["threads"] == threads
    try:
        torch.set_num_threads(threads + 1)
        with pytest.warns(UserWarning, match="thread") as told:
            train(Tiny(7), data, Plain(), tmp_path, epochs=3, **rest)
    finally:
        torch.set_num_threads(threads)
    (sentence,) = [str(one.message) for one in told if "thread" in str(one.message)]
    assert f"began with {threads} thread" in sentence
    assert f"torch.set_num_threads({threads})" in sentence
    assert open_run(tmp_path).about["versions"]["threads"] == threads  # what it began with
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train(Tiny(7), data, Plain(), tmp_path, epochs=4, **rest)


def test_a_run_that_does_not_know_its_threads_goes_on(tmp_path: Path, data: Labelled) -> None:
    """As those of earlier versions."""
    train(Tiny(7), data, Plain(), tmp_path, **arguments(epochs=1, schedule="constant"))
    state = torch.load(tmp_path / "last.pt", weights_only=True)
    del state["threads"]
    torch.save(state, tmp_path / "last.pt")
    about = json.loads((tmp_path / "run.json").read_text())
    del about["versions"]["threads"]
    (tmp_path / "run.json").write_text(json.dumps(about))
    assert open_run(tmp_path).epochs_done == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run = train(Tiny(7), data, Plain(), tmp_path, **arguments(epochs=2, schedule="constant"))
    assert (run.epochs_done, "threads" in run.about["versions"]) == (2, False)


def test_which_parameters_are_trained_belongs_to_the_run(tmp_path: Path, data: Labelled) -> None:
    net = Tiny(7)
    net.conv1.requires_grad_(False)
    train(net, data, Plain(), tmp_path, **arguments(epochs=1))
    with pytest.raises(ValueError, match=r"net\.trained was '4 of 6 parameters \([0-9a-f]{8}\)' and is now 'all'"):
        train(Tiny(7), data, Plain(), tmp_path, **arguments(epochs=1))


def test_what_a_killed_training_left_half_written_is_swept_away(tmp_path: Path, data: Labelled) -> None:
    left = [tmp_path / ".last.pt.9.part", *(tmp_path / one / ".epoch_001.npz.9.part" for one in ("weights", "watch"))]
    for one in left:
        one.parent.mkdir(exist_ok=True)
        one.write_bytes(b"half")
    train(Tiny(), data, Plain(), tmp_path, **arguments(epochs=1))
    assert not list(tmp_path.rglob(".*.part"))


def test_two_trainings_in_one_folder_are_refused(tmp_path: Path, data: Labelled) -> None:
    def second(done: int, total: int) -> None:
        with pytest.raises(ValueError, match="another training is writing"):
            train(Tiny(), data, Plain(), tmp_path, **arguments())

    assert train(Tiny(), data, Plain(), tmp_path, **arguments(epochs=1, progress=second)).status == "done"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"epochs": 0}, "epochs"),
        ({"batch": 0}, "batch"),
        ({"rate": 0}, "rate must lie in"),
        ({"rate": float("nan")}, "rate must lie in"),
        ({"decay": -1}, "decay must lie in"),
        ({"schedule": "cosine"}, "unknown schedule 'cosine'; valid: onecycle, constant"),
        ({"precision": "fp16"}, "unknown precision 'fp16'"),
        ({"device": "cuda:77"}, "device 'cuda:77' cannot be used"),
        ({"device": "toaster"}, "device 'toaster' cannot be used"),
        ({"patience": 2}, "give validation="),
        ({"watch": ["nobody"]}, "unknown picture to watch 'nobody'"),
        ({"seed": -1}, "seed"),
    ],
)
def test_settings_out_of_range_are_refused_before_anything_is_written(
    change: Any, said: str, tmp_path: Path, data: Labelled
) -> None:
    with pytest.raises(ValueError, match=said):
        train(Tiny(), data, Plain(), tmp_path / "run", **arguments(**change))
    assert not (tmp_path / "run").exists()


def test_patience_waits_while_the_loss_falls_from_nan(tmp_path: Path, data: Labelled) -> None:
    class Told(Plain):
        def __init__(self, losses: list[float]) -> None:
            super().__init__()
            self.told = iter(losses)

        def validate(self, net: nn.Module, batch: Batch) -> dict[str, Tensor]:
            return {"loss": torch.tensor(next(self.told))}

    nan, judged = float("nan"), world(4, seed=1).painted()
    for losses, epochs in (([nan, 1.0, 0.5, 0.75, 0.5], 5), ([nan] * 5, 3), ([1.0, nan, nan], 3)):
        given = arguments(epochs=5, patience=2, validation=judged)
        assert train(Tiny(), data, Told(losses), tmp_path / str(losses), **given).epochs_done == epochs


def test_validation_of_several_labels_is_no_judge_of_a_single_one(tmp_path: Path, data: Labelled) -> None:
    single = world(8, objects=(1, 1))
    objective = GainObjective("relu")
    with pytest.raises(ValueError, match=r"exactly one class in each picture, and .* may hold none or several"):
        train(Tiny(), single, objective, tmp_path / "a", validation=data, **arguments(epochs=1))
    assert train(Tiny(), data, objective, tmp_path / "b", validation=single, **arguments(epochs=1)).status == "done"


def test_data_and_nets_that_do_not_go_together_are_refused(tmp_path: Path, data: Labelled) -> None:
    single = world(8, objects=(1, 1))
    with pytest.raises(ValueError, match="several labels a picture are needed"):
        train(Tiny(), single, Plain(), tmp_path / "run", **arguments())
    with pytest.raises(ValueError, match="answers for 10 classes"):
        train(ToyNet(10), data, Plain(), tmp_path / "run", **arguments())
    with pytest.raises(ValueError, match="cannot take pictures of"):
        train(nn.Sequential(nn.Flatten(), nn.Linear(5, 4)), data, Plain(), tmp_path / "run", **arguments())
    with pytest.raises(ValueError, match="there is nothing to train"):
        train(Tiny().requires_grad_(False), data, Plain(), tmp_path / "run", **arguments())
    with pytest.raises(ValueError, match="validation pictures must have the classes"):
        train(Tiny(), data, Plain(), tmp_path / "run", validation=smaller(), **arguments())
    with pytest.raises(TypeError, match=r"torch\.nn\.Module"):
        train("net", data, Plain(), tmp_path / "run", **arguments())  # type: ignore[arg-type]
    assert not (tmp_path / "run").exists()


def smaller() -> Labelled:
    from camwidgets.datasets.toyworld import ToyWorld
    from camwidgets.learning.labelled import open_labelled

    return open_labelled(ToyWorld(n=4, objects=(1, 2)), classes=("cat", "dog", "car", "bus"), size=48)


def test_an_objective_that_returns_something_else_is_said(tmp_path: Path, data: Labelled) -> None:
    class Silent(Plain):
        def losses(self, net: nn.Module, batch: Batch) -> dict[str, Tensor]:
            return {"total": torch.tensor(1.0)}

    with pytest.raises(TypeError, match="'total' depends on the network's weights"):
        train(Tiny(), data, Silent(), tmp_path, **arguments())


# --------------------------------------------------------------------------------------------------- golden values


def test_the_rate_by_hand() -> None:
    """100 steps, rate 1: 1/25 at 0, the middle of the rise at 10, 1 at 20, the middle of the fall at 60, ~10⁻⁴ last."""
    settings = Settings(1, 1, 1.0, 0.0, "onecycle", True, "float32", None, 0, "cpu")
    assert rate_at(0, 100, settings) == pytest.approx(0.04)
    assert rate_at(10, 100, settings) == pytest.approx((1 + 0.04) / 2)
    assert rate_at(20, 100, settings) == pytest.approx(1)
    assert rate_at(60, 100, settings) == pytest.approx((1 + 1e-4) / 2)
    assert rate_at(100, 100, settings) == pytest.approx(1e-4)


def test_views_lead_there_and_back() -> None:
    """A map that follows the picture: moved with it, it lies where the picture went; taken back, where it was."""
    torch.manual_seed(0)
    view = View(torch.tensor([True, False]), (2, -4), (24, 24))
    pictures = torch.nn.functional.interpolate(torch.rand(2, 1, 4, 4), (24, 24), mode="bilinear")
    seen = moved(pictures, view)
    torch.testing.assert_close(seen[1, 0, 5, 9], pictures[1, 0, 7, 5])
    torch.testing.assert_close(seen[0, 0, 5, 9], pictures[0, 0, 7, 23 - 5])
    torch.testing.assert_close(view.to_view(pictures)[..., :20, 4:], seen[..., :20, 4:], atol=1e-5, rtol=0)
    back = view.to_picture(seen)
    torch.testing.assert_close(back[1, :, 4:20, 4:20], pictures[1, :, 4:20, 4:20], atol=1e-5, rtol=0)
    torch.testing.assert_close(back[0, :, 4:20, 4:20], pictures[0, :, 4:20, 4:20], atol=1e-5, rtol=0)
    only = View(torch.tensor([True, False]), (0, 0), (24, 24))
    assert torch.equal(only.to_picture(only.to_view(pictures)), pictures)
    with pytest.raises(ValueError, match="maps of 2 pictures"):
        view.to_picture(torch.zeros(3, 1, 4, 4))


def test_every_picture_is_seen_once_an_epoch_in_an_order_of_its_own(data: Labelled) -> None:
    feed = Feed(data, 4, seed=0)
    orders = [[id for batch in feed.epoch(epoch) for id in batch.ids] for epoch in (1, 2, 1)]
    assert sorted(orders[0]) == sorted(data.ids)
    assert orders[0] == orders[2] != orders[1]
    late = next(iter(feed.epoch(1, start=3)))
    batches = list(feed.epoch(1))
    assert torch.equal(late.x, batches[3].x)
    assert [len(batch) for batch in batches] == [4, 4, 4, 4, 4, 2]
    assert batches[3].masks is not None
    assert batches[3].x.shape == (4, 3, 96, 96)


def test_masks_move_with_the_pictures(data: Labelled) -> None:
    """Where the mask says background and the mask of the moved picture does too, they are the same pixels."""
    feed = Feed(data, 22, seed=0)
    batch = next(iter(feed.epoch(1)))
    pictures = torch.stack([data[data.ids.index(id)].picture for id in batch.ids])
    masks = torch.stack([mask for mask in (data[data.ids.index(id)].mask for id in batch.ids) if mask is not None])
    assert batch.masks is not None
    assert torch.equal(batch.masks, moved(masks[:, None], batch.view)[:, 0])
    still = moved(pictures, batch.view)
    correlation = np.corrcoef(still.flatten().numpy(), batch.x.flatten().numpy())[0, 1]
    assert correlation > 0.97  # relit, and otherwise the same
    assert batch.view.mirrored.any()
    assert not batch.view.mirrored.all()
    other = chosen_view(batch.view, torch.Generator().manual_seed(5))
    assert max(map(abs, other.shift)) <= 4


def test_differences_are_named() -> None:
    was = {"seed": 1, "settings": {"epochs": 2, "schedule": "constant", "workers": 1}}
    assert differences(was, {"seed": 1, "settings": {"epochs": 3, "schedule": "constant", "workers": 0}}) == []
    now = {"seed": 1, "settings": {"epochs": 1, "schedule": "constant", "workers": 1}}
    assert differences(was, now) == ["settings.epochs was 2 and is now 1"]
