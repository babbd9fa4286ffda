"""The store and its writers, as a deletion uses them from the thread of its job."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from infraprism.backend.deletions.holders import Events, Exports, Holder, KeptRequests, RecentSpans, Sums
from infraprism.backend.exports import ExportFiles
from infraprism.backend.ingest.batch_writer import BatchWriter
from infraprism.backend.ingest.receiver import Receiver
from infraprism.backend.ingest.write_ahead_log.log import WriteAheadLog
from infraprism.backend.ingest.write_ahead_log.segments import ASIDE, LOG_DIRECTORY
from infraprism.backend.jobs import Jobs
from infraprism.backend.store.embedded import EmbeddedDatabase


class ServerStore:
    """What a deletion needs of a server. Made on the event loop of the server."""

    def __init__(
        self,
        database: EmbeddedDatabase,
        writer: BatchWriter,
        *,
        log: WriteAheadLog,
        receiver: Receiver,
        data_dir: Path,
        jobs: Jobs,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._database = database
        self._writer = writer
        self._log = log
        self._receiver = receiver
        self._data_dir = data_dir
        self._jobs = jobs

    def wait_for_stored(self, account_id: str) -> bool:
        """See Store."""
        self._writer.wait_for_batches()
        return asyncio.run_coroutine_threadsafe(self._log.is_applied(account_id), self._loop).result()

    def damaged_parts(self) -> int:
        """See Store."""
        self._database.discard_restored()
        return len(self._database.status().damaged)

    def holders(self) -> Sequence[Holder]:
        """All that holds data of events, in the order in which it is deleted."""
        return (
            Events(self._database),
            Sums(self._database, self._database.rest),
            Exports(self._jobs, ExportFiles(self._data_dir)),
            KeptRequests(self._data_dir / LOG_DIRECTORY / ASIDE),
            RecentSpans(self._forget_calls),
        )

    def _forget_calls(self, account_id: str) -> int:
        return asyncio.run_coroutine_threadsafe(self._receiver.forget_deleted(account_id), self._loop).result()
