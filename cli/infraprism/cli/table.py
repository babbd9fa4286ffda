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
    """A column: its heading, and how its values are printed. Numbers and `never_cut` texts are not shortened.

    A text stays readable with `readable_width` characters. If not all columns fit, those with the highest `optional`
    are left out first; a column with 0 is always printed.
    """

    heading: str
    numeric: bool = False
    never_cut: bool = False
    readable_width: int = _MIN_WIDTH
    optional: int = 0


def text(value: object) -> str:
    """The text of a value; `-` for None and the empty string."""
    if value is None or value == "":
        return NO_VALUE
    if isinstance(value, Decimal):
        return cost_text(value)
    return str(value)


def render(columns: Sequence[Column], rows: Sequence[Sequence[object]], width: int | None = None) -> str:
    """The table as text.

    If it is wider than `width`, optional columns are left out, then texts are shortened and end in `…`, from the last
    column to the first.
    """
    cells = [[text(value) for value in row] for row in rows]
    widths = [max(len(column.heading), *(len(row[index]) for row in cells), 0) for index, column in enumerate(columns)]
    shown = _shown(columns, widths, width)
    columns, widths = [columns[index] for index in shown], [widths[index] for index in shown]
    _fit(columns, widths, width)
    lines = [_line(columns, [column.heading for column in columns], widths)]
    return "\n".join([*lines, *(_line(columns, [row[index] for index in shown], widths) for row in cells)])


def terminal_width() -> int | None:
    """Columns of the terminal; None if stdout is not a terminal, so that no text is shortened."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def _shown(columns: Sequence[Column], widths: Sequence[int], width: int | None) -> list[int]:
    """The indexes of the columns that fit."""
    shown = list(range(len(columns)))
    if width is None:
        return shown
    least = [
        found if column.numeric or column.never_cut else min(found, column.readable_width)
        for column, found in zip(columns, widths, strict=True)
    ]
    for index in sorted(
        (index for index in shown if columns[index].optional), key=lambda index: -columns[index].optional
    ):
        if _total([least[kept] for kept in shown]) > width:
            shown.remove(index)
    return shown


def _fit(columns: Sequence[Column], widths: list[int], width: int | None) -> None:
    """Reduce the widths of texts: first to their readable width, then to `_MIN_WIDTH`."""
    if width is None:
        return
    excess = _total(widths) - width
    for is_readable in (True, False):
        # The columns are in the order of their importance, so the last ones are shortened first.
        for index in reversed(range(len(columns))):
            column = columns[index]
            if excess > 0 and not column.numeric and not column.never_cut:
                least = column.readable_width if is_readable else _MIN_WIDTH
                reduction = min(excess, max(0, widths[index] - least))
                widths[index] -= reduction
                excess -= reduction


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + len(_GAP) * (len(widths) - 1)


def _line(columns: Sequence[Column], cells: Sequence[str], widths: Sequence[int]) -> str:
    texts = []
    for column, cell, width in zip(columns, cells, widths, strict=True):
        fitted = cell if len(cell) <= width else cell[: width - 1] + "…"
        texts.append(fitted.rjust(width) if column.numeric else fitted.ljust(width))
    return _GAP.join(texts).rstrip()
