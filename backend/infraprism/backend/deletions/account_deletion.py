"""Deletes an account: its keys stop first, then all its data is deleted, and the last receipt is kept for its owner.

The token of the request reads the receipt for 30 days. Only the hash of the token is stored. The receipt has the id of
the account; nothing else of the account is left.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from sqlalchemy import Connection, Table, delete, func, insert, select, update

from infraprism.backend.accounts.tables import ACCOUNTS, KEYS
from infraprism.backend.deletions.deletion_kind import BACKUP_DAYS, DeletionKind, Store, time_text
from infraprism.backend.deletions.deletions import FOR_EVER_MS, Deletion
from infraprism.backend.deletions.receipts import Receipts
from infraprism.backend.deletions.refusals import Refusals
from infraprism.backend.deletions.scope import Scope
from infraprism.backend.deletions.tables import CLOSED_ACCOUNTS
from infraprism.backend.jobs import JobContext, Jobs, Kind, LeaseLostError
from infraprism.backend.mail.mailer import Mailer
from infraprism.backend.relational.database import RelationalDatabase
from infraprism.backend.relational.metadata import METADATA

ACCOUNT_JOB: Final = "account_deletion"
CLOSED_PATH: Final = "/closed-accounts"
"""The path under which the token of a deleted account shows its receipt."""
_DAY_MS: Final = 86_400_000
_KEPT_DAYS: Final = 30
_KEYS_STOP_S: Final = 5.0
"""After this time no process accepts a revoked key."""


@dataclass(frozen=True)
class ClosedAccount:
    """The result of a deleted account. `receipt` is None until all is deleted."""

    receipt: Mapping[str, Any] | None


class AccountDeletions:
    """Requests of the deletion of accounts, and their results. `clock` returns Unix seconds.

    Every method raises DatabaseUnavailableError.
    """

    def __init__(self, database: RelationalDatabase, jobs: Jobs, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._jobs = jobs
        self._clock = clock

    def request(self, account_id: str, *, actor: str) -> str:
        """Revoke all keys and sessions of an account, and delete it by a job. Returns the token of the result."""
        token = secrets.token_urlsafe(32)
        now_ms = round(self._clock() * 1000)
        hashed = _hash(token)

        def record(connection: Connection, _: object) -> None:
            valid = update(KEYS).where(KEYS.c.account_id == account_id, KEYS.c.revoked_at.is_(None))
            connection.execute(valid.values(revoked_at=time_text(now_ms)))
            for name in ("sessions", "links"):
                if (table := METADATA.tables.get(name)) is not None:
                    connection.execute(_rows_of(table, account_id))
            expires_ms = now_ms + _KEPT_DAYS * _DAY_MS
            connection.execute(insert(CLOSED_ACCOUNTS).values(hash=hashed, receipt=None, expires_ms=expires_ms))

        parameters = {"token": token, "requested_ms": now_ms}  # deleted with the job
        self._jobs.add(account_id, ACCOUNT_JOB, parameters, actor=actor, on_new=record)
        return token

    def find(self, token: str) -> ClosedAccount | None:
        """The result that a token shows."""
        rows = self._database.rows(select(CLOSED_ACCOUNTS).where(CLOSED_ACCOUNTS.c.hash == _hash(token)))
        if not rows or rows[0].expires_ms <= self._clock() * 1000:
            return None
        return ClosedAccount(None if rows[0].receipt is None else json.loads(rows[0].receipt))


class AccountDeletionKind(Kind):
    """Deletes all data of an account. The job itself is deleted with it."""

    is_cancellable = False

    def __init__(
        self,
        database: RelationalDatabase,
        refusals: Refusals,
        store: Store,
        mailer: Mailer,
        *,
        clock: Callable[[], float],
        base_url: str = "",
    ) -> None:
        self._database = database
        self._refusals = refusals
        self._receipts = Receipts(database)
        self._store = store
        self._holders = store.holders()
        self._mailer = mailer
        self._clock = clock
        self._base_url = base_url

    def run(self, context: JobContext) -> Mapping[str, Any]:
        """See Kind."""
        job = context.job
        scope = Scope(kind="everything")
        deletion = Deletion(
            job.id.replace("job_", "del_"),
            job.account_id,
            scope.kind,
            scope,
            scope.hash(self._refusals.key, job.account_id),
            None,
            None,
            FOR_EVER_MS,
        )
        state: dict[str, Any] = dict(context.checkpoint or {})
        total = len(self._holders) + 2
        if "before" not in state:
            while self._clock() * 1000 < job.parameters["requested_ms"] + _KEYS_STOP_S * 1000:
                context.raise_if_stopped()
                self._store.rest(0.2)
            if not self._store.wait_for_stored(job.account_id):
                raise OSError("the log is not applied")  # it is tried again
            before = {holder.name: holder.count(deletion, scope) for holder in self._holders}
            with self._database.transaction() as connection:
                before |= _counts(connection, job.account_id)
            state = {"before": before, "done": 0}
            context.save(state, 1, total)
        for place, holder in enumerate(self._holders):
            if place >= state["done"]:
                DeletionKind.delete_from(holder, deletion, scope, context)
                state = {**state, "done": place + 1}
                context.save(state, place + 2, total)
        self._store.forget_account(job.account_id)
        if self._store.damaged_parts():  # it waits for a repair: the account has no key for another request
            raise OSError("damaged parts may have data of the account: run `infraprism store repair`")
        self._finish(context, deletion, scope, state["before"])
        raise LeaseLostError  # the job was deleted with the account

    def _finish(self, context: JobContext, deletion: Deletion, scope: Scope, before: Mapping[str, int]) -> None:
        after = {holder.name: holder.count(deletion, scope) for holder in self._holders}
        now_ms = round(self._clock() * 1000)
        with self._database.transaction() as connection:
            owners = _owners(connection, deletion.account_id)
            content: dict[str, Any] = {
                "scope": {"kind": "account", "hash": deletion.hash.hex(), "start": None, "end": None},
                "requested_at": time_text(context.job.parameters["requested_ms"]),
                "completed_at": time_text(now_ms),
                "counts": {name: {"before": number, "after": after.get(name, 0)} for name, number in before.items()},
                "limits": [],
                "not_in_backups_after": time_text(now_ms + BACKUP_DAYS * _DAY_MS),
            }
            receipt = self._receipts.issue(connection, deletion.account_id, deletion.id, content)
            for table in reversed(METADATA.sorted_tables):
                if table is not ACCOUNTS and _column(table) is not None:
                    connection.execute(_rows_of(table, deletion.account_id))
            connection.execute(delete(ACCOUNTS).where(ACCOUNTS.c.id == deletion.account_id))
            connection.execute(
                update(CLOSED_ACCOUNTS)
                .where(CLOSED_ACCOUNTS.c.hash == _hash(context.job.parameters["token"]))
                .values(receipt=json.dumps(receipt))
            )
        self._refusals.reload()
        for address in owners:
            link = f"{self._base_url}{CLOSED_PATH}/{context.job.parameters['token']}"
            self._mailer.send(address, "deletion_receipt", link)

    def maintain(self) -> None:
        """Remove the results that are older than 30 days."""
        self._database.run(delete(CLOSED_ACCOUNTS).where(CLOSED_ACCOUNTS.c.expires_ms <= self._clock() * 1000))


def account_tables() -> dict[str, str]:
    """The tables with rows of accounts, and the column by which the rows of an account are found."""
    found = {}
    for table in METADATA.sorted_tables:
        if table is ACCOUNTS:
            found[table.name] = "id"
        elif (column := _column(table)) is not None:
            found[table.name] = column
    return found


def _column(table: Table) -> str | None:
    return next((name for name in ("account_id", "member_id") if name in table.c), None)


def _rows_of(table: Table, account_id: str) -> Any:
    """The statement that deletes the rows of an account."""
    if "account_id" in table.c:
        return delete(table).where(table.c.account_id == account_id)
    members = METADATA.tables["members"]
    own = select(members.c.id).where(members.c.account_id == account_id)
    return delete(table).where(table.c.member_id.in_(own))


def _counts(connection: Connection, account_id: str) -> dict[str, int]:
    """The rows of an account in each table of the relational database."""
    found = {}
    for table in METADATA.sorted_tables:
        if table is not ACCOUNTS and "account_id" in table.c:
            query = select(func.count()).select_from(table).where(table.c.account_id == account_id)
            found[f"database.{table.name}"] = int(connection.execute(query).scalar_one())
    return found


def _owners(connection: Connection, account_id: str) -> list[str]:
    """The addresses of the owners of an account."""
    members = METADATA.tables.get("members")
    if members is not None:
        query = select(members.c.email).where(members.c.account_id == account_id, members.c.role == "owner")
        return [row.email for row in connection.execute(query)]
    return []


def _hash(token: str) -> bytes:
    return sha256(token.encode()).digest()
