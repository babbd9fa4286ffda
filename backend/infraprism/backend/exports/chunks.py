"""Reads events in chunks, in the order of their key, each with its text and its sums from one statement."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Context, Decimal
from typing import Any, Final, NamedTuple, Self

from infraprism.backend.exports.formats import Format, row
from infraprism.backend.store import Database, StoreError, event_columns
from infraprism.backend.store.database import Parameter
from infraprism.schema import exact_json

CHUNK_ROWS: Final = 25_000
_TOO_LARGE: Final = frozenset({159, 160, 241})
"""The engine's codes for a query that exceeds its limits of time and memory."""
_EXACT: Final = Context(prec=80)
"""A sum of costs has at most 76 digits."""
_MIN_WINDOW_MS: Final = 60_000
_GROWTH: Final = 2
_SUMS: Final = {
    "total_events": "count()",
    "total_cost": "sum(toDecimal256(e.cost_usd, 18))",
    "total_input_tokens": "sum(e.input_tokens)",
    "total_output_tokens": "sum(e.output_tokens)",
    "unpriced_events": "countIf(e.cost_usd IS NULL)",
    "failed_events": "countIf(NOT e.success)",
}
"""The sums of the events of a file, by their names in responses of analytics."""


@dataclass(frozen=True)
class Totals:
    """The sums of a file. A sum of costs or tokens is None if there are events and none of them has a value."""

    values: Mapping[str, Any]

    @classmethod
    def none(cls) -> Self:
        """The sums of no event."""
        return cls(dict.fromkeys(_SUMS, 0))

    def plus(self, other: Mapping[str, Any]) -> Totals:
        """The sums of both."""
        if not self.values["total_events"]:
            return Totals(dict(other))
        return Totals({name: _sum(self.values[name], other[name]) for name in _SUMS})


def _sum(first: Any, second: Any) -> Any:
    if first is None or second is None:
        return second if first is None else first
    if isinstance(first, int) and isinstance(second, int):
        return first + second
    return _EXACT.add(Decimal(first), Decimal(second))


class Position(NamedTuple):
    """Where the next chunk begins: after the event `after_id` (hexadecimal) of the millisecond, or with its first."""

    from_ms: int
    after_id: str | None = None


@dataclass(frozen=True)
class Selection:
    """The events of an export. `conditions` is SQL on the table of events, with bound parameters.

    `retained` is the condition of the events that are not expired, or None.
    """

    conditions: str
    parameters: Mapping[str, Parameter]
    end_ms: int
    usage_detail: bool
    retained: str | None = None


class Chunk(NamedTuple):
    """The text of some events, their sums, and where the next chunk begins; None if there is none."""

    text: bytes
    totals: Mapping[str, Any]
    following: Position | None


class ChunkReader:
    """Reads the chunks of one export. A period that takes too long is divided. Raises StoreError."""

    def __init__(self, database: Database, form: Format, rows: int = CHUNK_ROWS) -> None:
        self._database = database
        self._form = form
        self._rows = rows
        self._window_ms: int | None = None

    def read(self, selection: Selection, position: Position) -> Chunk:
        """The chunk at a position. It can be empty though others follow."""
        while True:
            end_ms = selection.end_ms
            if self._window_ms is not None:
                end_ms = min(end_ms, position.from_ms + self._window_ms)
            try:
                chunk = self._read(selection, position, end_ms)
            except StoreError as error:
                window_ms = (end_ms - position.from_ms) // 4
                if error.code not in _TOO_LARGE or window_ms < _MIN_WINDOW_MS:
                    raise
                self._window_ms = window_ms
                continue
            if self._window_ms is not None:
                self._window_ms *= _GROWTH
            return chunk

    def _read(self, selection: Selection, position: Position, end_ms: int) -> Chunk:
        parameters: dict[str, Parameter] = {
            **selection.parameters,
            "chunk_from_ms": position.from_ms,
            "chunk_end_ms": end_ms,
            "chunk_rows": self._rows,
        }
        after = ""
        if position.after_id is not None:
            after = (
                " AND (timestamp, id) > (fromUnixTimestamp64Milli({chunk_from_ms:Int64}, 'UTC'),"
                " CAST(unhex({chunk_after:String}), 'FixedString(16)'))"
            )
            parameters["chunk_after"] = position.after_id
        detail = selection.usage_detail
        sums = ", ".join((*_SUMS.values(), "toUnixTimestamp64Milli(max(e.timestamp))", "max((e.timestamp, e.id)).2"))
        found = self._database.read_as(
            "RowBinary",
            f"SELECT arrayStringConcat(groupArray({row(self._form, usage_detail=detail)})), toJSONString(tuple({sums}))"
            f" FROM (SELECT {event_columns.event(usage_detail=detail)} FROM (SELECT *, total_tokens FROM events"
            f" WHERE ({selection.conditions}) AND timestamp >= fromUnixTimestamp64Milli({{chunk_from_ms:Int64}}, 'UTC')"
            f" AND timestamp < fromUnixTimestamp64Milli({{chunk_end_ms:Int64}}, 'UTC'){after}"
            " ORDER BY timestamp, id LIMIT {chunk_rows:UInt64}) AS events ORDER BY events.timestamp, events.id) AS e"
            # One thread: the rows are joined in their order.
            " SETTINGS max_threads = 1, format_csv_null_representation = '',"
            " output_format_json_escape_forward_slashes = 0",
            parameters,
            events=selection.retained,
        )
        text, after_text = _string(found)
        values, _ = _string(after_text)
        *totals, last_ms, last_id = exact_json.loads(bytes(values))
        named = dict(zip(_SUMS, totals, strict=True))
        following: Position | None = None
        if named["total_events"] == self._rows:
            following = Position(last_ms, last_id.removeprefix("evt_"))
        elif end_ms < selection.end_ms:
            following = Position(end_ms)
        return Chunk(bytes(text), named, following)


def count(database: Database, selection: Selection, first_ms: int) -> int | None:
    """How many events a selection has now; None if counting them takes too long."""
    try:
        (found,) = database.read(
            f"SELECT count() AS number FROM events WHERE ({selection.conditions})"
            " AND timestamp >= fromUnixTimestamp64Milli({chunk_from_ms:Int64}, 'UTC')"
            " AND timestamp < fromUnixTimestamp64Milli({chunk_end_ms:Int64}, 'UTC')",
            {**selection.parameters, "chunk_from_ms": first_ms, "chunk_end_ms": selection.end_ms},
            events=selection.retained,
        )
    except StoreError as error:
        if error.code not in _TOO_LARGE:
            raise
        return None
    return int(exact_json.loads(found)["number"])


def retained_only(selection: Selection, cutoff_ms: int | None) -> Selection:
    """The events of a selection that are not expired."""
    if cutoff_ms is None:
        return selection
    return replace(selection, retained=f"timestamp >= fromUnixTimestamp64Milli({cutoff_ms}, 'UTC')")


def _string(encoded: bytes | memoryview) -> tuple[memoryview, memoryview]:
    """The first string of RowBinary, which begins with its length in base 128, and what follows it."""
    view = memoryview(encoded)
    length = place = 0
    while True:
        byte = view[place]
        length |= (byte & 0x7F) << (7 * place)
        place += 1
        if byte < 0x80:  # noqa: PLR2004  # the last byte of a length has no high bit
            return view[place : place + length], view[place + length :]
