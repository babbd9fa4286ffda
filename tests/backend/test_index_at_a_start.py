"""A start that has to read the ids of all events from the table answers requests in the meantime."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest
from tests.kit.backend import request, span
from tests.kit.events import event

from infraprism.backend.ingest.batch_writer import BatchWriter
from infraprism.backend.ingest.otlp_requests import parse_protobuf
from infraprism.backend.ingest.rejections import INDEX_LOADING, RejectedError
from infraprism.backend.ingest.stored_ids import StoredIds
from infraprism.backend.store.embedded import EmbeddedDatabase


class SlowIds(StoredIds):
    """An index with a `load` that waits for `may_load`."""

    may_load: threading.Event
    loads: threading.Event
    loaded: threading.Event

    def load(self) -> None:
        self.loads.set()
        self.may_load.wait()
        super().load()
        self.loaded.set()


@pytest.mark.parametrize("load_wait_s", [0.0, 60.0])
def test_requests_are_rejected_until_an_index_that_takes_long_is_open(tmp_path: Path, load_wait_s: float) -> None:
    spans = parse_protobuf(request([span(event(1))]).SerializeToString()).events

    async def run() -> None:
        database = EmbeddedDatabase(tmp_path / "store", computes_aggregates=False)
        ids = SlowIds(database.derived_directory, database)
        ids.may_load, ids.loads, ids.loaded = threading.Event(), threading.Event(), threading.Event()
        writer = BatchWriter(database, ids=ids, load_wait_s=load_wait_s)
        first = asyncio.create_task(writer.store("acc_a", spans, usage_detail=False))
        await asyncio.to_thread(ids.loads.wait)
        if load_wait_s:
            assert not writer.is_loading
        else:
            with pytest.raises(RejectedError) as rejected:
                await first
            assert rejected.value.rejection == INDEX_LOADING
            with pytest.raises(RejectedError) as rejected:
                await writer.store("acc_a", spans, usage_detail=False)
            assert rejected.value.rejection == INDEX_LOADING
            assert database.read("SELECT 1 AS one", {}) == [b'{"one":1}']
        ids.may_load.set()
        if load_wait_s:
            assert not await first
        else:
            while writer.is_loading:
                await asyncio.to_thread(ids.loaded.wait)
            assert not await writer.store("acc_a", spans, usage_detail=False)
        await writer.close()
        database.close()

    asyncio.run(run())
