"""Tables for a terminal: aligned, and never wider than it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from decimal import Decimal
from typing import Final, NamedTuple

from infraprism.schema import cost_text

NOTHING: Final = "-"
_GAP: Final = "  "
_MIN_WIDTH: Final = 10


class Column(NamedTuple):
    """A column's heading, and what its values are. `whole` texts are never cut."""

    heading: str
    numeric: bool = False
    whole: bool = False


def text(value: object) -> str:
    """A value as it stands in a cell; `-` for what is not there."""
    if value is None or value == "":
        return NOTHING
    if isinstance(value, Decimal):
        return cost_text(value)
    return str(value)


def render(columns: Sequence[Column], rows: Sequence[Sequence[object]], width: int | None = None) -> str:
    """The table.

    Where it is wider than `width`, texts are cut and end in `…`, those of the last columns first; numbers never are.
    """
    cells = [[text(value) for value in row] for row in rows]
    widths = [max(len(column.heading), *(len(row[index]) for row in cells), 0) for index, column in enumerate(columns)]
    _fit(columns, widths, width)
    lines = [_line(columns, [column.heading for column in columns], widths)]
    return "\n".join([*lines, *(_line(columns, row, widths) for row in cells)])


def terminal_width() -> int | None:
    """Columns of the terminal; None where the output goes elsewhere, and nothing is to be cut."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def _fit(columns: Sequence[Column], widths: list[int], width: int | None) -> None:
    if width is None:
        return
    excess = sum(widths) + len(_GAP) * (len(widths) - 1) - width
    # Columns stand in the order of their weight, so the last ones give way first.
    for index in reversed(range(len(columns))):
        if excess > 0 and not columns[index].numeric and not columns[index].whole:
            given = min(excess, max(0, widths[index] - _MIN_WIDTH))
            widths[index] -= given
            excess -= given


def _line(columns: Sequence[Column], cells: Sequence[str], widths: Sequence[int]) -> str:
    shown = []
    for column, cell, width in zip(columns, cells, widths, strict=True):
        fitting = cell if len(cell) <= width else cell[: width - 1] + "…"
        shown.append(fitting.rjust(width) if column.numeric else fitting.ljust(width))
    return _GAP.join(shown).rstrip()
