"""The usage data of an account, as a holder of data."""

from __future__ import annotations

from infraprism.backend.deletions.deletions import FOR_EVER_MS, Deletion
from infraprism.backend.deletions.holders import Complete
from infraprism.backend.deletions.scope import Scope
from infraprism.backend.jobs import JobContext
from infraprism.backend.usage_data import UsageData


class UsageRecords(Complete):
    """What was recorded before the request: it belongs to the scope of everything, since it names no entity."""

    name = "usage_data"

    def __init__(self, usage: UsageData) -> None:
        self._usage = usage

    def count(self, deletion: Deletion, scope: Scope) -> int:
        """See Holder."""
        return self._usage.count_before(deletion.account_id, deletion.requested_ms) if _is_everything(scope) else 0

    def delete(self, deletion: Deletion, scope: Scope, context: JobContext) -> None:  # noqa: ARG002
        """See Holder."""
        if _is_everything(scope):
            is_closed = deletion.requested_ms >= FOR_EVER_MS
            self._usage.delete_account(deletion.account_id, with_settings=is_closed)


def _is_everything(scope: Scope) -> bool:
    return scope.kind == "everything" and scope.first_ms is None and scope.end_ms is None
