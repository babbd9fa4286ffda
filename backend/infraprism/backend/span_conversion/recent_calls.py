"""Records recently released calls in a SQLite file, so that a server recognises their spans after a crash.

A call is recorded before its event is stored, and counts as released only if the store has the event. Therefore, at
whatever time the server is killed, a resent or late span finds its call, and a call that was never stored is new.
The number of recorded calls per account is bounded by the number in memory.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import suppress
from importlib import resources
from operator import attrgetter
from pathlib import Path
from typing import Any, Final

from infraprism.attribution.scope import NOTHING
from infraprism.backend.span_conversion.account_calls import MAX_CALLS, DeduplicatedCall
from infraprism.backend.span_conversion.stored_events import MAX_AGE_S, read_events
from infraprism.backend.sqlite_file import FileState, check_file
from infraprism.backend.store import Database
from infraprism.deduplication.candidate import Candidate, Outcome
from infraprism.dialects.engine import ParsedSpan
from infraprism.dialects.table import Layer, SpanFields
from infraprism.schema.usage import Usage

_ADVICE: Final = "if that lasts, stop the server, move the file away and start again"
_TRIM_INTERVAL: Final = 1024
"""The number of recorded calls after which the oldest calls of an account above the bound are deleted."""
_IDS_PER_QUERY: Final = 1000
_SPAN_FIELDS: Final = ("request_model", "response_model", "response_id", "is_stream_end")
_USAGE_FIELDS: Final = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")
"""What the deduplicator compares, in addition to times and outcome."""
_NO_SPAN_FIELDS: Final = SpanFields(**dict.fromkeys(SpanFields._fields))
_span_fields: Final = attrgetter(*_SPAN_FIELDS)
_usage_fields: Final = attrgetter(*_USAGE_FIELDS)
_to_json: Final = json.JSONEncoder(separators=(",", ":")).encode

Candidates = Sequence[Candidate]


class RecentCalls:
    """The recent calls of all accounts. Not thread-safe. Calls that cannot be written are lost at the next start."""

    def __init__(self, path: Path, database: Database) -> None:
        path.touch(mode=0o600)
        self._database = database
        self._state = FileState(path.name, _ADVICE)
        self._is_damaged = False
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        # An exclusive lock keeps the index of the WAL in memory. Otherwise it is a mapped file, and on a full disk an
        # access to it ends the process with SIGBUS.
        self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
        check_file(self._db)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA secure_delete = ON")  # what is deleted is overwritten
        self._db.executescript(resources.files(__package__).joinpath("recent_calls.sql").read_text(encoding="utf-8"))
        self._last: dict[str, int] = {}
        self._stored: dict[str, int] = {}
        self._until_trim: dict[str, int] = {}

    def add(self, account_id: str, calls: Iterable[DeduplicatedCall]) -> None:
        """Record calls before their events are stored, in one transaction. Raises sqlite3.Error."""
        rows = [(account_id, call.event.id.removeprefix("evt_"), _serialized(call.candidates)) for call in calls]
        if not rows:
            return
        self._db.execute("BEGIN")
        try:
            self._db.executemany("REPLACE INTO stored VALUES (?, ?)", self._stored.items())
            self._db.executemany("INSERT INTO calls (account, event, spans) VALUES (?, ?, ?)", rows)
            self._last[account_id] = self._db.execute("SELECT max(number) FROM calls").fetchone()[0]
            self._trim(account_id, len(rows))
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            self._failed(error)
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
        self._works()
        self._stored.clear()

    def _trim(self, account_id: str, added: int) -> None:
        remaining = self._until_trim.get(account_id, 0) - added
        self._until_trim[account_id] = remaining if remaining > 0 else _TRIM_INTERVAL
        if remaining > 0:
            return
        self._db.execute(
            "DELETE FROM calls WHERE account = ?1 AND number <="
            " (SELECT number FROM calls WHERE account = ?1 ORDER BY number DESC LIMIT 1 OFFSET ?2)",
            (account_id, MAX_CALLS),
        )

    def mark_stored(self, account_id: str) -> None:
        """All recorded calls of the account are stored. Written to the file with the next calls."""
        if account_id in self._last:
            self._stored[account_id] = self._last[account_id]

    def fault(self) -> str | None:
        """Why the file cannot be used, or None."""
        return self._state.reason

    def _failed(self, error: sqlite3.Error) -> None:
        self._is_damaged = self._is_damaged or not isinstance(error, sqlite3.OperationalError)
        self._state.failed(error)

    def _works(self) -> None:
        # Other pages of a damaged file can be read.
        if not self._is_damaged:
            self._state.works()

    def load(self, account_id: str) -> list[Candidates]:
        """The candidates of the stored calls of an account, the oldest first. Raises sqlite3.Error, StoreError."""
        try:
            found = self._load(account_id)
        except sqlite3.Error as error:
            self._failed(error)
            raise
        except (ValueError, TypeError, LookupError):
            damaged = sqlite3.DatabaseError("a recorded call is damaged")
            self._failed(damaged)
            raise damaged from None
        self._works()
        return found

    def _load(self, account_id: str) -> list[Candidates]:
        known = self._stored.get(account_id)
        if known is None:
            row = self._db.execute("SELECT number FROM stored WHERE account = ?", (account_id,)).fetchone()
            known = row[0] if row else 0
        rows = self._db.execute(
            "SELECT number, event, spans FROM calls WHERE account = ? ORDER BY number", (account_id,)
        ).fetchall()
        unconfirmed = [event for number, event, _ in rows if number > known]
        found = self._in_store(account_id, unconfirmed)
        # Calls that are not in the store are new when they are resent, also after a later start: `stored` will then
        # include their numbers.
        self._db.executemany(
            "DELETE FROM calls WHERE account = ? AND event = ? AND number > ?",
            [(account_id, event, known) for event in unconfirmed if event not in found],
        )
        return [_parsed(spans) for number, event, spans in rows[-MAX_CALLS:] if number <= known or event in found]

    def forget_deleted(self, account_id: str) -> int:
        """Forget the stored calls of an account of which the store has no event any more. Returns their number.

        None of their bytes is left in the files. Raises sqlite3.Error, StoreError.
        """
        known = self._stored.get(account_id)
        if known is None:
            row = self._db.execute("SELECT number FROM stored WHERE account = ?", (account_id,)).fetchone()
            known = row[0] if row else 0
        query = "SELECT event FROM calls WHERE account = ? AND number <= ?"
        events = [event for (event,) in self._db.execute(query, (account_id, known))]
        deleted = set(events) - self._in_store(account_id, events)
        self._db.executemany(
            "DELETE FROM calls WHERE account = ? AND event = ?", [(account_id, event) for event in deleted]
        )
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return len(deleted)

    def forget_account(self, account_id: str) -> None:
        """Forget an account. None of its bytes is left in the files. Raises sqlite3.Error."""
        for table in ("calls", "stored"):
            self._db.execute(f"DELETE FROM {table} WHERE account = ?", (account_id,))
        for known in (self._last, self._stored, self._until_trim):
            known.pop(account_id, None)
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def load_events(self, account_id: str, now_ms: int) -> dict[str, Candidate]:
        """The events of the account in the store that are recent at a time in ms since 1970. Raises StoreError."""
        return read_events(self._database, account_id, now_ms - int(MAX_AGE_S * 1000))

    def _in_store(self, account_id: str, events: Sequence[str]) -> set[str]:
        found: set[str] = set()
        for start in range(0, len(events), _IDS_PER_QUERY):
            rows = self._database.read(
                "SELECT lower(hex(id)) AS event FROM events WHERE account = {account:String}"
                " AND id IN (SELECT CAST(unhex(arrayJoin({ids:Array(String)})), 'FixedString(16)'))",
                {"account": account_id, "ids": events[start : start + _IDS_PER_QUERY]},
            )
            found.update(json.loads(row)["event"] for row in rows)
        return found

    def close(self) -> None:
        """Write which calls are stored, and close the file."""
        with suppress(sqlite3.Error):
            self._db.executemany("REPLACE INTO stored VALUES (?, ?)", self._stored.items())
        self._db.close()


def _serialized(candidates: Candidates) -> str:
    return _to_json([_row(candidate) for candidate in candidates])


def _row(candidate: Candidate) -> list[Any]:
    parsed = candidate.parsed
    return [
        # In hexadecimal, since not every JSON reader parses integers of this size exactly.
        f"{candidate.trace_id:x}",
        f"{candidate.span_id:x}",
        f"{candidate.parent_id:x}",
        *(candidate.scope, candidate.start_ns, candidate.end_ns, parsed.operation, int(parsed.layer)),
        *_span_fields(parsed.span_fields),
        *_usage_fields(parsed.usage),
        *candidate.outcome,
    ]


def _parsed(serialized: str) -> Candidates:
    return [_candidate(*row) for row in json.loads(serialized)]


def _candidate(  # noqa: PLR0917  # a row, in the order of _row
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
    usage_start, outcome_start = len(_SPAN_FIELDS), len(_SPAN_FIELDS) + len(_USAGE_FIELDS)
    span_fields, usage, outcome = more[:usage_start], more[usage_start:outcome_start], more[outcome_start:]
    parsed = ParsedSpan(
        operation=operation,
        span_fields=_NO_SPAN_FIELDS._replace(**dict(zip(_SPAN_FIELDS, span_fields, strict=True))),
        usage=Usage(**dict(zip(_USAGE_FIELDS, usage, strict=True))),
        tags={},
        layer=Layer(layer),
    )
    ids = (int(trace_id, 16), int(span_id, 16), int(parent_id, 16))
    return Candidate(*ids, scope, start_ns, end_ns, parsed, Outcome(*outcome), NOTHING)
