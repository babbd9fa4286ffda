"""Runs deletions as jobs: a sequence of steps, each of which can be repeated."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from infraprism.backend.audit.audit_log import SYSTEM, AuditLog
from infraprism.backend.deletions.deletions import Deletion, Deletions
from infraprism.backend.deletions.holders import Holder
from infraprism.backend.deletions.receipts import Receipts
from infraprism.backend.deletions.refusals import Refusals
from infraprism.backend.deletions.scope import Scope
from infraprism.backend.jobs import Job, JobContext, JobFailedError, Jobs, Kind
from infraprism.backend.relational.database import RelationalDatabase
from infraprism.backend.store.event_deletion import DeletionStoppedError

BACKUP_DAYS: Final = 30
"""After so many days no backup has the deleted data."""
_DAY_MS: Final = 86_400_000


class Store(Protocol):
    """What a deletion needs of the store and its writers, besides the holders."""

    def wait_for_stored(self, account_id: str) -> bool:
        """Wait until what the account has sent before is stored. Returns False if it takes too long."""

    def holders(self) -> Sequence[Holder]:
        """All that holds data of events, in the order in which it is deleted."""

    def rest(self, seconds: float) -> object:
        """Wait."""

    def forget_account(self, account_id: str) -> None:
        """Delete what names an account that has no events any more: its days, recent calls and ids."""

    def damaged_parts(self) -> int:
        """The number of damaged parts that no query reads, after files that were restored completely are deleted."""


class DeletionKind(Kind):
    """Deletes the data of a scope from all holders, in their order, and issues a receipt."""

    is_cancellable = False

    def __init__(
        self,
        database: RelationalDatabase,
        deletions: Deletions,
        refusals: Refusals,
        store: Store,
        *,
        clock: Callable[[], float],
    ) -> None:
        self._database = database
        self._deletions = deletions
        self._refusals = refusals
        self._receipts = Receipts(database)
        self._audit_log = AuditLog(database, clock)
        self._store = store
        self._holders = store.holders()
        self._clock = clock

    def run(self, context: JobContext) -> Mapping[str, Any]:
        """See Kind. The checkpoint has the counts from before the deletion, and the number of holders that are done."""
        deletion = self._deletions.of(context.job)
        if deletion.scope is None:
            return self._completed(deletion)
        total = len(self._holders) + 2
        state: dict[str, Any] = dict(context.checkpoint or {})
        if "before" not in state:
            self._prepare(deletion, context)
            state = {"before": self._counts(deletion, deletion.scope), "done": 0}
            context.save(state, 1, total)
        for place, holder in enumerate(self._holders):
            if place >= state["done"]:
                self.delete_from(holder, deletion, deletion.scope, context)
                state = {**state, "done": place + 1}
                context.save(state, place + 2, total)
        self.check_damage(self._store)
        return self._finish(deletion, deletion.scope, state["before"])

    def discard(self, job: Job) -> None:
        """Remove the scope in clear of a deletion that failed. Its late events are refused nevertheless."""
        with self._database.transaction() as connection:
            self._deletions.forget_scope(connection, self._deletions.of(job))

    def _prepare(self, deletion: Deletion, context: JobContext) -> None:
        self.check_damage(self._store)
        self._refusals.reload()
        context.raise_if_stopped()
        if not self._store.wait_for_stored(deletion.account_id):
            raise OSError("the log is not applied")  # it is tried again

    @staticmethod
    def delete_from(holder: Holder, deletion: Deletion, scope: Scope, context: JobContext) -> None:
        """Delete from one holder. Raises StoppedError if the job is to end now."""
        try:
            holder.delete(deletion, scope, context)
        except DeletionStoppedError:
            context.raise_if_stopped()
            raise

    @staticmethod
    def check_damage(store: Store) -> None:
        """Raises JobFailedError if there are damaged parts, whose rows no query and no deletion finds."""
        if number := store.damaged_parts():
            raise JobFailedError(
                "damaged_parts",
                f"{number} damaged parts of the store may have data of the scope: the operator of the server runs"
                " `infraprism store repair`, then send the request again",
            )

    def _counts(self, deletion: Deletion, scope: Scope) -> dict[str, int]:
        return {holder.name: holder.count(deletion, scope) for holder in self._holders}

    def _finish(self, deletion: Deletion, scope: Scope, before: Mapping[str, int]) -> Mapping[str, Any]:
        after = self._counts(deletion, scope)
        completed_ms = round(self._clock() * 1000)
        content = {
            "scope": {
                "kind": deletion.kind,
                "hash": deletion.hash.hex(),
                "start": time_text(deletion.first_ms),
                "end": time_text(deletion.end_ms),
            },
            "requested_at": time_text(deletion.requested_ms),
            "completed_at": time_text(completed_ms),
            "counts": {name: {"before": number, "after": after[name]} for name, number in before.items()},
            "limits": [limit for holder in self._holders for limit in holder.limits(deletion, scope)],
            "not_in_backups_after": time_text(completed_ms + BACKUP_DAYS * _DAY_MS),
        }
        with self._database.transaction() as connection:
            receipt = self._receipts.issue(connection, deletion.account_id, deletion.id, content)
            self._deletions.forget_scope(connection, deletion)
            self._audit_log.append(
                deletion.account_id, SYSTEM, "deletion.completed", deletion.id, connection=connection
            )
        return {"receipt": receipt["id"]}

    def _completed(self, deletion: Deletion) -> Mapping[str, Any]:
        """The result of a deletion that was completed, when the server ended before it noted that."""
        with self._database.transaction() as connection:
            receipt = self._receipts.of_deletion(connection, deletion.id)
        if receipt is None:
            raise JobFailedError("internal_error", "the deletion has no receipt")
        return {"receipt": receipt["id"]}


def deletion_jobs(
    database: RelationalDatabase, jobs: Jobs, refusals: Refusals, store: Store, *, clock: Callable[[], float]
) -> tuple[Deletions, DeletionKind]:
    """The deletions of a server, and the kind of their jobs."""
    deletions = Deletions(database, jobs, refusals, clock)
    return deletions, DeletionKind(database, deletions, refusals, store, clock=clock)


def time_text(milliseconds: int | None) -> str | None:
    """A time in a receipt."""
    if milliseconds is None:
        return None
    found = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return found.isoformat(timespec="milliseconds").replace("+00:00", "Z")
