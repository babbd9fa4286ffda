"""The exports of an account, as a deletion finds them."""

from __future__ import annotations

from infraprism.backend.deletions.deletions import Deletion
from infraprism.backend.deletions.holders import Complete
from infraprism.backend.deletions.scope import Scope
from infraprism.backend.exports.export_files import ExportFiles
from infraprism.backend.exports.export_kind import EXPORT
from infraprism.backend.jobs import JobContext, Jobs


class HeldExports(Complete):
    """The exports of the account: the files may have events of the scope, and the jobs its identifiers."""

    name = "exports"

    def __init__(self, jobs: Jobs, files: ExportFiles) -> None:
        self._jobs = jobs
        self._files = files

    def count(self, deletion: Deletion, scope: Scope) -> int:  # noqa: ARG002
        """See Holder."""
        return len(self._jobs.list(deletion.account_id, EXPORT))

    def delete(self, deletion: Deletion, scope: Scope, context: JobContext) -> None:  # noqa: ARG002
        """See Holder. Also those of other events: what a file has is not known."""
        self._jobs.remove(deletion.account_id, EXPORT)
        self._files.remove_account(deletion.account_id)
