"""The template, filled in."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from collector.generator.statements import Group, Lists

from infraprism.dialects import DIALECTS
from infraprism.dialects.table import Dialect
from infraprism.schema.fields import MAX_TAGS

ROOT: Final = Path(__file__).resolve().parents[2]
TEMPLATE: Final = ROOT / "collector" / "template.yaml"
MANIFEST: Final = ROOT / "collector" / "manifest.yaml"
CONFIG: Final = ROOT / "collector-config.yaml"
_PLACE: Final = re.compile(r"( *)#(>>?) (\w+)")
"""`#> name` is a place for a list of statements or conditions, `#>> name` for a list of groups of them."""


def config_text(dialects: Sequence[Dialect] = DIALECTS, max_tags: int = MAX_TAGS) -> str:
    """The whole configuration; raises LookupError for a table that says something without a guard."""
    version = re.search(r"^  version: (\S+)", MANIFEST.read_text(encoding="utf-8"), re.MULTILINE)
    assert version, "the manifest names no version"
    text = TEMPLATE.read_text(encoding="utf-8").replace("{version}", version[1])
    return "".join(_filled(text, Lists(dialects, max_tags)))


def _filled(template: str, lists: Lists) -> Iterator[str]:
    for line in template.splitlines(keepends=True):
        place = _PLACE.fullmatch(line.rstrip("\n"))
        if place is None:
            yield line
            continue
        indent, kind, name = place.groups()
        made = getattr(lists, name)()
        yield from _groups(indent, made) if kind == ">>" else _items(indent, made)


def _items(indent: str, texts: Sequence[str]) -> Iterator[str]:
    for text in texts:
        yield f"{indent}- '{text.replace('$', '$$').replace(chr(39), chr(39) * 2)}'\n"


def _groups(indent: str, groups: Sequence[Group]) -> Iterator[str]:
    for conditions, statements in groups:
        yield f"{indent}- context: span\n{indent}  conditions:\n"
        yield from _items(indent + "    ", conditions)
        yield f"{indent}  statements:\n"
        yield from _items(indent + "    ", statements)
