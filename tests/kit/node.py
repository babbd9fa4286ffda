"""Node.js apps for tests: their packages are installed from the registry once per lock file, under build/node/."""

from __future__ import annotations

import os
import shutil
import subprocess
from hashlib import sha256
from pathlib import Path

import pytest

CACHE = Path(__file__).resolve().parents[2] / "build" / "node"
_INSTALL = ("ci", "--ignore-scripts", "--no-audit", "--no-fund")


def installed(app: Path) -> Path:
    """A folder with the app and its packages. Without Node.js the test is skipped with a message; in CI it fails."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        message = "NOT TESTED: the Node.js app needs Node.js 20 or newer with npm (https://nodejs.org)"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    lock = (app / "package-lock.json").read_bytes()
    folder = CACHE / sha256(lock).hexdigest()[:16]
    if not (folder / "whole").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(app / name, folder)
        made = subprocess.run([npm, *_INSTALL], cwd=folder, check=False, capture_output=True, text=True, timeout=600)
        assert made.returncode == 0, f"npm could not install the app's packages:\n{made.stderr}"
        (folder / "whole").touch()  # an installation that was cut off is never taken for one
    shutil.copy(app / "app.mjs", folder)
    return folder


def run(folder: Path, **environment: str) -> None:
    """Run the app; it must end well."""
    ran = subprocess.run(
        ["node", "app.mjs"],
        cwd=folder,
        env={**os.environ, **environment},
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
