"""The template, filled in."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from collector.generator.statements import Lists
from infraprism.processor.dialects import DIALECTS
from infraprism.processor.dialects.table import Dialect

ROOT: Final = Path(__file__).resolve().parents[2]
TEMPLATE: Final = ROOT / "collector" / "template.yaml"
MANIFEST: Final = ROOT / "collector" / "manifest.yaml"
CONFIG: Final = ROOT / "collector-config.yaml"
_PLACE: Final = re.compile(r"( *)#> (\w+)")


def config_text(dialects: Sequence[Dialect] = DIALECTS) -> str:
    """The whole configuration; raises LookupError for a table that says something without a guard."""
    version = re.search(r"^  version: (\S+)", MANIFEST.read_text(encoding="utf-8"), re.MULTILINE)
    assert version, "the manifest names no version"
    text = TEMPLATE.read_text(encoding="utf-8").replace("{version}", version[1])
    return "".join(_filled(text, Lists(dialects)))


def _filled(template: str, lists: Lists) -> Iterator[str]:
    for line in template.splitlines(keepends=True):
        place = _PLACE.fullmatch(line.rstrip("\n"))
        if place is None:
            yield line
            continue
        statements: list[str] = getattr(lists, place[2])()
        for statement in statements:
            yield f"{place[1]}- '{statement.replace('$', '$$').replace(chr(39), chr(39) * 2)}'\n"
