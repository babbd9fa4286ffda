"""The source distribution of a client package, and an environment with all that its tests need.

Both are kept in a folder named by a hash of what they were made from, and made again when that changes.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.vendor.suites import Suite

ROOT: Final = Path(__file__).parents[2]
KEPT: Final = ROOT / "build" / "vendor"
_MINUTES: Final = 60


class Environment:
    """A folder with the unpacked source distribution and a virtual environment beside it."""

    def __init__(self, folder: Path, suite: Suite) -> None:
        self.source = folder / suite.name
        self.python = folder / "environment" / "bin" / "python"
        self.folder = folder
        self.variables = suite.variables


def environment(suite: Suite) -> Environment:
    """The environment of a suite, made if it is not there yet.

    Raises subprocess.CalledProcessError or TimeoutExpired where the registry cannot be reached.
    """
    ours = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    made_from = repr(
        (suite.name, suite.extras, suite.groups, suite.also, ours, sys.version, Path(__file__).read_text())
    )
    folder = KEPT / f"{suite.name}-{hashlib.sha256(made_from.encode()).hexdigest()[:12]}"
    made = Environment(folder, suite)
    done = folder / ".made"
    if not done.exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        _unpack(suite, folder)
        _install(suite, made)
        done.touch()
    return made


def _unpack(suite: Suite, folder: Path) -> None:
    print(f"{suite.name}: downloading its source distribution ...", flush=True)
    wanted = f"{suite.package}=={suite.version}"
    _run(sys.executable, "-m", "pip", "download", "-q", "--no-binary", ":all:", "--no-deps", wanted, "-d", str(folder))
    with tarfile.open(folder / f"{suite.name}.tar.gz") as archive:
        archive.extractall(folder, filter="data")


def _install(suite: Suite, made: Environment) -> None:
    print(f"{suite.name}: installing it with all that its tests need ...", flush=True)
    project = made.source / "pyproject.toml"
    constraints = made.folder / "constraints.txt"
    constraints.write_text("\n".join(_locked(made.source / "uv.lock")) + "\n")
    groups = [argument for group in suite.groups for argument in ("--group", f"{project}:{group}")]
    client = f"{suite.package}[{','.join(suite.extras)}]=={suite.version}"
    _run(sys.executable, "-m", "venv", str(made.folder / "environment"))
    pip = (str(made.python), "-m", "pip", "install", "-q")
    _run(*pip, "--upgrade", "pip")
    _run(*pip, "-c", str(constraints), client, *groups, *suite.also, "--editable", str(ROOT))


def _locked(lock: Path) -> Iterator[str]:
    """The versions that the vendor tests with, of everything that is locked to one version only."""
    packages = [package for package in tomllib.loads(lock.read_text())["package"] if "registry" in package["source"]]
    versions = Counter(package["name"] for package in packages)
    return (f"{package['name']}=={package['version']}" for package in packages if versions[package["name"]] == 1)


def _run(*command: str) -> None:
    variables = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    subprocess.run(command, check=True, timeout=30 * _MINUTES, env=variables, cwd=ROOT)
