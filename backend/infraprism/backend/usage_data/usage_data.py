"""Collects usage data in memory, and writes it in batches on a thread of its own."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal, NamedTuple

from sqlalchemy import Table, delete, func, insert, select
from sqlalchemy.dialects import postgresql, sqlite

from infraprism.backend.relational import DatabaseUnavailableError
from infraprism.backend.relational.database import RelationalDatabase
from infraprism.backend.retention import periods
from infraprism.backend.retention.periods import KeptFor
from infraprism.backend.usage_data import tables
from infraprism.backend.usage_data.names import FEATURES, PAGES

USAGE_FILE: Final = "usage.sqlite"
MAX_WAITING: Final = 10_000
"""Requests in memory, and different actions and errors. Beyond it they are counted as lost."""
_FLUSH_S: Final = 5.0
_DELETE_S: Final = 3_600.0
_DAY_S: Final = 86_400.0
_PAGE: Final = "page"
_FEATURE: Final = "feature"

_log = logging.getLogger(__name__)


class Request(NamedTuple):
    """A request to the REST API. `route` is the template of its path."""

    account_id: str
    time: str
    key_id: str
    method: str
    route: str
    status: int
    duration_ms: int


class Held(NamedTuple):
    """What is held about an account in one table. `oldest` is a time or a day."""

    kept: KeptFor
    rows: int
    oldest: str | None


class UsageData:
    """The usage data of a server. Thread-safe. `clock` returns Unix seconds.

    `record_...` only change memory. `start` begins to write it every five seconds and to delete what is expired every
    hour. Expired rows are in no answer. The other methods raise DatabaseUnavailableError.
    """

    def __init__(self, database: RelationalDatabase, clock: Callable[[], float]) -> None:
        self._database = database
        self._clock = clock
        self._lock = threading.Lock()
        self._requests: list[Request] = []
        self._actions: Counter[tuple[str, str, str, str]] = Counter()
        self._errors: Counter[tuple[str, str, str, str]] = Counter()
        self._uncounted = {row.account_id for row in database.rows(select(tables.SETTINGS)) if not row.counts_actions}
        self.lost = 0
        """Records that were not kept, since the start: the memory was full, or the database failed."""
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="infraprism-usage", daemon=True)

    def start(self) -> None:
        """Start to write and to delete."""
        self._thread.start()

    def close(self) -> None:
        """Write what is in memory, and close the database."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._flush_or_lose()
        self._database.close()

    def record_request(self, request: Request) -> None:
        """Record a request, and the feature that it uses."""
        with self._lock:
            if len(self._requests) < MAX_WAITING:
                self._requests.append(request)
            else:
                self.lost += 1
        if request.status < 400 and request.route in FEATURES:  # noqa: PLR2004  # not an error
            self._count_action(request.account_id, _FEATURE, FEATURES[request.route])

    def record_page_view(self, account_id: str, page: str) -> None:
        """Record a view of a page of the dashboard."""
        assert page in PAGES
        self._count_action(account_id, _PAGE, page)

    def record_error(self, place: str, error_class: str, code: str = "") -> None:
        """Count an error. All arguments are constants of this code base, never a message or a value."""
        self._count(self._errors, (self.now()[:10], place, error_class, code))

    def now(self) -> str:
        """The time as stored."""
        return _time(self._clock())

    def _count_action(self, account_id: str, kind: str, name: str) -> None:
        if account_id not in self._uncounted:
            self._count(self._actions, (account_id, self.now()[:10], kind, name))

    def _count(self, counter: Counter[tuple[str, str, str, str]], key: tuple[str, str, str, str]) -> None:
        with self._lock:
            if key in counter or len(counter) < MAX_WAITING:
                counter[key] += 1
            else:
                self.lost += 1

    def flush(self) -> None:
        """Write what is in memory."""
        with self._lock:
            requests, self._requests = self._requests, []
            actions, self._actions = self._actions, Counter()
            errors, self._errors = self._errors, Counter()
        try:
            with self._database.transaction() as connection:
                if requests:
                    connection.execute(insert(tables.REQUESTS), [one._asdict() for one in requests])
                for table, counter in ((tables.ACTIONS, actions), (tables.ERRORS, errors)):
                    if counter:
                        dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
                        connection.execute(_counted(dialect.insert, table), _rows(table, counter))
        except DatabaseUnavailableError:
            with self._lock:
                self.lost += len(requests) + actions.total() + errors.total()
            raise

    def delete_expired(self) -> None:
        """Delete what is expired, physically."""
        for table, kept, column in _TIMED:
            self._database.run(delete(table).where(table.c[column] < self._since(kept, column)))

    def held(self, account_id: str) -> list[Held]:
        """What is held about an account, by table. Errors belong to no account."""
        self.flush()
        found = []
        for table, kept, column in _TIMED:
            if "account_id" in table.c:
                counted: Any = select(func.count(), func.min(table.c[column])).where(
                    table.c.account_id == account_id, table.c[column] >= self._since(kept, column)
                )
                values = [value for row in self._database.rows(counted) for value in row]
                found.append(Held(kept, values[0], values[1]))
        return found

    def errors(self) -> list[dict[str, Any]]:
        """The errors of the server that are held."""
        self.flush()
        table = tables.ERRORS
        since = self._since(periods.ERRORS, "day")
        rows = self._database.rows(select(table).where(table.c.day >= since).order_by(*table.primary_key.columns))
        return [dict(zip(table.c.keys(), row, strict=True)) for row in rows]

    def requests(self, account_id: str, limit: int, before: int | None = None) -> Sequence[tuple[int, Request]]:
        """Requests of an account with their numbers, newest first, from the one before the number `before`."""
        self.flush()
        table = tables.REQUESTS
        where = [table.c.account_id == account_id, table.c.time >= self._since(periods.REQUESTS, "time")]
        if before is not None:
            where.append(table.c.number < before)
        rows = self._database.rows(select(table).where(*where).order_by(table.c.number.desc()).limit(limit))
        return [(row.number, Request(*tuple(row)[1:])) for row in rows]

    def counts_actions(self, account_id: str) -> bool:
        """Whether page views and feature usage of an account are counted."""
        return account_id not in self._uncounted

    def set_counts_actions(self, account_id: str, *, enabled: bool) -> None:
        """Set whether page views and feature usage are counted. Without, those that are held are deleted."""
        if not enabled:
            self._uncounted.add(account_id)
            self.flush()
        with self._database.transaction() as connection:
            connection.execute(delete(tables.SETTINGS).where(tables.SETTINGS.c.account_id == account_id))
            connection.execute(insert(tables.SETTINGS).values(account_id=account_id, counts_actions=int(enabled)))
            if not enabled:
                connection.execute(delete(tables.ACTIONS).where(tables.ACTIONS.c.account_id == account_id))
        if enabled:
            self._uncounted.discard(account_id)

    def count_before(self, account_id: str, before_ms: int) -> int:
        """The stored rows about an account from before a time, in milliseconds since 1970, also the expired ones."""
        self.flush()
        text = _time(min(before_ms / 1000, self._clock() + _DAY_S))
        found = 0
        for table, column, before in ((tables.REQUESTS, "time", text), (tables.ACTIONS, "day", text[:10])):
            counted: Any = select(func.count()).where(table.c.account_id == account_id, table.c[column] < before)
            found += sum(row[0] for row in self._database.rows(counted))
        return found

    def delete_account(self, account_id: str, *, with_settings: bool) -> dict[str, int]:
        """Delete what is recorded about an account. Returns the rows that were deleted, by table."""
        self.flush()
        found = {}
        with self._database.transaction() as connection:
            for table in (tables.REQUESTS, tables.ACTIONS, *([tables.SETTINGS] if with_settings else [])):
                found[table.name] = connection.execute(delete(table).where(table.c.account_id == account_id)).rowcount
        return found

    def _since(self, kept: KeptFor, column: str) -> str:
        """The first time or day that is not expired."""
        assert kept.days is not None
        since = datetime.fromtimestamp(self._clock(), UTC) - timedelta(days=kept.days)
        text = _time(since.timestamp())
        return text if column == "time" else text[:10]

    def _run(self) -> None:
        left_s = 0.0
        while not self._stopping.wait(_FLUSH_S):
            self._flush_or_lose()
            left_s -= _FLUSH_S
            if left_s <= 0:
                left_s = _DELETE_S
                try:
                    self.delete_expired()
                except DatabaseUnavailableError as error:
                    _log.warning("expired usage data could not be deleted: %s", error)

    def _flush_or_lose(self) -> None:
        try:
            self.flush()
        except DatabaseUnavailableError as error:
            _log.warning("usage data could not be written: %s", error)


Column = Literal["time", "day"]
_TIMED: Final[tuple[tuple[Table, KeptFor, Column], ...]] = (
    (tables.ACTIONS, periods.ACTIONS, "day"),
    (tables.REQUESTS, periods.REQUESTS, "time"),
    (tables.ERRORS, periods.ERRORS, "day"),
)


def _counted(insert_into: Callable[[Table], Any], table: Table) -> Any:
    statement = insert_into(table)
    return statement.on_conflict_do_update(
        index_elements=list(table.primary_key.columns), set_={"count": table.c.count + statement.excluded.count}
    )


def _rows(table: Table, counter: Mapping[tuple[str, str, str, str], int]) -> list[dict[str, Any]]:
    names = [column.name for column in table.primary_key.columns]
    return [{**dict(zip(names, key, strict=True)), "count": number} for key, number in counter.items()]


def _time(unix_s: float) -> str:
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
