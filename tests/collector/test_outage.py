"""A backend that is down and a collector that crashes: every call that was accepted arrives, and once."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from opentelemetry.proto.trace.v1.trace_pb2 import Span
from tests.collector.conftest import CALL, QUICK
from tests.kit.collector import Collector, Config, eventually
from tests.kit.otlp_canaries import export_request, span
from tests.kit.otlp_sink import OtlpSink, Reply
from tests.kit.ports import free_port

_PER_REQUEST = 50


def _queue(**settings: object) -> Config:
    """QUICK, with other settings of the queue."""
    exporter = QUICK["exporters"]["otlp_http/infraprism"]
    queue = {**exporter["sending_queue"], **settings}
    return {"exporters": {"otlp_http/infraprism": {**exporter, "sending_queue": queue}}}


def _send(collector: Collector, requests: int) -> tuple[list[bytes], list[bytes]]:
    """The span ids that were accepted, and those that were refused."""
    accepted: list[bytes] = []
    refused: list[bytes] = []
    for _ in range(requests):
        spans = [span(CALL) for _ in range(_PER_REQUEST)]
        taken, _ = collector.send(export_request(spans))
        (accepted if taken else refused).extend(one.span_id for one in spans)
    return accepted, refused


def _times(spans: Iterable[Span]) -> Counter[bytes]:
    return Counter(one.span_id for one in spans)


def test_what_was_accepted_survives_the_backend_and_the_collector_and_arrives_once(tmp_path: Path) -> None:
    port = free_port()
    collector = Collector(tmp_path, f"http://localhost:{port}", overlay=QUICK)
    collector.start()
    accepted, refused = _send(collector, 40)  # no backend
    collector.kill()
    collector.start()
    more, refused_too = _send(collector, 20)
    collector.stop()
    collector.start()
    with OtlpSink(port=port) as sink:
        sink.answer_with(Reply(status=503), Reply(status=429, retry_after="0"), Reply(status=503))
        assert eventually(lambda: len(_times(sink.spans())) == len(accepted) + len(more))
        collector.stop()
        assert _times(sink.spans()) == Counter([*accepted, *more])
    assert not refused
    assert not refused_too


def test_a_full_queue_refuses_what_it_cannot_keep_and_loses_nothing_of_the_rest(tmp_path: Path) -> None:
    with OtlpSink() as sink:
        sink.answer_by(lambda *_: Reply(status=503))
        # Two batches are not counted in the queue: the one being sent, and the one being made.
        settings = _queue(
            queue_size=500, batch={"sizer": "items", "flush_timeout": "50ms", "min_size": 1, "max_size": 100}
        )
        with Collector(tmp_path, sink.endpoint, overlay=settings) as collector:
            accepted, refused = _send(collector, 40)
            assert len(accepted) >= 500
            assert len(refused) >= 40 * _PER_REQUEST - 1000
            failed = collector.metric("otelcol_exporter_enqueue_failed_spans")
            assert failed == len(refused)
            collector.kill()
            sink.answer_by(None)
            before = len(sink.requests)
            collector.start()
            arrived = lambda: _times(s for request in sink.requests[before:] for s in request.spans())  # noqa: E731
            assert eventually(lambda: len(arrived()) >= len(accepted))
        assert arrived() == Counter(accepted)


def test_a_sender_that_is_refused_is_asked_to_try_again(tmp_path: Path) -> None:
    with OtlpSink() as sink:
        sink.answer_by(lambda *_: Reply(status=503))
        with Collector(
            tmp_path,
            sink.endpoint,
            overlay=_queue(queue_size=1, batch={"sizer": "items", "min_size": 1, "max_size": 1}),
        ) as collector:
            answers = {
                collector.send(export_request([span(CALL), span(CALL)]), protocol) for protocol in ("grpc", "http/json")
            }
            grpc_answer, http_answer = sorted(
                (answer for _, answer in answers), key=lambda text: b"UNAVAILABLE" not in text
            )
            assert b"UNAVAILABLE" in grpc_answer
            assert re.search(rb'"code":\s*14', http_answer)
            assert not any(taken for taken, _ in answers)


def test_a_refusal_that_is_final_is_counted(tmp_path: Path) -> None:
    with OtlpSink() as sink:
        sink.answer_by(lambda *_: Reply(status=401))
        with Collector(tmp_path, sink.endpoint, overlay=QUICK) as collector:
            accepted, _ = _send(collector, 2)
            name = "otelcol_exporter_send_failed_spans"
            assert eventually(lambda: collector.metric(name) == len(accepted))


def test_the_api_key_is_sent_and_not_logged(tmp_path: Path) -> None:
    with OtlpSink() as sink, Collector(tmp_path, sink.endpoint, overlay=QUICK) as collector:
        _send(collector, 1)
        sink.wait_for(1)
        assert {request.headers["authorization"] for request in sink.requests} == {"Bearer ip-test"}
        assert "ip-test" not in collector.log()
