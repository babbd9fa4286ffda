"""Which calls were settled lately, in a file, so that a server that was killed knows them again.

A call is noted before its event is stored, and only counts as settled if the store has the event: whatever moment the
server is killed in, a span that comes again, or only then, finds its call, and one that was never stored is new.
Bounded for each account by what is remembered in memory.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import suppress
from importlib import resources
from pathlib import Path
from typing import Any, Final

from infraprism.attribution.scope import NOTHING
from infraprism.backend.span_conversion.account_calls import MAX_CALLS, Call
from infraprism.backend.store import Database
from infraprism.deduplication.candidate import Candidate, Outcome
from infraprism.dialects.engine import ParsedSpan
from infraprism.dialects.table import Layer, SpanFields
from infraprism.schema.usage import Usage

_TRIM_EVERY: Final = 1024
"""So many calls are noted before those of an account that are too many are taken out again."""
_IDS_AT_ONCE: Final = 1000
_SAID: Final = ("request_model", "response_model", "response_id", "is_stream_end")
_USED: Final = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")
"""What two spans of one call are compared by, beside their times and their outcome."""
_NOTHING_SAID: Final = SpanFields(**dict.fromkeys(SpanFields._fields))

Spans = Sequence[Candidate]


class Memory:
    """The calls of all accounts. Used from one thread. What cannot be written is forgotten at the next start."""

    def __init__(self, path: Path, database: Database) -> None:
        path.touch(mode=0o600)
        self._database = database
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.executescript(resources.files(__package__).joinpath("memory.sql").read_text(encoding="utf-8"))
        self._last: dict[str, int] = {}
        self._stored: dict[str, int] = {}
        self._until_trim: dict[str, int] = {}

    def note(self, account_id: str, calls: Iterable[Call]) -> None:
        """Remember calls whose events are about to be stored. Raises sqlite3.Error."""
        rows = [(account_id, call.event.id.removeprefix("evt_"), _written(call.spans)) for call in calls]
        if not rows:
            return
        self._db.execute("BEGIN")
        try:
            self._db.executemany("REPLACE INTO stored VALUES (?, ?)", self._stored.items())
            self._db.executemany("INSERT INTO calls (account, event, spans) VALUES (?, ?, ?)", rows)
            self._last[account_id] = self._db.execute("SELECT max(number) FROM calls").fetchone()[0]
            self._trim(account_id, len(rows))
            self._db.execute("COMMIT")
        except sqlite3.Error:
            self._db.execute("ROLLBACK")
            raise
        self._stored.clear()

    def _trim(self, account_id: str, added: int) -> None:
        left = self._until_trim.get(account_id, 0) - added
        self._until_trim[account_id] = left if left > 0 else _TRIM_EVERY
        if left > 0:
            return
        self._db.execute(
            "DELETE FROM calls WHERE account = ?1 AND number <="
            " (SELECT number FROM calls WHERE account = ?1 ORDER BY number DESC LIMIT 1 OFFSET ?2)",
            (account_id, MAX_CALLS),
        )

    def stored(self, account_id: str) -> None:
        """All calls of the account that were noted so far are stored; written down with the next ones."""
        if account_id in self._last:
            self._stored[account_id] = self._last[account_id]

    def recall(self, account_id: str) -> list[Spans]:
        """The spans of the account's settled calls, the oldest first. Raises sqlite3.Error, StoreError."""
        known = self._stored.get(account_id)
        if known is None:
            row = self._db.execute("SELECT number FROM stored WHERE account = ?", (account_id,)).fetchone()
            known = row[0] if row else 0
        rows = self._db.execute(
            "SELECT number, event, spans FROM calls WHERE account = ? ORDER BY number", (account_id,)
        ).fetchall()
        unsure = [event for number, event, _ in rows if number > known]
        found = self._in_store(account_id, unsure)
        # They are new when they come again, also after a later start, for which later calls vouch that all before them
        # are stored.
        self._db.executemany(
            "DELETE FROM calls WHERE account = ? AND event = ? AND number > ?",
            [(account_id, event, known) for event in unsure if event not in found],
        )
        return [_read(spans) for number, event, spans in rows[-MAX_CALLS:] if number <= known or event in found]

    def _in_store(self, account_id: str, events: Sequence[str]) -> set[str]:
        found: set[str] = set()
        for start in range(0, len(events), _IDS_AT_ONCE):
            rows = self._database.read(
                "SELECT lower(hex(id)) AS event FROM events WHERE account = {account:String}"
                " AND id IN (SELECT CAST(unhex(arrayJoin({ids:Array(String)})), 'FixedString(16)'))",
                {"account": account_id, "ids": events[start : start + _IDS_AT_ONCE]},
            )
            found.update(json.loads(row)["event"] for row in rows)
        return found

    def close(self) -> None:
        """Write down what is known to be stored, and close the file."""
        with suppress(sqlite3.Error):
            self._db.executemany("REPLACE INTO stored VALUES (?, ?)", self._stored.items())
        self._db.close()


def _written(spans: Spans) -> str:
    return json.dumps([_row(found) for found in spans], separators=(",", ":"))


def _row(found: Candidate) -> list[Any]:
    said, usage = found.parsed.span_fields, found.parsed.usage
    return [
        # Whole numbers of this size are not read alike by all that read JSON.
        f"{found.trace_id:x}",
        f"{found.span_id:x}",
        f"{found.parent_id:x}",
        *(found.scope, found.start_ns, found.end_ns, found.parsed.operation, int(found.parsed.layer)),
        *(getattr(said, name) for name in _SAID),
        *(getattr(usage, name) for name in _USED),
        *found.outcome,
    ]


def _read(written: str) -> Spans:
    return [_candidate(*row) for row in json.loads(written)]


def _candidate(  # noqa: PLR0917  # a row, in the order in which it was written
    trace_id: str,
    span_id: str,
    parent_id: str,
    scope: str,
    start_ns: int,
    end_ns: int,
    operation: str,
    layer: int,
    *more: Any,
) -> Candidate:
    said, used, outcome = more[: len(_SAID)], more[len(_SAID) : -len(Outcome._fields)], more[-len(Outcome._fields) :]
    reading = ParsedSpan(
        operation=operation,
        span_fields=_NOTHING_SAID._replace(**dict(zip(_SAID, said, strict=True))),
        usage=Usage(**dict(zip(_USED, used, strict=True))),
        tags={},
        layer=Layer(layer),
    )
    ids = (int(trace_id, 16), int(span_id, 16), int(parent_id, 16))
    return Candidate(*ids, scope, start_ns, end_ns, reading, Outcome(*outcome), NOTHING)
