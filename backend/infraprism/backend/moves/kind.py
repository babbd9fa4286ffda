"""Moves an account to another region, as a job of the server that has its data.

Steps, each of which can be repeated: nobody serves the account; all rows are copied; the rows of every day are equal on
both sides; the account is in the new region; everything is deleted here. Until the switch a failure gives the account
back to its region. Exporters keep events meanwhile, because they get 503.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

import requests

from infraprism.backend.accounts import Accounts
from infraprism.backend.audit.audit_log import AuditLog
from infraprism.backend.deletions.deletions import Deletion
from infraprism.backend.deletions.holders import Holder
from infraprism.backend.deletions.scope import Scope
from infraprism.backend.jobs import Job, JobContext, JobFailedError, Kind
from infraprism.backend.moves import moving
from infraprism.backend.moves.target import PATH, token
from infraprism.backend.regions.regions import SEPARATOR
from infraprism.backend.store import account_rows
from infraprism.backend.store.database import Parameter
from infraprism.backend.store.embedded import EmbeddedDatabase

_ROWS_AT_ONCE: Final = 100_000
_CACHE_S: Final = 3.0
"""Longer than an account is cached: then no request that began before is accepted."""
_TIMEOUT_S: Final = 300.0
_OK: Final = (200, 204)
_NOT_MOVING: Final = 409
_log = logging.getLogger(__name__)
_DAY_MS: Final = 86_400_000


class Store(Protocol):
    """What a move needs of the store and its writers."""

    def wait_for_stored(self, account_id: str) -> bool:
        """Wait until what the account has sent before is stored. Returns False if it takes too long."""

    def holders(self) -> Any:
        """All that holds data of events."""

    def rest(self, seconds: float) -> object:
        """Wait."""

    def forget_account(self, account_id: str) -> None:
        """Delete what names an account that has no events any more."""


class MoveKind(Kind):
    """Moves accounts from the region of this server."""

    is_cancellable = False

    def __init__(
        self,
        accounts: Accounts,
        database: EmbeddedDatabase,
        store: Store,
        region: str,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._accounts = accounts
        self._database = database
        self._store = store
        self._region = region
        self._audit = AuditLog(accounts.database, clock)
        self._clock = clock
        self._token = token(accounts)

    def run(self, context: JobContext) -> Mapping[str, Any]:
        """See Kind."""
        account_id, target = context.job.account_id, str(context.job.parameters["to"])
        state: dict[str, Any] = dict(context.checkpoint or {})
        if not state.get("switched"):
            events = self._copy(context, target)
            account = (account_id, self._region, target)
            moving.complete(self._accounts.database, self._audit, context.job.id, context.job.actor, account)
            state = {"switched": True, "events": events}
            context.save(state, events, events)
        self._delete(context, account_id)
        return {"region": target, "events": state["events"]}

    def discard(self, job: Job) -> None:
        """See Kind. The account is served here again, and what was copied is deleted there."""
        target = str(job.parameters["to"])
        if moving.region_of(self._accounts.database, job.account_id) != f"{self._region}{SEPARATOR}{target}":
            return
        try:
            self._send("DELETE", job)
        except OSError as error:
            _log.warning("what was copied of job %s is left in the region %s: %s", job.id, target, error.strerror)
        moving.give_up(self._accounts.database, job.account_id, self._region, target)

    def _copy(self, context: JobContext, target: str) -> int:
        account_id = context.job.account_id
        if self._database.aggregates.finalised_before(account_id) is not None:
            raise JobFailedError("finalised_days", "sums of days whose events are deleted cannot be moved yet")
        self._check_target(context.job)
        try:
            moving.begin(self._accounts.database, account_id, self._region, target)
        except moving.MovedElsewhereError:
            raise JobFailedError("wrong_region", f"the account is not in the region {self._region}") from None
        self._accounts.forget()
        self._store.rest(_CACHE_S)
        if not self._store.wait_for_stored(account_id):
            raise OSError(None, "the log is not applied")  # it is tried again
        here, there = self._sums(account_id), self._sums_there(context.job)
        total, done = sum(int(day["events"]) for day in here.values()), 0
        for day, sums in here.items():
            if there.get(day) != sums:
                parts = math.ceil(int(sums["events"]) / _ROWS_AT_ONCE)
                for part in range(parts):
                    context.raise_if_stopped()
                    parameters: dict[str, Parameter] = {"account": account_id, "day": day, "part": part}
                    rows = self._database.read_as(account_rows.FORMAT, account_rows.rows(parts), parameters)
                    self._send("POST", context.job, rows)
            done += int(sums["events"])
            context.save({}, done, total)
        if self._sums_there(context.job) != self._sums(account_id):
            raise JobFailedError("not_equal", "the copied events are not equal: run `infraprism store check` on both")
        return total

    def _delete(self, context: JobContext, account_id: str) -> None:
        now_ms = round(self._clock() * 1000)
        scope = Scope(kind="everything")
        deletion = Deletion(context.job.id, account_id, "everything", scope, b"", None, None, now_ms + _DAY_MS)
        holders: list[Holder] = list(self._store.holders())
        for holder in holders:
            context.raise_if_stopped()
            holder.delete(deletion, scope, context)
        self._store.forget_account(account_id)

    def _check_target(self, job: Job) -> None:
        """Raises JobFailedError if the other server cannot be used, before the account is no longer served."""
        try:
            self._send("GET", job, accepted=(*_OK, _NOT_MOVING))
        except OSError as error:
            raise JobFailedError("target_unavailable", f"{error.strerror}: check its URL and its --accounts") from None

    def _sums(self, account_id: str) -> dict[str, Any]:
        rows = self._database.read(account_rows.sums(), {"account": account_id})
        return {found.pop("day"): found for found in map(json.loads, rows)}

    def _sums_there(self, job: Job) -> dict[str, Any]:
        return {found.pop("day"): found for found in json.loads(self._send("GET", job))}

    def _send(self, method: str, job: Job, body: bytes | None = None, accepted: Sequence[int] = _OK) -> bytes:
        """The response of the other region. Raises OSError: the job is tried again."""
        url = str(job.parameters["url"]).rstrip("/") + PATH.format(account_id=job.account_id)
        try:
            answer = requests.request(
                method,
                url,
                data=body,
                headers={"authorization": f"Bearer {self._token}"},
                timeout=_TIMEOUT_S,
                allow_redirects=False,
            )
        except (requests.RequestException, ValueError) as error:
            raise OSError(None, f"the server of the other region cannot be reached ({type(error).__name__})") from None
        if answer.status_code not in accepted:
            raise OSError(None, f"the server of the other region responds with {answer.status_code}")
        return answer.content
