"""The allowed imports between packages, as stated in pyproject.toml under `tool.importlinter`."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT = (ROOT / "pyproject.toml").read_text()
CONTRACTS = tomllib.loads(PYPROJECT)["tool"]["importlinter"]
(LAYERS,) = (contract["layers"] for contract in CONTRACTS["contracts"] if contract["type"] == "layers")
PACKAGES = sorted(
    f"infraprism.{path.parent.name}" for path in ROOT.glob("*/infraprism/*/__init__.py") if path.parts[-4] != "build"
)


def lint_imports(folder: Path, pyproject: str) -> subprocess.CompletedProcess[str]:
    """Check the imports of the installed packages by the contracts of a pyproject.toml."""
    (folder / "pyproject.toml").write_text(pyproject)
    command = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports())"
    return subprocess.run(
        [sys.executable, "-c", command], cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )


def test_imports_point_down_and_have_no_cycles(tmp_path: Path) -> None:
    checked = lint_imports(tmp_path, PYPROJECT)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert f"{len(CONTRACTS['contracts'])} kept, 0 broken" in checked.stdout


def test_every_package_has_a_place_in_the_layers() -> None:
    assert sorted(package.strip() for layer in LAYERS for package in layer.split("|")) == PACKAGES
    assert sorted(CONTRACTS["root_packages"]) == PACKAGES


@pytest.mark.parametrize("upper", range(len(LAYERS) - 1))
def test_an_import_that_points_up_is_found(tmp_path: Path, upper: int) -> None:
    swapped = [*LAYERS[:upper], LAYERS[upper + 1], LAYERS[upper], *LAYERS[upper + 2 :]]
    listed = "".join(f'    "{layer}",\n' for layer in LAYERS)
    assert listed in PYPROJECT
    checked = lint_imports(tmp_path, PYPROJECT.replace(listed, "".join(f'    "{layer}",\n' for layer in swapped)))
    assert checked.returncode == 1
    assert "Imports point down BROKEN" in checked.stdout
