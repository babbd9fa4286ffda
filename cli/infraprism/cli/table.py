"""Aligned tables that fit the width of the terminal."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from decimal import Decimal
from typing import Final, NamedTuple

from infraprism.schema import cost_text

NO_VALUE: Final = "-"
_GAP: Final = "  "
_MIN_WIDTH: Final = 10


class Column(NamedTuple):
    """A column: its heading, and how its values are printed. Numbers and `never_cut` texts are not shortened."""

    heading: str
    numeric: bool = False
    never_cut: bool = False


def text(value: object) -> str:
    """The text of a value; `-` for None and the empty string."""
    if value is None or value == "":
        return NO_VALUE
    if isinstance(value, Decimal):
        return cost_text(value)
    return str(value)


def render(columns: Sequence[Column], rows: Sequence[Sequence[object]], width: int | None = None) -> str:
    """The table as text.

    If it is wider than `width`, texts are shortened and end in `…`, from the last column to the first.
    """
    cells = [[text(value) for value in row] for row in rows]
    widths = [max(len(column.heading), *(len(row[index]) for row in cells), 0) for index, column in enumerate(columns)]
    _fit(columns, widths, width)
    lines = [_line(columns, [column.heading for column in columns], widths)]
    return "\n".join([*lines, *(_line(columns, row, widths) for row in cells)])


def terminal_width() -> int | None:
    """Columns of the terminal; None if stdout is not a terminal, so that no text is shortened."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def _fit(columns: Sequence[Column], widths: list[int], width: int | None) -> None:
    if width is None:
        return
    excess = sum(widths) + len(_GAP) * (len(widths) - 1) - width
    # The columns are in the order of their importance, so the last ones are shortened first.
    for index in reversed(range(len(columns))):
        if excess > 0 and not columns[index].numeric and not columns[index].never_cut:
            reduction = min(excess, max(0, widths[index] - _MIN_WIDTH))
            widths[index] -= reduction
            excess -= reduction


def _line(columns: Sequence[Column], cells: Sequence[str], widths: Sequence[int]) -> str:
    texts = []
    for column, cell, width in zip(columns, cells, widths, strict=True):
        fitted = cell if len(cell) <= width else cell[: width - 1] + "…"
        texts.append(fitted.rjust(width) if column.numeric else fitted.ljust(width))
    return _GAP.join(texts).rstrip()
