"""Each check of the doctor, on this installation and on one that is broken in the way that it looks for."""

from __future__ import annotations

import json
import sys
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest

from camwidgets import doctor
from camwidgets.doctor import Check


def test_this_installation_is_well() -> None:
    found = list(doctor.run_checks())
    assert [check for check in found if check.status == "wrong"] == []
    names = {check.name for check in found}
    assert names >= {
        "python",
        "camwidgets",
        "torch",
        "front end",
        "kernel",
        "memory",
        "embedded network",
        "devices",
    }


def test_a_missing_and_an_outdated_package(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = {"camwidgets": "0.1.0", "plotly": "5.24.1"}

    def version(name: str) -> str:
        if name not in installed:
            raise metadata.PackageNotFoundError(name)
        return installed[name]

    monkeypatch.setattr(metadata, "version", version)
    monkeypatch.setattr(
        metadata, "requires", lambda _: ["plotly<8,>=6.1", "tqdm>=4", "ruff; extra == 'lint'"]
    )
    own, plotly, tqdm = doctor.check_packages()
    assert own.status == "ok"
    assert (plotly.status, plotly.detail) == ("wrong", "5.24.1 (wanted: <8,>=6.1)")
    assert "--upgrade 'plotly<8,>=6.1'" in plotly.mend
    assert (tqdm.status, tqdm.detail) == ("wrong", "is not installed (wanted: >=4)")


def test_a_folder_that_was_never_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(name: str) -> list[str]:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", nothing)
    (check,) = doctor.check_packages()
    assert check.status == "wrong"
    assert "pip install" in check.mend


def test_torch_and_torchvision_of_different_indexes(monkeypatch: pytest.MonkeyPatch) -> None:
    def nms(*_: object) -> None:
        raise RuntimeError("operator torchvision::nms does not exist\nand a long story")

    broken = SimpleNamespace(__version__="0.1", ops=SimpleNamespace(nms=nms))
    monkeypatch.setitem(sys.modules, "torchvision", broken)
    check = doctor.check_torch()
    assert check.status == "wrong"
    assert check.detail == "RuntimeError: operator torchvision::nms does not exist"
    assert "torch torchvision" in check.mend


@pytest.fixture
def extensions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder in which JupyterLab looks for extensions, with both of ours in it."""
    folder = tmp_path / "labextensions"
    for name in doctor.LAB_EXTENSIONS:
        (folder / name).mkdir(parents=True)
        package = {"name": name, "version": "1.2", "jupyterlab": {"_build": {"load": "x.js"}}}
        (folder / name / "package.json").write_text(json.dumps(package))
    monkeypatch.setattr("jupyter_core.paths.jupyter_path", lambda *_: [str(folder)])
    monkeypatch.setenv("JUPYTER_CONFIG_DIR", str(tmp_path / "config"))
    # Whatever this environment brings itself is not what is tested here.
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "empty"))
    return folder


def test_extensions_that_are_there(extensions: Path) -> None:
    assert doctor.check_lab_extensions().status == "ok"


@pytest.mark.parametrize("name", doctor.LAB_EXTENSIONS)
def test_an_extension_that_is_missing(extensions: Path, name: str) -> None:
    (extensions / name / "package.json").unlink()
    check = doctor.check_lab_extensions()
    assert (check.status, check.detail) == ("wrong", f"JupyterLab lacks '{name}'")
    assert doctor.LAB_EXTENSIONS[name] in check.mend


def test_an_extension_that_is_disabled(extensions: Path, tmp_path: Path) -> None:
    config = tmp_path / "config" / "labconfig"
    config.mkdir(parents=True)
    (config / "page_config.json").write_text(json.dumps({"disabledExtensions": {"anywidget": True}}))
    check = doctor.check_lab_extensions()
    assert (check.status, check.mend) == ("wrong", "jupyter labextension enable anywidget")


def test_an_old_extension_that_hides_the_installed_one(
    extensions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "env"))
    (tmp_path / "env/share/jupyter/labextensions/anywidget").mkdir(parents=True)
    check = doctor.check_lab_extensions()
    assert check.status == "wrong"
    assert check.mend == f"remove the folder {extensions / 'anywidget'}"


def kernel_spec(monkeypatch: pytest.MonkeyPatch, program: str) -> Check:
    class Manager:
        def get_kernel_spec(self, name: str) -> SimpleNamespace:
            assert name == "python3"
            return SimpleNamespace(argv=[program, "-m", "ipykernel_launcher"], display_name="Python 3")

    monkeypatch.setattr("jupyter_client.kernelspec.KernelSpecManager", Manager)
    return doctor.check_kernel()


@pytest.mark.parametrize(
    "program", ["python", "python3", sys.executable, str(Path(sys.executable).parent / "python")]
)
def test_a_kernel_of_this_environment(monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    assert kernel_spec(monkeypatch, program).status == "ok"


@pytest.mark.parametrize("program", ["/usr/bin/python3", "/gone/env/bin/python"])
def test_a_kernel_of_another_environment(monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    check = kernel_spec(monkeypatch, program)
    assert check.status == "wrong"
    assert program in check.detail
    assert check.mend.endswith("-m ipykernel install --sys-prefix")


def test_little_memory_is_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "free_memory", lambda: doctor.GIB // 2)
    check = doctor.check_memory()
    assert (check.status, check.detail) == ("note", "0.5 GiB free")


def test_a_network_that_does_not_load_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: str) -> None:
        raise FileNotFoundError(f"no weights for {name}")

    monkeypatch.setattr("camwidgets.load", load)
    check = doctor.guarded(doctor.check_embedded_network)
    assert (check.name, check.status) == ("embedded network", "wrong")
    assert check.detail == "FileNotFoundError: no weights for efficientnet_lite0"


class TestFindBrowser:
    @pytest.fixture(autouse=True)
    def _bare(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("CAMWIDGETS_CHROMIUM", raising=False)
        monkeypatch.setenv("PATH", str(tmp_path / "bin"))
        monkeypatch.setenv("PLAYWRIGHT_BROWSERS_PATH", str(tmp_path / "playwright"))

    @staticmethod
    def program(path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
        return path

    def test_none(self) -> None:
        assert doctor.find_browser() is None
        check = doctor.check_browser()
        assert check.status == "note"
        assert "apt-get install chromium" in check.mend

    def test_the_order(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        old = self.program(tmp_path / "playwright/chromium-1100/chrome-linux/chrome")
        assert doctor.find_browser() == old
        new = self.program(tmp_path / "playwright/chromium-1200/chrome-linux64/chrome")
        assert doctor.find_browser() == new
        on_path = self.program(tmp_path / "bin/google-chrome")
        assert doctor.find_browser() == on_path
        named = self.program(tmp_path / "elsewhere/chromium")
        monkeypatch.setenv("CAMWIDGETS_CHROMIUM", str(named))
        assert doctor.find_browser() == named

    def test_a_named_one_that_is_missing_is_not_replaced(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.program(tmp_path / "bin/chromium")
        monkeypatch.setenv("CAMWIDGETS_CHROMIUM", str(tmp_path / "gone"))
        assert doctor.find_browser() is None
