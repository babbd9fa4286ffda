"""The shell commands of the README and the other pages."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
_BLOCK = re.compile(r"^```(sh|console)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r"^    ((?:curl|pip|python|make|infraprism|otelcol\S*|docker|kubectl) .*)$", re.MULTILINE)


class Command(NamedTuple):
    """One command of a page, on one line."""

    page: str
    text: str


def commands(page: Path) -> list[Command]:
    """The commands in the blocks of a page, in order. In a console block, they follow a prompt."""
    text = page.read_text("utf-8")
    found = []
    for kind, block in _BLOCK.findall(text):
        lines = block.replace("\\\n", " ").splitlines()
        if kind == "console" or any(line.startswith("$ ") for line in lines):
            lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
        found += [" ".join(line.split()) for line in lines if line.strip() and not line.startswith("#")]
    return [Command(page.name, line) for line in (*found, *_INDENTED.findall(text))]


def inline(page: Path, program: str) -> list[str]:
    """The commands of a program in the text of a page, between backticks."""
    return re.findall(rf"`({re.escape(program)} [^`]+)`", page.read_text("utf-8"))
