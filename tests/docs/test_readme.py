"""The README: its examples run, its links and make targets exist, its inventory is the field table."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from infraprism.schema import inventory

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
PYTHON_BLOCKS = re.findall(r"<!-- test: ([a-z -]+) -->\n```python\n(.*?)```", README, re.DOTALL)


def test_the_inventory_is_the_field_table() -> None:
    shown = README.split("checked by a test -->\n")[1].split("<!-- end of inventory -->")[0]
    assert shown == inventory.markdown(), "run: python -m infraprism.schema.inventory, and put it into README.md"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_between_pages_resolves(page: Path) -> None:
    targets = [target for target in re.findall(r"\]\(([^)#]+)", page.read_text()) if "://" not in target]
    missing = [target for target in targets if not (page.parent / target).exists()]
    assert missing == []


def test_every_python_example_has_a_test_marker() -> None:
    assert len(PYTHON_BLOCKS) == README.count("```python")


@pytest.mark.parametrize(("name", "code"), PYTHON_BLOCKS, ids=[name for name, _ in PYTHON_BLOCKS])
def test_every_python_example_runs(name: str, code: str) -> None:
    environment = {**os.environ, "INFRAPRISM_PREVIEW": "1"}
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr


def test_every_make_target_in_the_docs_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {target for page in PAGES for target in re.findall(r"`make ([a-z-]+)", page.read_text())}
    named |= set(re.findall(r"^make ([a-z-]+)", README, re.MULTILINE))
    assert named <= targets


def test_ci_calls_the_test_command_of_the_readme() -> None:
    assert "```sh\nmake test\n```" in README
    assert "make check" in (ROOT / ".ci" / "run").read_text()
    check = (ROOT / "Makefile").read_text().split("\ncheck:")[1].split("\n\n")[0]
    assert re.search(r"\$\(MAKE\).* test$", check, re.MULTILINE)
