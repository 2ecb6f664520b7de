"""`camwidgets lab`: bring the notebooks to where the user is, and open JupyterLab on the first.

Nothing that the user already has is ever overwritten: a lesson that was edited stays as it was edited.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

FIRST_NOTEBOOK = "01_where_does_it_look.ipynb"
FOLDER = "notebooks"
SETTINGS = Path(__file__).with_name("jupyter")  # labconfig/default_setting_overrides.json: see `serve`


def notebook_source() -> Path:
    """The folder with the lessons: the checkout's own, or the copy that travels inside the installed package.

    Raises:
        FileNotFoundError: neither is there, that is, the installation is incomplete.
    """
    package = Path(__file__).parent
    # An editable install may have both; the checkout's are the ones that people edit.
    candidates = [package.parent / FOLDER, package / FOLDER]
    for folder in candidates:
        if (folder / FIRST_NOTEBOOK).is_file():
            return folder
    places = " or ".join(map(str, candidates))
    raise FileNotFoundError(f"The notebooks are missing: there is no {FIRST_NOTEBOOK} in {places}.")


def prepare(start: Path) -> tuple[Path, list[Path]]:
    """Make sure that the lessons are at hand in *start*; return JupyterLab's root folder and what was copied.

    Inside a checkout its own ``notebooks`` are used. Anywhere else they are copied to ``start/notebooks``,
    each file only if it is absent.

    Raises:
        NotADirectoryError: *start* is not a folder.
        OSError: the notebooks cannot be written there.
    """
    start = start.resolve()
    if not start.is_dir():
        raise NotADirectoryError(f"There is no folder {start}.")
    source = notebook_source()
    checkout = source.parent
    if (checkout / "pyproject.toml").is_file() and start.is_relative_to(checkout):
        return checkout, []
    return start, copy_absent(source, start / FOLDER)


def copy_absent(source: Path, target: Path) -> list[Path]:
    """Copy every file under *source* to *target* unless it is there; return the copies made."""
    copies = []
    for path in sorted(_lesson_files(source)):
        copy = target / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        try:
            # "x" refuses to open what exists: between a look and a write somebody else may have written.
            with path.open("rb") as lesson, copy.open("xb") as out:
                shutil.copyfileobj(lesson, out)
        except FileExistsError:
            continue
        copies.append(copy)
    return copies


def _lesson_files(source: Path) -> Iterator[Path]:
    for path in source.rglob("*"):
        hidden = any(part.startswith((".", "__")) for part in path.relative_to(source).parts)
        if path.is_file() and not hidden:
            yield path


def lab_arguments(root: Path, *, port: int | None = None, browser: bool = True) -> list[str]:
    """JupyterLab's arguments to serve *root* and open the first lesson. Its access token stays on.

    A port that was asked for is the port, or an error; without one JupyterLab looks for a free one itself.
    """
    arguments = [
        f"--ServerApp.root_dir={root}",
        f"--LabApp.default_url=/lab/tree/{quote(FOLDER)}/{quote(FIRST_NOTEBOOK)}",
    ]
    if port is not None:
        arguments += [f"--port={port}", "--ServerApp.port_retries=0"]
    if not browser:
        arguments.append("--no-browser")
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        arguments.append("--allow-root")
    return arguments


def serve(arguments: list[str]) -> None:
    """Run JupyterLab in this process until it is stopped.

    News and the look for newer versions are off unless the user's own settings say otherwise: both ask the network,
    and the question whether they may would cover the lesson.
    """
    from jupyterlab.labapp import LabApp

    os.environ["JUPYTER_CONFIG_PATH"] = os.pathsep.join(
        [str(SETTINGS), *filter(None, [os.environ.get("JUPYTER_CONFIG_PATH")])]
    )
    LabApp.launch_instance(argv=arguments)
