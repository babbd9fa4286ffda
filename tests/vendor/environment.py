"""The source distribution of a client package, and an environment with the dependencies of its tests.

Both are cached in a folder named by a hash of their inputs, and created again when those change.
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
CACHE: Final = ROOT / "build" / "vendor"
_MINUTES: Final = 60


class Environment:
    """A folder with the unpacked source distribution and a virtual environment."""

    def __init__(self, folder: Path, suite: Suite) -> None:
        self.source = folder / suite.name
        self.python = folder / "environment" / "bin" / "python"
        self.folder = folder
        self.variables = suite.variables


def environment(suite: Suite) -> Environment:
    """The environment of a suite, created on first use.

    Raises subprocess.CalledProcessError or TimeoutExpired if the registry cannot be reached.
    """
    ours = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    inputs = repr(
        (suite.name, suite.extras, suite.groups, suite.extra_packages, ours, sys.version, Path(__file__).read_text())
    )
    folder = CACHE / f"{suite.name}-{hashlib.sha256(inputs.encode()).hexdigest()[:12]}"
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
    print(f"{suite.name}: installing it and the dependencies of its tests ...", flush=True)
    project = made.source / "pyproject.toml"
    constraints = made.folder / "constraints.txt"
    constraints.write_text("\n".join(_locked(made.source / "uv.lock")) + "\n")
    groups = [argument for group in suite.groups for argument in ("--group", f"{project}:{group}")]
    client = f"{suite.package}[{','.join(suite.extras)}]=={suite.version}"
    _run(sys.executable, "-m", "venv", str(made.folder / "environment"))
    pip = (str(made.python), "-m", "pip", "install", "-q")
    _run(*pip, "--upgrade", "pip")
    _run(*pip, "-c", str(constraints), client, *groups, *suite.extra_packages, "--editable", str(ROOT))


def _locked(lock: Path) -> Iterator[str]:
    """The locked versions of all packages that have only one."""
    packages = [package for package in tomllib.loads(lock.read_text())["package"] if "registry" in package["source"]]
    versions = Counter(package["name"] for package in packages)
    return (f"{package['name']}=={package['version']}" for package in packages if versions[package["name"]] == 1)


def _run(*command: str) -> None:
    variables = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    subprocess.run(command, check=True, timeout=30 * _MINUTES, env=variables, cwd=ROOT)
