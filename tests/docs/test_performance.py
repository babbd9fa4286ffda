"""docs/performance.md and CONTRIBUTING.md: every benchmark that they name can be started."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = (ROOT / "docs" / "performance.md", ROOT / "CONTRIBUTING.md")
NAMED = sorted(
    {name for page in PAGES for name in re.findall(r"python (?:-m )?benchmarks[/.](\w+)", page.read_text("utf-8"))}
)


def test_every_benchmark_is_described() -> None:
    scripts = {path.stem for path in (ROOT / "benchmarks").glob("*.py") if "__main__" in path.read_text("utf-8")}
    assert scripts - {"calls"} == set(NAMED)  # calls.py is started by instrumentation.py


@pytest.mark.parametrize("name", NAMED)
def test_every_named_benchmark_imports(name: str) -> None:
    command = f"import runpy, sys; sys.path[:0] = ['benchmarks', '.']; runpy.run_path('benchmarks/{name}.py')"
    subprocess.run([sys.executable, "-c", command], cwd=ROOT, check=True, timeout=120)
