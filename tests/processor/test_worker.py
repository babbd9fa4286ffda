"""The worker that the span processor and the exporter share: queue, thread, flush and shutdown."""

from __future__ import annotations

import threading
import time

import pytest
from tests.kit.spans import CALL, KeepsEvents, call, ended, provider_with

from infraprism.processor import DeliveryStats, InfraPrismSpanProcessor, worker
from infraprism.processor.span_pipeline import EndedSpan
from infraprism.processor.worker import Worker
from infraprism.schema import Event

TIMEOUT_S = 10.0


class Exported:
    """A worker, the events that it exports, and the threads on which it does so."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.threads: set[int] = set()
        self.started_on: list[int] = []
        self.delivery_stats = DeliveryStats()
        self.worker = Worker(
            "worker under test",
            self.delivery_stats,
            self._export,
            on_thread_start=lambda: self.started_on.append(threading.get_ident()),
        )

    def _export(self, events: list[Event]) -> None:
        self.threads.add(threading.get_ident())
        self.events += events

    def flush(self) -> bool:
        return self.worker.flush(time.monotonic() + TIMEOUT_S)

    def shutdown(self) -> None:
        self.worker.shutdown(time.monotonic() + TIMEOUT_S)


def calls(count: int) -> list[EndedSpan]:
    return [(ended(CALL), None, False) for _ in range(count)]


@pytest.fixture
def no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """The interpreter is ending, and starts no more threads."""

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", refuse)


def test_spans_are_processed_on_one_thread_that_starts_with_the_first_span() -> None:
    exported = Exported()
    assert exported.started_on == []
    exported.worker.put_all(calls(2))
    exported.worker.put(calls(1)[0])
    assert exported.flush()
    assert len(exported.events) == 3
    assert exported.started_on == [threading.get_ident()]
    assert len(exported.threads) == 1
    assert threading.get_ident() not in exported.threads
    exported.shutdown()


def test_an_export_of_more_spans_than_the_queue_holds_waits_and_loses_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "MAX_QUEUE", 3)
    exported = Exported()
    exported.worker.put_all(calls(20))
    assert exported.flush()
    assert len(exported.events) == 20
    assert exported.delivery_stats.count("dropped") == 0
    exported.shutdown()


def test_after_shutdown_a_span_is_dropped_and_an_export_is_processed_on_its_own_thread() -> None:
    exported = Exported()
    exported.worker.put_all(calls(1))
    exported.shutdown()
    assert len(exported.events) == 1
    exported.worker.put(calls(1)[0])
    assert exported.delivery_stats.snapshot()["dropped"] == {"shut_down": 1}
    exported.worker.put_all(calls(2))
    assert len(exported.events) == 3
    assert threading.get_ident() in exported.threads


def test_a_span_that_is_no_call_is_not_counted_as_dropped() -> None:
    exported = Exported()
    exported.shutdown()
    exported.worker.put((ended({"http.request.method": "GET"}), None, False))
    assert exported.delivery_stats.accepted == 0


def test_an_export_is_processed_at_once_if_no_thread_can_be_started(no_threads: None) -> None:
    exported = Exported()
    exported.worker.put_all(calls(3))
    assert len(exported.events) == 3
    exported.shutdown()


def test_shutdown_processes_the_queue_if_no_thread_can_be_started(no_threads: None) -> None:
    exported = Exported()
    exported.worker.put(calls(1)[0])
    assert exported.events == []
    exported.shutdown()
    assert len(exported.events) == 1


def test_a_worker_without_spans_starts_no_thread() -> None:
    exported = Exported()
    assert exported.flush()
    exported.shutdown()
    assert exported.started_on == []


def test_an_exporter_that_is_not_shared_is_given_events_and_no_spans() -> None:
    class ReceivesSpansToo(KeepsEvents):
        def receive_ended_spans(self, spans: object) -> None:
            raise AssertionError(spans)

    exporter = ReceivesSpansToo()
    processor = InfraPrismSpanProcessor(exporter)
    call(provider_with(processor))
    assert processor.force_flush(10_000)
    assert len(exporter.events) == 1
    processor.shutdown()
