"""The wheel as a user gets it, and new environments with it."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from importlib.metadata import entry_points
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def run(*command: str | Path) -> str:
    """Run a command that must succeed, and return what it prints."""
    ran = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=300, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def build(folder: Path) -> Path:
    """Build the wheel into the folder."""
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT)
    (built,) = folder.glob("*.whl")
    return built


def installed(wheel: Path, extra: str, folder: Path, *packages: str) -> Path:
    """The `bin` of a new environment with the wheel, this extra and more packages, from the package index.

    Everything is installed as a user installs it: nothing is shared with the environment of the tests.
    """
    run(sys.executable, "-m", "venv", folder)
    run(folder / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", f"{wheel}[{extra}]", *packages)
    return folder / "bin"


def environment_with(wheel: Path, folder: Path) -> Path:
    """The `bin` of a new environment with the wheel and, from the environment of the tests, all that it depends on.

    The dependencies are not installed again, which would take minutes. Only the wheel's own files are new.
    """
    run(sys.executable, "-m", "venv", "--without-pip", folder)
    python = folder / "bin" / "python"
    site_packages = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    run(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel)
    (site_packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    (script,) = (each for each in entry_points(group="console_scripts") if each.name == "opentelemetry-instrument")
    path = python.parent / script.name
    path.write_text(f"#!{python}\nimport sys\nfrom {script.module} import {script.attr}\nsys.exit({script.attr}())\n")
    path.chmod(0o755)
    return python.parent
