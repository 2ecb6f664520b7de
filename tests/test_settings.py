"""Kept parameters: what is read back, what is refused, and that no file is ever lost."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import camwidgets
from camwidgets import settings
from camwidgets.maps import Method, Parameter
from camwidgets.settings import SettingsWarning

from .nets import small

ODD = Method(
    "odd", "Odd", lambda request: request.x[0, 0], "", "", kind="picture",
    parameters=(
        Parameter("number", 1.5, "a number"), Parameter("count", 3, "a count", low=1), Parameter("on", False, "on"),
        Parameter("mode", "a", "a mode", choices=("a", 'b"\\\n\x7fü')),
    ),
)  # fmt: skip


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CAMWIDGETS_CONFIG", str(tmp_path / "config"))
    return tmp_path / "config"


def test_nothing_is_kept_at_first_and_reading_writes_nothing(folder: Path) -> None:
    assert settings.everything() == {}
    assert settings.of("toy", "smoothgrad") == {}
    assert not folder.exists()


def test_kept_and_read_back(folder: Path) -> None:
    assert settings.keep("toy", "SmoothGrad", samples=20) == {"samples": 20}
    assert settings.keep("toy", "smoothgrad", noise=0.25) == {"samples": 20, "noise": 0.25}
    settings.keep("toy", "lrp", composite="epsilon-plus", epsilon=1e-9)
    settings.keep(small(), "smoothgrad", seed=3)
    assert settings.of("toy", "smoothgrad") == {"samples": 20, "noise": 0.25}
    assert settings.of(small(), "smoothgrad") == {"seed": 3}
    assert settings.everything() == {
        "toy": {"smoothgrad": {"samples": 20, "noise": 0.25}, "lrp": {"composite": "epsilon-plus", "epsilon": 1e-9}},
        "small": {"smoothgrad": {"seed": 3}},
    }
    text = (folder / "settings.toml").read_text("utf-8")
    assert "version = 1" in text
    assert '[models."toy"."smoothgrad"]\nsamples = 20\nnoise = 0.25' in text
    assert sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock")) == ["settings.toml"]


def test_every_type_and_odd_names_survive() -> None:
    name = 'mine "v2" \\ [a.b]\n\x7f\tü'
    given = {"number": float("1e22"), "count": 2**40, "on": True, "mode": 'b"\\\n\x7fü'}
    settings.keep(name, ODD, **given)
    found = settings.everything()[name]["odd"]
    assert found == given
    assert [type(value) for value in found.values()] == [float, int, bool, str]


def test_what_explain_is_given() -> None:
    classifier, image = small(), camwidgets.samples.picture("cat")
    settings.keep(classifier, "saliency", cap=80.0)
    made = camwidgets.explain(classifier, image, "saliency", **settings.of(classifier, "saliency"))
    assert made.made_by["parameters"]["cap"] == 80
    plain = camwidgets.explain(classifier, image, "saliency")
    assert plain.made_by["parameters"]["cap"] == 99, "kept settings must not act silently"


def test_forgetting() -> None:
    for model in ("a", "b"):
        settings.keep(model, "smoothgrad", samples=20)
        settings.keep(model, "saliency", cap=90.0)
    settings.forget("a", "smoothgrad")
    assert {model: set(methods) for model, methods in settings.everything().items()} == {
        "a": {"saliency"}, "b": {"smoothgrad", "saliency"},
    }  # fmt: skip
    settings.forget(method="saliency")
    assert {model: set(methods) for model, methods in settings.everything().items() if methods} == {"b": {"smoothgrad"}}
    settings.forget()
    assert settings.of("b", "smoothgrad") == {}


@pytest.mark.parametrize(
    ("method", "parameters", "said"),
    [
        ("smoothgrad", {"sample": 5}, "did you mean 'samples'"),
        ("smoothgrad", {"samples": 0}, "must be between 1 and 100000; got 0"),
        ("smothgrad", {"samples": 5}, "did you mean 'smoothgrad'"),
    ],
)
def test_bad_parameters_are_not_kept(folder: Path, method: str, parameters: dict[str, int], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        settings.keep("toy", method, **parameters)
    assert not folder.exists()
    with pytest.raises(TypeError, match="a classifier or its name; got 3"):
        settings.keep(3, "saliency", cap=90.0)  # type: ignore[arg-type]


BROKEN = {
    "not TOML": b"version = 1\n[models.",
    "is not text": b"\xff\xfe\x00",
    "does not hold settings of version 1": b"version = 1\nmodels = 3",
    "hold settings of version 1": b"a = 1",
    "hold settings of version": b'version = 1\n[models.a.b]\nc = [1]',
    "of version 1": b'version = 1\n[models]\na = "b"',
    "does not hold": b'version = "two"',
}


@pytest.mark.parametrize("said", BROKEN)
def test_a_broken_file_is_reported_and_set_aside(folder: Path, said: str) -> None:
    folder.mkdir()
    file = folder / "settings.toml"
    file.write_bytes(BROKEN[said])
    with pytest.warns(SettingsWarning, match=f"{said}.*set aside as settings.toml.broken-1"):
        assert settings.of("toy", "smoothgrad") == {}
    assert (folder / "settings.toml.broken-1").read_bytes() == BROKEN[said]
    assert settings.everything() == {}, "and once only"
    file.write_bytes(BROKEN[said] + b"#")
    with pytest.warns(SettingsWarning, match="broken-2"):
        settings.keep("toy", "smoothgrad", samples=9)
    assert settings.of("toy", "smoothgrad") == {"samples": 9}
    assert (folder / "settings.toml.broken-1").read_bytes() == BROKEN[said]
    assert (folder / "settings.toml.broken-2").read_bytes() == BROKEN[said] + b"#"


def test_a_later_versions_file_is_left_where_it_is_until_one_has_to_write(folder: Path) -> None:
    folder.mkdir()
    file = folder / "settings.toml"
    file.write_text("version = 2\n[other]\n")
    with pytest.warns(SettingsWarning, match="has version 2, and this camwidgets reads 1; nothing of it is used"):
        assert settings.of("toy", "smoothgrad") == {}
    assert file.read_text() == "version = 2\n[other]\n"
    with pytest.warns(SettingsWarning, match="set aside as settings.toml.broken-1"):
        settings.keep("toy", "smoothgrad", samples=9)
    assert (folder / "settings.toml.broken-1").read_text() == "version = 2\n[other]\n"


def test_an_entry_that_is_no_longer_valid_is_left_out(folder: Path) -> None:
    folder.mkdir()
    (folder / "settings.toml").write_text('version = 1\n[models.toy.smoothgrad]\nsamples = 0\nseed = 4\nold = "x"\n')
    with pytest.warns(SettingsWarning) as warned:
        assert settings.of("toy", "smoothgrad") == {"seed": 4}
    assert len(warned) == 2
    assert "samples (noisy copies of the picture) must be between" in str(warned[0].message)
    settings.keep("toy", "smoothgrad", noise=0.5)
    assert settings.everything()["toy"]["smoothgrad"]["old"] == "x", "what is not understood is not thrown away"


def test_a_failed_write_changes_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.keep("toy", "smoothgrad", samples=9)
    before = (folder / "settings.toml").read_bytes()

    def full(descriptor: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space left"):
        settings.keep("toy", "smoothgrad", samples=10)
    assert (folder / "settings.toml").read_bytes() == before
    assert {path.name for path in folder.iterdir()} == {"settings.toml", "settings.toml.lock"}


def test_writers_at_the_same_time_lose_nothing() -> None:
    """Threads here, and another Python beside them."""
    script = "from camwidgets.settings import keep\nfor i in range(15): keep(f'other {i}', 'smoothgrad', samples=i + 1)"
    other = subprocess.Popen([sys.executable, "-c", script], env=os.environ)
    threads = [
        threading.Thread(target=lambda k=k: [settings.keep(f"{k} {i}", "smoothgrad", seed=i) for i in range(15)])
        for k in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert other.wait(120) == 0
    kept = settings.everything()
    assert len(kept) == 75
    assert all(kept[f"{k} {i}"] == {"smoothgrad": {"seed": i}} for k in range(4) for i in range(15))


def test_a_lock_that_never_opens_is_said(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    from filelock import FileLock

    monkeypatch.setattr(settings, "PATIENCE", 0.2)
    folder.mkdir()
    with FileLock(f"{settings.path()}.lock"), pytest.raises(TimeoutError, match="another program has held"):
        settings.keep("toy", "smoothgrad", samples=9)


def test_the_users_own_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CAMWIDGETS_CONFIG")
    assert settings.path().name == "settings.toml"
    assert settings.path().parent.name == "camwidgets"
