"""Generates the table in docs/dialects.md: what each dialect reports, as the fixtures show.

    python -m tests.kit.dialect_coverage

writes the table to the document.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.kit.dialects import Case, cases, ended

from infraprism.processor import to_event
from infraprism.schema import Event

DOCS = Path(__file__).resolve().parents[2] / "docs" / "dialects.md"
START, END = "<!-- coverage: start -->", "<!-- coverage: end -->"
SCENARIOS = ("chat", "cache", "stream", "stream without usage", "embeddings", "failed", "no call")
ORDER = ("exact", "partial", "wrong", "not reported", "counted")


def verdict(case: Case, event: Event | None) -> str:
    """How exactly an event has the counts that were billed."""
    if case.billed is None:
        return "not counted" if event is None else "counted"
    if event is None:
        return "not reported"
    if case.scenario == "failed":
        return "exact" if event.error_code is not None else "partial"
    found = {name: getattr(event, name) for name in case.billed}
    if found["input_tokens"] is None and found.get("output_tokens") is None:
        return "not reported"
    if any(value is not None and value != case.billed[name] for name, value in found.items() if name in _TOTALS):
        return "wrong"
    return "exact" if found == case.billed else "partial"


_TOTALS = ("input_tokens", "output_tokens")


def table() -> str:
    """The table, in Markdown."""
    found: dict[str, dict[str, set[str]]] = {}
    for case in cases():
        column = found.setdefault(case.dialect, {}).setdefault(case.scenario, set())
        column.add(verdict(case, to_event(ended(case.span))))
    lines = [f"| dialect | {' | '.join(SCENARIOS)} |", f"|---|{'---|' * len(SCENARIOS)}"]
    for dialect, columns in sorted(found.items(), key=lambda item: item[0].lower()):
        shown = (", ".join(sorted(columns.get(name, {"-"}), key=_place)) for name in SCENARIOS)
        lines.append(f"| {dialect} | {' | '.join(shown)} |")
    return "\n".join(lines)


def _place(word: str) -> int:
    return ORDER.index(word) if word in ORDER else len(ORDER)


def shown() -> str:
    """The table in the documentation."""
    return DOCS.read_text(encoding="utf-8").partition(START)[2].partition(END)[0].strip()


def main() -> None:
    before, _, rest = DOCS.read_text(encoding="utf-8").partition(START)
    DOCS.write_text(f"{before}{START}\n{table()}\n{END}{rest.partition(END)[2]}", encoding="utf-8")
    sys.stdout.write(table() + "\n")


if __name__ == "__main__":
    main()
