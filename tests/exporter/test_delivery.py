"""The outcome of events for every kind of response, over real sockets."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

import pytest
from tests.exporter.conftest import Make
from tests.kit.events import event, events
from tests.kit.otlp_sink import OtlpSink, Reply
from tests.kit.ports import free_port

from infraprism.exporter import InfraPrismSpanExporter, SettingsError, live
from infraprism.schema.wire import attributes


def _numbers(sink: OtlpSink) -> list[int]:
    return sorted(int.from_bytes(span.span_id, "big") for span in sink.spans())


def _wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def _is_queued_for_retry(caplog: pytest.LogCaptureFixture) -> bool:
    """Whether a request failed. The log line follows when the backoff is set."""
    return any("queued for retry" in record.getMessage() for record in tuple(caplog.records))


def test_an_event_arrives_with_exactly_its_attributes(sink: OtlpSink, make: Make) -> None:
    exporter = make(sink.endpoint)
    sent = event(7, tags={"feature": "chatbot"}, session_id="s-1")
    exporter.export_events([sent])
    assert exporter.force_flush(5000)
    [span] = sink.spans()
    assert {pair.key for pair in span.attributes} == set(attributes(sent))
    assert sink.requests[0].headers["authorization"] == "Bearer ip-secret-key"
    assert exporter.delivery_stats.snapshot()["delivered"] == {"ok": 1}


def test_events_are_sent_in_one_request_without_a_flush(sink: OtlpSink, make: Make) -> None:
    exporter = make(sink.endpoint, max_delay_s=0.2)
    for one in events(20):
        exporter.export_events([one])
    sink.wait_for(1)
    assert exporter.force_flush(5000)
    assert _numbers(sink) == list(range(1, 21))
    assert len(sink.requests) <= 2


def test_a_full_batch_is_sent_at_once(sink: OtlpSink, make: Make) -> None:
    exporter = make(sink.endpoint, max_delay_s=600, max_batch_events=10)
    exporter.export_events(events(10))
    assert len(sink.wait_for(1)[0].spans()) == 10


def test_requests_are_bounded_in_events_and_bytes(sink: OtlpSink, make: Make) -> None:
    exporter = make(sink.endpoint, max_batch_events=1000)
    large = {f"k{number}": "\u20ac" * 256 for number in range(32)}
    exporter.export_events([event(number, tags=large) for number in range(1, 101)])
    assert exporter.force_flush(10_000)
    assert _numbers(sink) == list(range(1, 101))
    assert len(sink.requests) >= 3
    assert all(len(request.body) <= (1 << 20) + 100 for request in sink.requests)


@pytest.mark.usefixtures("short_waits")
@pytest.mark.parametrize("failure", [Reply(status=503), Reply(status=429), Reply(status=504), Reply(reset=True)])
def test_a_failed_request_is_retried_with_the_same_bytes(sink: OtlpSink, make: Make, failure: Reply) -> None:
    sink.answer_with(failure, failure)
    exporter = make(sink.endpoint)
    exporter.export_events(events(5))
    assert exporter.force_flush(10_000)
    assert [request.taken for request in sink.requests] == [False, False, True]
    assert len({request.body for request in sink.requests}) == 1
    assert exporter.delivery_stats.snapshot()["delivered"] == {"ok": 5}


@pytest.mark.usefixtures("short_waits")
def test_a_request_that_times_out_is_retried(sink: OtlpSink, make: Make) -> None:
    sink.answer_with(Reply(status=503, hang_s=30))
    exporter = make(sink.endpoint, timeout_s=0.2)
    exporter.export_events(events(5))
    assert exporter.force_flush(10_000)
    assert _numbers(sink) == [1, 2, 3, 4, 5]


@pytest.mark.usefixtures("short_waits")
def test_a_requested_wait_is_honoured_even_by_a_flush(sink: OtlpSink, make: Make) -> None:
    sink.answer_with(Reply(status=503, retry_after="1"))
    exporter = make(sink.endpoint)
    exporter.export_events(events(1))
    assert exporter.force_flush(10_000)
    first, second = sink.requests
    assert second.at - first.at >= 1.0


def test_a_flush_ends_the_backoff(
    sink: OtlpSink, make: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("infraprism.exporter.retry_backoff.random.uniform", lambda _low, _high: 600.0)
    sink.answer_with(Reply(status=503))
    exporter = make(sink.endpoint, max_delay_s=0)
    exporter.export_events(events(1))
    _wait_until(lambda: _is_queued_for_retry(caplog))
    assert exporter.force_flush(5000)
    assert len(sink.requests) == 2


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_rejected_events_are_counted_by_reason_and_not_retried(
    sink: OtlpSink, make: Make, protocol: str, status: int
) -> None:
    sink.answer_with(Reply(status=status))
    exporter = make(sink.endpoint)
    exporter.export_events(events(3))
    assert not exporter.force_flush(5000)
    exporter.export_events(events(2, first=4))
    assert exporter.force_flush(5000)
    words = {400: "invalid_argument", 401: "unauthenticated", 403: "permission_denied", 404: "unimplemented"}
    reason = f"grpc_{words[status]}" if protocol == "grpc" else f"http_{status}"
    assert exporter.delivery_stats.snapshot()["rejected"] == {reason: 3}
    assert _numbers(sink) == [4, 5]


def test_a_partial_success_is_counted_as_delivered_and_rejected(sink: OtlpSink, make: Make) -> None:
    sink.answer_with(Reply(rejected=2, message="no such model"))
    exporter = make(sink.endpoint)
    exporter.export_events(events(5))
    assert not exporter.force_flush(5000)
    counted = exporter.delivery_stats.snapshot()
    assert counted["delivered"] == {"ok": 3}
    assert counted["rejected"] == {"partial_success": 2}
    assert len(sink.requests) == 1


def test_an_invalid_partial_success_does_not_change_the_total(sink: OtlpSink, make: Make) -> None:
    sink.answer_with(Reply(rejected=10**9), Reply(rejected=-5))
    exporter = make(sink.endpoint)
    for one in events(2):
        exporter.export_events([one])
        exporter.force_flush(5000)
    counted = exporter.delivery_stats.snapshot()
    assert (counted["delivered"], counted["rejected"]) == ({"ok": 1}, {"partial_success": 1})


@pytest.mark.usefixtures("short_waits")
def test_a_request_that_is_too_large_is_split_and_only_a_too_large_event_is_rejected(
    sink: OtlpSink, make: Make
) -> None:
    def too_large_with_13(_count: int, body: bytes) -> Reply:
        return Reply(status=413) if b"number-13" in body or body.count(b"number-") > 8 else Reply()

    sink.answer_by(too_large_with_13)
    exporter = make(sink.endpoint)
    exporter.export_events([event(number, entity_id=f"number-{number}") for number in range(1, 41)])
    assert not exporter.force_flush(10_000)
    assert _numbers(sink) == [number for number in range(1, 41) if number != 13]
    assert exporter.delivery_stats.snapshot()["rejected"] == {"too_large": 1}


@pytest.mark.usefixtures("short_waits")
@pytest.mark.parametrize("error", [Reply(status=500), Reply(body=b"<html>Sign in</html>")])
def test_an_event_that_causes_server_errors_does_not_block_the_others(sink: OtlpSink, make: Make, error: Reply) -> None:
    sink.answer_by(lambda _count, body: error if b"number-3" in body else Reply())
    exporter = make(sink.endpoint)
    exporter.export_events([event(number, entity_id=f"number-{number}") for number in range(1, 10)])
    assert not exporter.force_flush(20_000)
    arrived = {span.span_id for request in sink.requests if b"number-3" not in request.body for span in request.spans()}
    assert len(arrived) == 8
    counted = exporter.delivery_stats.snapshot()
    assert sum(counted["rejected"].values()) == 1
    assert counted["delivered"] == {"ok": 8}


def test_events_stay_queued_while_the_endpoint_has_server_errors(sink: OtlpSink, make: Make) -> None:
    sink.answer_by(lambda _count, _body: Reply(status=500))
    exporter = make(sink.endpoint)
    exporter.export_events(events(50))
    assert not exporter.force_flush(300)
    assert exporter.delivery_stats.snapshot()["events"]["pending"] == 50
    sink.answer_by(None)
    assert exporter.force_flush(10_000)
    assert exporter.delivery_stats.snapshot()["delivered"] == {"ok": 50}


def test_a_full_queue_drops_the_newest_events_and_counts_them(sink: OtlpSink, make: Make) -> None:
    sink.answer_by(lambda _count, _body: Reply(status=503, retry_after="60"))
    exporter = make(sink.endpoint, max_queue_events=10, max_delay_s=0)
    exporter.export_events(events(25))
    assert exporter.delivery_stats.snapshot()["dropped"] == {"queue_full": 15}
    exporter.shutdown(timeout_millis=500)
    assert exporter.delivery_stats.snapshot()["dropped"] == {"queue_full": 15, "shutdown": 10}


def test_events_are_passed_to_the_overflow_before_they_are_dropped(sink: OtlpSink, make: Make) -> None:
    sink.answer_by(lambda _count, _body: Reply(status=503, retry_after="60"))
    calls: list[tuple[int, str]] = []

    def overflow(spans: Sequence[bytes], reason: str) -> int:
        calls.append((len(spans), reason))
        if reason == "queue_full":
            return len(spans) - 1
        raise OSError("disk full")  # counted, and all of them are dropped

    exporter = make(sink.endpoint, max_queue_events=10, max_delay_s=0, overflow=overflow)
    exporter.export_events(events(25))
    exporter.shutdown(timeout_millis=500)
    assert calls == [(15, "queue_full"), (10, "shutdown")]
    counted = exporter.delivery_stats.snapshot()
    assert counted["spooled"] == {"queue_full": 14}
    assert counted["dropped"] == {"queue_full": 1, "shutdown": 10}
    assert counted["errors"] == {"exporter.overflow": 1}


def test_an_overflow_cannot_spool_more_events_than_it_received(make: Make) -> None:
    exporter = make("http://localhost:1", max_queue_events=1, overflow=lambda _spans, _reason: 10**6)
    exporter.export_events(events(4))
    assert exporter.delivery_stats.snapshot()["spooled"] == {"queue_full": 3}


def test_a_flush_returns_within_its_timeout_and_is_true_only_if_all_is_delivered(sink: OtlpSink, make: Make) -> None:
    sink.answer_with(Reply(hang_s=1.0))
    exporter = make(sink.endpoint)
    exporter.export_events(events(3))
    started = time.monotonic()
    assert not exporter.force_flush(200)
    assert time.monotonic() - started < 0.9
    assert exporter.force_flush(5000)
    assert exporter.delivery_stats.count("delivered") == 3


def test_a_flush_of_an_empty_queue_is_true_at_once(sink: OtlpSink, make: Make) -> None:
    assert make(sink.endpoint).force_flush(0)
    assert sink.requests == []


def test_shutdown_sends_the_queued_events(sink: OtlpSink, make: Make) -> None:
    exporter = make(sink.endpoint, max_delay_s=600, max_batch_events=40)
    exporter.export_events(events(100))
    exporter.shutdown()
    assert _numbers(sink) == list(range(1, 101))


def test_shutdown_returns_within_its_timeout_when_the_endpoint_does_not_respond(sink: OtlpSink, make: Make) -> None:
    sink.answer_by(lambda _count, _body: Reply(status=503, hang_s=30))
    exporter = make(sink.endpoint, max_delay_s=0, max_batch_events=2)
    exporter.export_events(events(5))
    sink.wait_for(1)
    started = time.monotonic()
    exporter.shutdown(timeout_millis=400)
    assert time.monotonic() - started < 2.0
    assert exporter.delivery_stats.snapshot()["dropped"] == {"shutdown": 5}


@pytest.mark.usefixtures("short_waits")
def test_shutdown_is_quick_when_the_connection_is_refused(make: Make) -> None:
    exporter = make("http://localhost:1")
    exporter.export_events(events(5))
    started = time.monotonic()
    exporter.shutdown(timeout_millis=20_000)
    assert time.monotonic() - started < 5.0
    assert exporter.delivery_stats.snapshot()["dropped"] == {"shutdown": 5}


def test_shutdown_does_not_wait_for_a_retry_after_its_timeout(
    sink: OtlpSink, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    sink.answer_by(lambda _count, _body: Reply(status=503, retry_after="60"))
    exporter = make(sink.endpoint, max_delay_s=0)
    exporter.export_events(events(5))
    _wait_until(lambda: _is_queued_for_retry(caplog))
    started = time.monotonic()
    exporter.shutdown(timeout_millis=20_000)
    assert time.monotonic() - started < 5.0
    assert exporter.delivery_stats.snapshot()["dropped"] == {"shutdown": 5}


def test_events_after_shutdown_are_counted_as_dropped(sink: OtlpSink, make: Make) -> None:
    exporter = make(sink.endpoint)
    exporter.shutdown()
    exporter.shutdown()
    exporter.export_events(events(2))
    assert exporter.delivery_stats.snapshot()["dropped"] == {"shutdown": 2}
    assert exporter.export([]).name == "FAILURE"
    assert sink.requests == []


@pytest.mark.usefixtures("short_waits")
def test_delivery_resumes_when_the_endpoint_is_available_again(protocol: str, make: Make) -> None:
    port = free_port()
    with OtlpSink(protocol, port=port) as first:
        exporter = make(first.endpoint, max_delay_s=0)
        exporter.export_events(events(3))
        assert exporter.force_flush(5000)
    exporter.export_events(events(3, first=4))
    assert not exporter.force_flush(300)
    with OtlpSink(protocol, port=port) as second:
        assert exporter.force_flush(10_000)
        assert _numbers(second) == [4, 5, 6]


def test_events_of_many_threads_each_arrive_once(sink: OtlpSink, make: Make) -> None:
    exporter = make(sink.endpoint, max_delay_s=0, max_batch_events=50)

    def work(first: int) -> None:
        for one in events(100, first=first):
            exporter.export_events([one])

    threads = [threading.Thread(target=work, args=(first,)) for first in range(1, 801, 100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert exporter.force_flush(10_000)
    assert _numbers(sink) == list(range(1, 801))


def test_no_thread_runs_before_the_first_event(sink: OtlpSink, make: Make) -> None:
    exporter = make(sink.endpoint)
    before = set(threading.enumerate())
    assert exporter.force_flush(100)
    assert set(threading.enumerate()) <= before


def test_a_flush_and_a_shutdown_send_on_the_calling_thread_if_no_thread_can_start(
    sink: OtlpSink, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Python 3.12 and later raise this while the interpreter shuts down.
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name == "infraprism-delivery":
            raise RuntimeError("can't create new thread at interpreter shutdown")
        start(thread)

    exporter = make(sink.endpoint)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        exporter.export_events(events(3))
        assert sink.requests == []
        assert exporter.force_flush(5000)
        exporter.export_events(events(2, first=4))
        exporter.shutdown()
    assert _numbers(sink) == [1, 2, 3, 4, 5]


def test_an_internal_error_is_counted_and_not_raised(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_settings: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("infraprism.exporter.delivery.connect", fail)
    exporter = make("http://localhost:1")
    exporter.export_events(events(1))
    assert not exporter.force_flush(200)
    exporter.shutdown(timeout_millis=500)
    counted = exporter.delivery_stats.snapshot()
    assert counted["errors"]["exporter.send"] >= 1
    assert counted["dropped"] == {"shutdown": 1}


def test_live_returns_the_exporters_that_exist(make: Make) -> None:
    exporter = make("http://localhost:1")
    assert exporter in live()


def test_an_invalid_argument_raises_and_an_invalid_variable_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match=r"^protocol must be"):
        InfraPrismSpanExporter(protocol="json")
    monkeypatch.setenv("INFRAPRISM_PROTOCOL", "json")
    exporter = InfraPrismSpanExporter()
    exporter.export_events(events(2))
    assert not exporter.force_flush(1000)
    assert exporter.delivery_stats.snapshot()["dropped"] == {"bad_settings": 2}
    exporter.shutdown()


def test_a_fork_without_the_hooks_of_python_is_detected(
    sink: OtlpSink, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    exporter = make(sink.endpoint)
    exporter.export_events(events(2))
    monkeypatch.setattr("infraprism.exporter.span_exporter.os.getpid", lambda: 1)
    exporter.export_events(events(1, first=100))
    assert exporter.delivery_stats.accepted == 1
    assert exporter.force_flush(5000)
    assert 100 in _numbers(sink)
