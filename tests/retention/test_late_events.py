"""Events that arrive after they expired are rejected, and never stored."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.kit.asynchronous import in_event_loop
from tests.kit.backend import CALL, SEMCONV, cleaned_span, span
from tests.kit.events import event
from tests.kit.otlp_canaries import export_request
from tests.kit.timed_backend import TimedBackend

from infraprism.backend.ingest.otlp_requests import EncodedSpans
from infraprism.backend.ingest.write_ahead_log.applier import Applier
from infraprism.backend.ingest.write_ahead_log.records import Record
from infraprism.backend.ingest.write_ahead_log.unapplied import Group
from infraprism.schema import Event
from infraprism.schema.otlp_encoder import span_bytes

CUTOFF_NS = int(datetime(2026, 3, 25, tzinfo=UTC).timestamp()) * 10**9
REASON = "start time within the retention period of the account"


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TimedBackend]:
    with TimedBackend(tmp_path_factory.mktemp("retention") / "data", "2026-04-01T12:00") as running:
        yield running


@pytest.fixture
def key(backend: TimedBackend) -> str:
    """The key of a new account of the plan with 7 days."""
    return backend.add_account(plan="free")


def _last_expired(number: int) -> Event:
    return event(number, timestamp_ns=CUTOFF_NS - 1)


def _first_kept(number: int) -> Event:
    return event(number, timestamp_ns=CUTOFF_NS)


@pytest.mark.parametrize("count", [1, 40], ids=["small request", "large request"])
def test_expired_events_are_rejected_with_a_reason_of_their_own(backend: TimedBackend, key: str, count: int) -> None:
    kept = [_first_kept(number) for number in range(1, count + 1)]
    late = [_last_expired(number) for number in range(101, 101 + count)]
    answer = backend.export(*map(span, (*late, *kept)), key=key)
    assert (answer.rejected, answer.error_message) == (count, f"spans refused: {count} expired (expected: {REASON})")
    assert {one["id"] for one in backend.events(key)} == {one.id for one in kept}
    assert backend.export(*map(span, late), key=key).rejected == count


def test_expired_events_are_not_stored(backend: TimedBackend, key: str) -> None:
    assert backend.export(*(span(_last_expired(number)) for number in range(1, 4)), key=key).rejected == 3
    backend.set_plan(backend.account_id(key), "scale")
    deadline = time.monotonic() + 20
    while backend.export(span(_last_expired(9)), key=key).rejected:  # a changed period counts after two seconds
        assert time.monotonic() < deadline
    assert [one["id"] for one in backend.events(key)] == [_last_expired(9).id]


def test_expired_spans_of_a_collector_are_rejected(backend: TimedBackend, key: str) -> None:
    spans = []
    for start_ns in (CUTOFF_NS - 1, CUTOFF_NS):
        made = cleaned_span(CALL)
        made.start_time_unix_nano, made.end_time_unix_nano = start_ns, start_ns + 10**9
        spans.append(made)
    answer = backend.export_requests(export_request(spans, SEMCONV), key=key)
    assert (answer.rejected, answer.error_message) == (1, f"spans refused: 1 expired (expected: {REASON})")
    assert len(backend.events(key)) == 1


def test_an_account_without_a_period_keeps_every_event(backend: TimedBackend) -> None:
    key = backend.add_account()
    oldest = event(1, timestamp_ns=int(datetime(2020, 1, 1, tzinfo=UTC).timestamp()) * 10**9)
    assert backend.export(span(oldest), key=key).rejected == 0
    assert [one["id"] for one in backend.events(key)] == [oldest.id]


@in_event_loop
async def test_events_of_the_log_that_expired_meanwhile_are_counted_and_not_kept(tmp_path: Path) -> None:
    kept: list[str] = []

    class _Writer:
        async def store(self, account_id: str, spans: EncodedSpans, *, usage_detail: bool) -> dict[str, int]:
            del account_id, usage_detail
            return {"expired": spans.number}

    async def keep(name: str, body: bytes) -> None:
        kept.append(f"{name} {len(body)} {tmp_path}")

    applier = Applier(_Writer(), keep)
    records = [Record("acc_1", False, 1, span_bytes(_last_expired(number), usage_detail=False)) for number in (1, 2)]  # noqa: FBT003
    group = Group("acc_1", False, records)  # noqa: FBT003
    assert await applier.stored([group], at_once=False) == [group]
    assert (applier.expired, applier.rejected.total(), kept) == (2, 0, [])
