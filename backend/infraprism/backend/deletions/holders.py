"""What holds data of a scope: each holder counts it, and deletes it. A further place of data is a further holder."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final, Protocol

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from infraprism.backend.deletions.deletions import Deletion
from infraprism.backend.deletions.scope import Scope
from infraprism.backend.jobs import JobContext
from infraprism.backend.store.aggregates.permanent_removal import SumScope
from infraprism.backend.store.database import MAX_QUERY_S, Parameter
from infraprism.backend.store.embedded import EmbeddedDatabase
from infraprism.schema import fields

_POLL_S: Final = 0.2
_READ_MARGIN_S: Final = 5.0
_DAY_MS: Final = 86_400_000
_EPOCH: Final = date(1970, 1, 1)
_MILLISECOND_NS: Final = 1_000_000


class Holder(Protocol):
    """Holds data of accounts. `name` is that of its counts in a receipt. Each method raises StoreError, OSError."""

    name: str

    def count(self, deletion: Deletion, scope: Scope) -> int:
        """The number of rows or files with data of the scope."""

    def delete(self, deletion: Deletion, scope: Scope, context: JobContext) -> None:
        """Delete them. It may be interrupted at any point, and is then called again."""

    def limits(self, deletion: Deletion, scope: Scope) -> list[str]:
        """What cannot be deleted, in sentences without values of the scope."""


class Complete:
    """A holder that deletes everything."""

    @staticmethod
    def limits(deletion: Deletion, scope: Scope) -> list[str]:  # noqa: ARG004
        """See Holder."""
        return []


class Events(Complete):
    """The events of the store."""

    name = "events"

    def __init__(self, database: EmbeddedDatabase) -> None:
        self._database = database

    def count(self, deletion: Deletion, scope: Scope) -> int:
        """See Holder."""
        where = ["account = {account:String}", *scope.conditions]
        where.append("timestamp < fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC')")
        parameters: dict[str, Parameter] = {**scope.parameters, "account": deletion.account_id}
        parameters["end_ms"] = deletion.last_end_ms
        if deletion.first_ms is not None:
            where.append("timestamp >= fromUnixTimestamp64Milli({first_ms:Int64}, 'UTC')")
            parameters["first_ms"] = deletion.first_ms
        return _count(self._database, "events", where, parameters)

    def delete(self, deletion: Deletion, scope: Scope, context: JobContext) -> None:
        """See Holder."""
        self._database.delete_events(
            deletion.account_id,
            scope.conditions,
            scope.parameters,
            first_ms=deletion.first_ms,
            end_ms=deletion.last_end_ms,
            should_stop=context.should_stop,
        )


class Sums:
    """The sums of days and quarter-hours. Days with events are computed again from the events that are left."""

    name = "sums"

    def __init__(self, database: EmbeddedDatabase, rest: Callable[[float], object]) -> None:
        self._database = database
        self._rest = rest

    def count(self, deletion: Deletion, scope: Scope) -> int:
        """See Holder. The rows that name the scope; without an entity, a session or a tag: those of its whole days."""
        where, parameters = ["account = {account:String}"], {"account": deletion.account_id, **scope.parameters}
        match scope.kind:
            case "entity" | "session":
                where += scope.conditions
            case "tag":
                where += ["tag_key = {scope_0:String}", "tag_value = {scope_1:String}"]
        first, end = _whole_days(deletion)
        if first is not None:
            where.append(f"day >= toDate('{first}')")
        if end is not None:
            where.append(f"day < toDate('{end}')")
        tables = self._database.read("SELECT name FROM system.tables WHERE name LIKE 'sums_by_%'", {})
        names = [json.loads(row)["name"] for row in tables]
        return sum(_count(self._database, name, where, parameters) for name in names)

    def delete(self, deletion: Deletion, scope: Scope, context: JobContext) -> None:
        """See Holder. The days with events were withdrawn when these were deleted."""
        aggregates = self._database.aggregates
        if scope.kind != "session":  # no permanent sum has one
            pair = (scope.values[0], scope.values[1]) if len(scope.values) > 1 else None
            aggregates.deletion.remove_finalised(
                SumScope(
                    deletion.account_id,
                    *_whole_days(deletion),
                    pair if scope.kind == "entity" else None,
                    pair if scope.kind == "tag" else None,
                )
            )
        # Queries that were planned before read them.
        while (unread_s := aggregates.deletion.unread_rows(deletion.account_id)) is not None:
            if unread_s > MAX_QUERY_S + _READ_MARGIN_S:
                break
            context.raise_if_stopped()
            self._rest(_POLL_S)
        aggregates.deletion.remove_unread_rows(deletion.account_id)

    def limits(self, deletion: Deletion, scope: Scope) -> list[str]:
        """What is left in sums of which the events are deleted, since it cannot be left out exactly."""
        before = self._database.aggregates.finalised_before(deletion.account_id)
        first, _ = _whole_days(deletion)
        if before is None or (first is not None and first >= before):
            return []
        days = f"of days before {before}, whose events are deleted by retention,"
        found = {
            "entity": [f"the sums by tag {days} include the calls of the entity; they do not name it"],
            "session": [f"the sums {days} include the calls of the session; they do not name it"],
            "tag": [f"the sums by model, entity and other tags {days} include the calls with the tag"],
        }.get(scope.kind, [])
        if deletion.first_ms is not None and deletion.first_ms % _DAY_MS:
            found.append(f"the sums {days} include the calls of the first day: the scope is a part of it")
        if deletion.end_ms is not None and deletion.end_ms % _DAY_MS:
            found.append(f"the sums {days} include the calls of the last day, if the scope is a part of it")
        return found


def _whole_days(deletion: Deletion) -> tuple[date | None, date | None]:
    """The days that are wholly within the bounds: the first, and the one after the last."""
    first = None if deletion.first_ms is None else _EPOCH + timedelta(days=-(-deletion.first_ms // _DAY_MS))
    end = None if deletion.end_ms is None else _EPOCH + timedelta(days=deletion.end_ms // _DAY_MS)
    return first, end


class KeptRequests(Complete):
    """Requests that the store has rejected after they were acknowledged, and copies of damaged files of the log."""

    name = "kept_requests"

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def count(self, deletion: Deletion, scope: Scope) -> int:
        """See Holder."""
        return sum(1 for path in self._files(deletion) if self._left(path, deletion, scope) is not None)

    def delete(self, deletion: Deletion, scope: Scope, context: JobContext) -> None:  # noqa: ARG002
        """See Holder."""
        for path in self._files(deletion):
            _replace(path, self._left(path, deletion, scope))

    def delete_before(self, account_id: str, before_ms: int) -> None:
        """Delete the spans of an account that start before a time. Raises OSError."""
        scope = Scope(kind="everything")
        deletion = Deletion("", account_id, scope.kind, scope, b"", None, before_ms, before_ms)
        for path in self._files(deletion):
            if path.name.endswith(".otlp"):
                _replace(path, self._left(path, deletion, scope))

    def _files(self, deletion: Deletion) -> list[Path]:
        found = sorted(self._directory.iterdir()) if self._directory.is_dir() else []
        own = f"{deletion.account_id}-"
        return [path for path in found if path.name.startswith(own) or not path.name.endswith(".otlp")]

    @staticmethod
    def _left(path: Path, deletion: Deletion, scope: Scope) -> bytes | None:
        """What is left of a file without the spans of the scope; None if it has none of them."""
        content = path.read_bytes()
        if not path.name.endswith(".otlp"):
            # A damaged file of the log, of which all records that can be read are stored.
            wanted = [value.encode() for value in (scope.values or (deletion.account_id,))]
            return b"" if all(value in content for value in wanted) else None
        request = ExportTraceServiceRequest.FromString(content)
        removed = 0
        for group in request.resource_spans:
            for scoped in group.scope_spans:
                kept = [span for span in scoped.spans if not _matches(span, deletion, scope)]
                removed += len(scoped.spans) - len(kept)
                del scoped.spans[:]
                scoped.spans.extend(kept)
        is_empty = not any(scoped.spans for group in request.resource_spans for scoped in group.scope_spans)
        if not removed:
            return None
        return b"" if is_empty else request.SerializeToString()


def _replace(path: Path, content: bytes | None) -> None:
    """Write a file anew, or delete it if nothing is left. None: it stays."""
    if content:
        written = path.with_name(f"{path.name}.incomplete")
        written.write_bytes(content)
        written.replace(path)
    elif content is not None:
        path.unlink()


def _matches(span: Span, deletion: Deletion, scope: Scope) -> bool:
    start_ms = span.start_time_unix_nano // _MILLISECOND_NS
    if not (deletion.first_ms or 0) <= start_ms < deletion.last_end_ms:
        return False
    found = {pair.key: pair.value.string_value for pair in span.attributes}
    match scope.kind:
        case "entity":
            return (found.get(fields.ENTITY_TYPE.key), found.get(fields.ENTITY_ID.key)) == scope.values
        case "session":
            return (found.get(fields.SESSION_ID.key),) == scope.values
        case "tag":
            return found.get(f"{fields.TAG_PREFIX}{scope.values[0]}") == scope.values[1]
    return True


class RecentSpans(Complete):
    """The recent calls by which spans that are sent again are recognised. They have no attribution."""

    name = "recent_calls"

    def __init__(self, forget: Callable[[str], int]) -> None:
        self._forget = forget

    def count(self, deletion: Deletion, scope: Scope) -> int:  # noqa: ARG002
        """See Holder. They are found by the events that are gone: before the deletion none is."""
        return 0

    def delete(self, deletion: Deletion, scope: Scope, context: JobContext) -> None:  # noqa: ARG002
        """See Holder."""
        self._forget(deletion.account_id)


def _count(database: EmbeddedDatabase, table: str, where: list[str], parameters: Mapping[str, Any]) -> int:
    (row,) = database.read(f"SELECT count() AS rows FROM {table} WHERE ({') AND ('.join(where)})", parameters)
    return int(json.loads(row)["rows"])
