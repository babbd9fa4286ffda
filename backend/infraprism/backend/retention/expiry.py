"""Deletes expired events physically, after the sums of their days are final."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Final, Protocol

from infraprism.backend.relational import DatabaseUnavailableError
from infraprism.backend.retention.retention import DAY_MS, Retention
from infraprism.backend.store import StoreError
from infraprism.backend.store.aggregates import Aggregates
from infraprism.backend.store.damage import DamagedPart
from infraprism.backend.store.status import StoreStatus

INTERVAL_S: Final = 1800.0
QUERIES_END_S: Final = 60.0
"""Queries that were planned before a day was final have ended after this time. They may read its events."""
_VERIFY_S: Final = 86_400.0
_EPOCH: Final = date(1970, 1, 1)

_log = logging.getLogger(__name__)


Forget = Callable[[str, int], None]
"""Deletes what is left of the events of an account before a time, outside of the table. Raises StoreError, OSError."""


class Store(Protocol):
    """The part of EmbeddedDatabase that is needed here."""

    @property
    def aggregates(self) -> Aggregates:
        """The aggregates."""

    def status(self) -> StoreStatus:
        """See Database."""

    def delete_expired(self, before_ms: Mapping[str, int], should_stop: Callable[[], bool]) -> int:
        """See EmbeddedDatabase."""


class LostSumsError(Exception):
    """The file of finalised days does not have days of which the events were deleted."""


class Expiry:
    """The daily deletion of one store. `should_stop` is true when the server stops.

    The days of an account before its cutoff are finalised in one step. Then the database of the accounts names them,
    and when no query can read their events any more, the events are deleted: those of all accounts together, since each
    statement writes parts anew. Then `forget` deletes what else has expired events. A step that fails or is interrupted
    is done by the next pass. `clock` returns monotonic seconds.
    """

    def __init__(
        self,
        store: Store,
        retention: Retention,
        *,
        should_stop: Callable[[], bool],
        clock: Callable[[], float],
        forget: Forget = lambda _account_id, _before_ms: None,
    ) -> None:
        self._forget = forget
        self._is_forgotten = False
        self._verify_at_s = float("-inf")
        self._store = store
        self._retention = retention
        self._should_stop = should_stop
        self._clock = clock
        self._final_since_s: dict[str, float] = {}
        self._logged: frozenset[str] = frozenset()

    def check(self) -> None:
        """Compare the finalised days with the deleted ones. Raises LostSumsError, DatabaseUnavailableError."""
        for account_id, deleted_ms in self._retention.all_deleted_before_ms().items():
            before = self._store.aggregates.finalised_before(account_id)
            if before is None or _ms(before) < deleted_ms:
                raise LostSumsError
        # A kill may have been between the two databases.
        for account_id, before in self._store.aggregates.finalised_accounts().items():
            if self._retention.deleted_before_ms(account_id) < _ms(before):
                self._retention.set_deleted(account_id, _ms(before))

    def work(self) -> float:
        """Finalise and delete what is due. Returns the seconds until the next pass. Raises StoreError."""
        if self._clock() >= self._verify_at_s:
            self._store.aggregates.verify_finalised()
            self._verify_at_s = self._clock() + _VERIFY_S
        try:
            cutoffs = self._retention.all_cutoffs_ms()
            failed = [account_id for account_id in cutoffs if not self._finalise(account_id, cutoffs[account_id])]
            deletable = {
                account_id: _ms(before)
                for account_id in cutoffs
                if (before := self._store.aggregates.finalised_before(account_id)) is not None
                and self._final_since_s.get(account_id, float("-inf")) <= self._clock() - QUERIES_END_S
            }
        except DatabaseUnavailableError as error:
            _log.warning("the periods of the accounts cannot be read: %s. Nothing is deleted", error)
            return INTERVAL_S
        if deletable and (deleted := self._store.delete_expired(deletable, self._should_stop)):
            _log.info("%d expired events were deleted", deleted)
            self._is_forgotten = False
        if not self._is_forgotten:  # also once after each start: a kill may have been in between
            for account_id, before_ms in deletable.items():
                self._forget(account_id, before_ms)
            self._is_forgotten = True
        self._store.aggregates.deletion.forget_sessions(deletable)
        return QUERIES_END_S if failed or len(deletable) < len(cutoffs) else INTERVAL_S

    def _finalise(self, account_id: str, cutoff_ms: int) -> bool:
        """Finalise the days of an account before its cutoff. Returns False if it has to be tried again."""
        end = _EPOCH + timedelta(days=cutoff_ms // DAY_MS)
        aggregates = self._store.aggregates
        if (aggregates.finalised_before(account_id) or _EPOCH) < end:
            missing = [part.name for part in self._store.status().damaged if _is_before(part, end)]
            if missing:
                self._log_once(missing)
                return False
            try:
                aggregates.finalise(account_id, end, self._should_stop)
            except StoreError:
                return False  # its events changed, or the server stops
            self._final_since_s[account_id] = self._clock()
        if self._retention.deleted_before_ms(account_id) < cutoff_ms:
            self._retention.set_deleted(account_id, cutoff_ms)
        return True

    def _log_once(self, parts: Sequence[str]) -> None:
        if self._logged != frozenset(parts):
            self._logged = frozenset(parts)
            _log.warning(
                "events before a damaged part are not deleted: sums of their days would lack it. Run `infraprism store"
                " repair`, to restore or to delete %s",
                ", ".join(parts),
            )


def _is_before(part: DamagedPart, end: date) -> bool:
    """Whether a damaged part may have events before a date that can still be restored."""
    return not part.is_repaired and (part.first is None or datetime.fromisoformat(part.first).date() < end)


def _ms(day: date) -> int:
    return (day - _EPOCH).days * DAY_MS
