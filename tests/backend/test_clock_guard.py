"""Events are not rejected as being in the future because the clock of the server went back."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
from tests.kit.backend import LANGCHAIN, LLM, cleaned_span, request, span
from tests.kit.events import event
from tests.kit.otlp_canaries import export_request

from infraprism.backend.accounts import Accounts
from infraprism.backend.ingest.batch_writer import BatchWriter
from infraprism.backend.ingest.clock_guard import ClockGuard
from infraprism.backend.ingest.receiver import Receiver
from infraprism.backend.ingest.rejections import CLOCK_BEHIND, RejectedError
from infraprism.backend.span_conversion.recent_calls import RecentCalls
from infraprism.backend.store.embedded import EmbeddedDatabase
from infraprism.schema.fields import MAX_CLOCK_SKEW_MS

DAY_MS = 86_400_000


class Stored:
    def __init__(self, newest_ms: int) -> None:
        self._newest_ms = newest_ms

    def read(self, sql: str, parameters: object) -> list[bytes]:
        return [b'{"newest":%d}' % self._newest_ms]


def guard(newest_ms: int, now_ms: list[int]) -> ClockGuard:
    database: Any = Stored(newest_ms)
    return ClockGuard(database, lambda: now_ms[0])


def test_a_clock_is_behind_if_it_could_not_have_accepted_the_newest_event() -> None:
    now_ms = [time.time_ns() // 1_000_000]
    assert not guard(0, now_ms).is_behind()
    assert not guard(now_ms[0] + MAX_CLOCK_SKEW_MS, now_ms).is_behind()
    assert guard(now_ms[0] + MAX_CLOCK_SKEW_MS + 1, now_ms).is_behind()


def test_a_clock_that_goes_back_while_the_server_runs_is_behind_until_it_is_set() -> None:
    now_ms = [time.time_ns() // 1_000_000]
    found = guard(0, now_ms)
    assert not found.is_behind()
    now_ms[0] -= 3 * DAY_MS
    assert found.is_behind()
    now_ms[0] += 3 * DAY_MS
    assert not found.is_behind()


def test_only_requests_in_the_future_of_a_clock_that_is_behind_have_to_be_sent_again(tmp_path: Path) -> None:
    real_ms = time.time_ns() // 1_000_000
    now_ms = [real_ms]
    recent = request([span(event(1, timestamp_ns=real_ms * 1_000_000))])
    old = request([span(event(2, timestamp_ns=(real_ms - 4 * DAY_MS) * 1_000_000))])
    cleaned = cleaned_span(LLM)
    cleaned.start_time_unix_nano, cleaned.end_time_unix_nano = real_ms * 1_000_000, (real_ms + 1) * 1_000_000
    forwarded = export_request([cleaned], LANGCHAIN)

    async def run() -> None:
        accounts = Accounts(tmp_path / "accounts.sqlite")
        database = EmbeddedDatabase(tmp_path / "store")
        writer = BatchWriter(database, lambda: now_ms[0])
        receiver = Receiver(accounts, writer, RecentCalls(tmp_path / "calls.sqlite", database), 2**24)
        account = receiver.authenticate(f"Bearer {accounts.add_key(accounts.add().id)}")

        async def send(sent: Any) -> Any:
            body = sent.SerializeToString()
            with receiver.reservation(account) as reserved:
                return await receiver.receive(account, body, reserved, encoding="protobuf", compressed=False)

        assert not await send(recent)
        now_ms[0] -= 3 * DAY_MS
        for sent in (recent, forwarded):
            with pytest.raises(RejectedError) as rejected:
                await send(sent)
            assert rejected.value.rejection == CLOCK_BEHIND
        assert not await send(old)
        now_ms[0] += 3 * DAY_MS
        for sent in (recent, forwarded):
            assert not await send(sent)
        await receiver.close()
        await writer.close()
        database.close()
        accounts.close()

    asyncio.run(run())
