"""`camwidgets lab`: notebooks arrive, edits are never lost, and JupyterLab answers with the first."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from typer.testing import CliRunner

from camwidgets import lab
from camwidgets.cli import app


@pytest.fixture
def lessons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package's own notebooks, far from any checkout."""
    folder = tmp_path / "site-packages" / "camwidgets" / "notebooks"
    (folder / "pictures").mkdir(parents=True)
    (folder / ".ipynb_checkpoints").mkdir()
    (folder / lab.FIRST_NOTEBOOK).write_text("first")
    (folder / "pictures" / "cat.png").write_bytes(b"cat")
    (folder / ".ipynb_checkpoints" / "old.ipynb").write_text("old")
    monkeypatch.setattr(lab, "notebook_source", lambda: folder)
    return folder


@pytest.fixture
def work(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


def test_notebooks_are_copied_once(lessons: Path, work: Path) -> None:
    root, copies = lab.prepare(work)
    assert root == work
    names = [str(copy.relative_to(work / "notebooks")) for copy in copies]
    assert names == [lab.FIRST_NOTEBOOK, "pictures/cat.png"]
    assert lab.prepare(work) == (work, [])


def test_what_was_edited_stays(lessons: Path, work: Path) -> None:
    lab.prepare(work)
    mine = work / "notebooks" / lab.FIRST_NOTEBOOK
    mine.write_text("my own")
    (lessons / "02_new.ipynb").write_text("second")
    _, copies = lab.prepare(work)
    assert [copy.name for copy in copies] == ["02_new.ipynb"]
    assert mine.read_text() == "my own"


@pytest.mark.parametrize("inside", ["", "notebooks", "deep/er"])
def test_a_checkout_uses_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inside: str) -> None:
    checkout = tmp_path / "checkout"
    (checkout / "notebooks").mkdir(parents=True)
    (checkout / "deep" / "er").mkdir(parents=True)
    (checkout / "notebooks" / lab.FIRST_NOTEBOOK).write_text("first")
    (checkout / "pyproject.toml").write_text("")
    monkeypatch.setattr(lab, "notebook_source", lambda: checkout / "notebooks")
    assert lab.prepare(checkout / inside) == (checkout, [])
    assert not list((checkout / "deep" / "er").iterdir())


def test_a_missing_folder_is_said(work: Path) -> None:
    result = CliRunner().invoke(app, ["lab", "--dir", str(work / "nowhere")])
    assert result.exit_code == 1
    assert result.stderr.strip() == f"There is no folder {work / 'nowhere'}."


def test_an_incomplete_installation_is_said(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lab, "__file__", str(work / "camwidgets" / "lab.py"))
    result = CliRunner().invoke(app, ["lab", "--dir", str(work)])
    assert result.exit_code == 1
    assert "there is no 01_where_does_it_look.ipynb in" in result.stderr


def test_a_path_in_the_way_is_said(lessons: Path, work: Path) -> None:
    (work / "notebooks").write_text("a file, not a folder")
    result = CliRunner().invoke(app, ["lab", "--dir", str(work)])
    assert result.exit_code == 1
    assert "notebooks" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_arguments(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    plain = lab.lab_arguments(work)
    assert plain == [
        f"--ServerApp.root_dir={work}",
        "--LabApp.default_url=/lab/tree/notebooks/01_where_does_it_look.ipynb",
    ]
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    more = lab.lab_arguments(work, port=8899, browser=False)
    assert more[2:] == ["--port=8899", "--ServerApp.port_retries=0", "--no-browser", "--allow-root"]


def test_the_token_stays_on_and_the_first_notebook_is_served(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    said = tmp_path / "said"
    environment = os.environ | {"JUPYTER_RUNTIME_DIR": str(tmp_path), "JUPYTER_CONFIG_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "camwidgets.cli", "lab", "--no-browser", "--port", str(port)]
    with said.open("wb") as out:
        process = subprocess.Popen(
            [*command, "--dir", str(tmp_path)], stdout=out, stderr=out, env=environment
        )
    try:
        address = _wait_for_address(process, said, port)
        assert "/lab/tree/notebooks/01_where_does_it_look.ipynb?token=" in address
        assert (tmp_path / "notebooks" / lab.FIRST_NOTEBOOK).is_file()
        with urllib.request.urlopen(address, timeout=30) as page:
            assert b"JupyterLab" in page.read()
        contents = f"http://127.0.0.1:{port}/api/contents/notebooks"
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(contents, timeout=30)
        with urllib.request.urlopen(f"{contents}?{address.partition('?')[2]}", timeout=30) as listing:
            assert lab.FIRST_NOTEBOOK.encode() in listing.read()
        settings = f"http://127.0.0.1:{port}/lab/api/settings/@jupyterlab/apputils-extension:notification"
        with urllib.request.urlopen(f"{settings}?{address.partition('?')[2]}", timeout=30) as answer:
            told = json.load(answer)["schema"]["properties"]
        assert told["fetchNews"]["default"] == "false", "the question whether it may would cover the first notebook"
        assert told["checkForUpdates"]["default"] is False
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def _wait_for_address(process: subprocess.Popen[bytes], said: Path, port: int) -> str:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        if found := re.search(rf"http://127\.0\.0\.1:{port}/lab\S+token=\w+", said.read_text()):
            return found[0]
        time.sleep(0.1)
    raise AssertionError(f"no address within a minute:\n{said.read_text()}")
