"""docs/compliance.md: every test and page that it names exists."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "compliance.md"
TEXT = PAGE.read_text("utf-8")


def test_every_test_that_the_page_names_exists_and_has_tests() -> None:
    named = set(re.findall(r"`(tests/[\w/]+\.py)`", TEXT))
    assert len(named) > 30
    assert {name for name in named if not (ROOT / name).is_file()} == set()
    assert all("def test_" in (ROOT / name).read_text("utf-8") for name in named)


def test_every_page_that_it_links_exists() -> None:
    linked = re.findall(r"\]\((\w[\w-]*\.md)(?:#[\w-]+)?\)", TEXT)
    assert linked
    assert all((PAGE.parent / name).is_file() for name in linked)


def test_each_control_names_a_test_or_a_page() -> None:
    rows = [line for line in TEXT.splitlines() if re.match(r"\| (?:CC|A1|C1|PI|\d)", line)]
    assert len(rows) > 35
    for row in rows:
        shown = row.split(" | ")[2]
        assert "`tests/" in shown or "](" in shown or shown == "the table of SOC 2", row
