"""The store and its writers, as a deletion uses them from the thread of its job."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from infraprism.backend.deletions.holders import Events, Holder, KeptRequests, RecentSpans, Sums
from infraprism.backend.ingest.batch_writer import BatchWriter
from infraprism.backend.ingest.receiver import Receiver
from infraprism.backend.ingest.write_ahead_log.log import WriteAheadLog
from infraprism.backend.ingest.write_ahead_log.segments import ASIDE, LOG_DIRECTORY
from infraprism.backend.store.embedded import EmbeddedDatabase


class ServerStore:
    """What a deletion needs of a server. Made on the event loop of the server. `more` are further holders of data."""

    def __init__(
        self,
        database: EmbeddedDatabase,
        writer: BatchWriter,
        *,
        log: WriteAheadLog,
        receiver: Receiver,
        data_dir: Path,
        more: Sequence[Holder] = (),
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._database = database
        self._writer = writer
        self._log = log
        self._receiver = receiver
        self._data_dir = data_dir
        self._more = more

    def wait_for_stored(self, account_id: str) -> bool:
        """See Store."""
        self._writer.wait_for_batches()
        return asyncio.run_coroutine_threadsafe(self._log.is_applied(account_id), self._loop).result()

    def rest(self, seconds: float) -> bool:
        """See Store."""
        return self._database.rest(seconds)

    def forget_account(self, account_id: str) -> None:
        """See Store."""
        self._database.aggregates.forget_account(account_id)
        asyncio.run_coroutine_threadsafe(self._receiver.forget_account(account_id), self._loop).result()
        self._writer.forget_ids()

    def damaged_parts(self) -> int:
        """See Store."""
        self._database.discard_restored()
        return len(self._database.status().damaged)

    def holders(self) -> Sequence[Holder]:
        """All that holds data of events, in the order in which it is deleted."""
        return (
            Events(self._database),
            Sums(self._database, self._database.rest),
            *self._more,
            KeptRequests(self._data_dir / LOG_DIRECTORY / ASIDE),
            RecentSpans(self._forget_calls),
        )

    def _forget_calls(self, account_id: str) -> int:
        return asyncio.run_coroutine_threadsafe(self._receiver.forget_deleted(account_id), self._loop).result()
