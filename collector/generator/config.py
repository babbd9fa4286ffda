"""Fills collector/template.yaml with the statements and lists that follow from the dialects' tables."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from collector.generator.allowed import Allowed
from collector.generator.recognised import exclusions, marker_keys, read_events, read_usage

from infraprism.dialects import DIALECTS
from infraprism.dialects.table import Dialect

ROOT: Final = Path(__file__).resolve().parents[2]
TEMPLATE: Final = ROOT / "collector" / "template.yaml"
MANIFEST: Final = ROOT / "collector" / "manifest.yaml"
CONFIG: Final = ROOT / "collector-config.yaml"
_PLACE: Final = re.compile(r"( *)(- |[a-z_]+: )?#> (\w+)")
"""`#> name` is replaced by statements, one per line; `key: #> name` and `- #> name` by a list or a string."""


_OFTEN: Final = 3


def config_text(dialects: Sequence[Dialect] = DIALECTS) -> str:
    """The configuration for these dialects. Raises LookupError for a table with a field that has no guard."""
    version = re.search(r"^  version: (\S+)", MANIFEST.read_text(encoding="utf-8"), re.MULTILINE)
    assert version, "manifest.yaml has no version"
    text = TEMPLATE.read_text(encoding="utf-8").replace("{version}", version[1])
    allowed = Allowed(dialects)
    made: dict[str, Sequence[str]] = {
        "markers": marker_keys(dialects),
        "exclusions": exclusions(dialects),
        "read_events": read_events(dialects),
        "read_usage": read_usage(dialects),
        **allowed.places(),
    }
    return "".join(_filled(text, made))


def _filled(template: str, made: dict[str, Sequence[str]]) -> Iterator[str]:
    anchors: dict[str, str] = {}
    for line in template.splitlines(keepends=True):
        place = _PLACE.fullmatch(line.rstrip("\n"))
        if place is None:
            yield line
            continue
        indent, before, name = place.groups()
        if before is None:
            repeated = {text for text, times in Counter(made[name]).items() if times >= _OFTEN}
            for text in made[name]:
                yield f"{indent}{text}\n" if text.startswith("# ") else f"{indent}- {_item(text, repeated, anchors)}\n"
        else:
            yield f"{indent}{before}[{', '.join(map(_plain, made[name]))}]\n"


def _item(text: str, repeated: set[str], anchors: dict[str, str]) -> str:
    """A statement; one that is repeated has a YAML anchor at its first place, and aliases after that."""
    if text not in repeated:
        return _quoted(text)
    if text in anchors:
        return f"*{anchors[text]}"
    anchors[text] = f"{text.partition('(')[0]}_{len(anchors) + 1}"
    return f"&{anchors[text]} {_quoted(text)}"


def _quoted(text: str) -> str:
    """A YAML scalar in quotes; `$` is spelled `$$` for the collector."""
    return "'" + text.replace("$", "$$").replace("'", "''") + "'"


def _plain(text: str) -> str:
    """A YAML scalar without quotes where they are not needed."""
    return text if re.fullmatch(r"[A-Za-z][A-Za-z0-9_.-]*", text) else json.dumps(text.replace("$", "$$"))
