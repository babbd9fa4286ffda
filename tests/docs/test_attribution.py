"""docs/attribution.md: every example runs and asserts its result."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = (Path(__file__).parents[2] / "docs" / "attribution.md").read_text("utf-8")
EXAMPLES = re.findall(r"<!-- test: ([A-Za-z ]+) -->\n```python\n(.*?)```", DOCS, re.DOTALL)
MORE = {
    "celery": """
from celery.contrib.testing.worker import start_worker

with start_worker(app, perform_ping_check=False):
    assert ask("a").get(timeout=30) == {"customer": "acme-corp", "tags": {"feature": "chat"}}
""",
}
"""What a test adds to an example: a worker that runs the task."""


def test_every_example_has_a_test_marker() -> None:
    assert len(EXAMPLES) == DOCS.count("```python")


@pytest.mark.parametrize(("name", "code"), EXAMPLES, ids=[name for name, _ in EXAMPLES])
def test_every_example_runs(name: str, code: str, tmp_path: Path) -> None:
    file = tmp_path / "example.py"
    file.write_text(code + MORE.get(name, ""))
    ran = subprocess.run(
        [sys.executable, str(file)],
        env={**os.environ, "INFRAPRISM_PREVIEW": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert "enters attribution()" not in ran.stderr
