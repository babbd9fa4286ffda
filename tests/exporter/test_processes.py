"""Forks, exits and imports, each in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from textwrap import dedent

import pytest
from tests.kit.otlp_sink import OtlpSink, Reply

_START = """
    import os, sys, threading
    from infraprism.exporter import InfraPrismSpanExporter, live
    from tests.kit.events import event, events

    exporter = InfraPrismSpanExporter(sys.argv[1], "ip-key", sys.argv[2], max_delay_s=600)
"""


def _run(
    code: str,
    sink: OtlpSink,
    protocol: str,
    *arguments: str,
    timeout_s: float = 30,
    before_input: Callable[[], object] = lambda: None,
) -> str:
    """Run the code. It can read a line of stdin, which is written once `before_input` returns."""
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", dedent(_START) + dedent(code), sink.endpoint, protocol, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            before_input()
            output, errors = process.communicate("\n", timeout=timeout_s)
        finally:
            process.kill()
    assert process.returncode == 0, errors
    return output


def _counts(sink: OtlpSink) -> Counter[int]:
    return Counter(int.from_bytes(span.span_id, "big") for span in sink.spans())


def test_events_of_the_parent_are_sent_once_and_each_child_sends_its_own(sink: OtlpSink, protocol: str) -> None:
    printed = _run(
        """
        exporter.export_events(events(2))            # sent before the fork: thread and connection exist
        assert exporter.force_flush(10_000)
        exporter.export_events(events(3, first=11))  # pending during the fork
        children = []
        for number in range(3):
            pid = os.fork()
            if not pid:
                assert exporter.delivery_stats.accepted == 0
                exporter.export_events(events(2, first=100 * (number + 1)))
                exporter.shutdown()
                assert exporter.delivery_stats.snapshot()["delivered"] == {"ok": 2}, exporter.delivery_stats.snapshot()
                os._exit(0)
            children.append(pid)
        assert [os.waitpid(pid, 0)[1] for pid in children] == [0, 0, 0]
        exporter.shutdown()
        print(exporter.delivery_stats.snapshot()["delivered"])
        """,
        sink,
        protocol,
    )
    assert printed == "{'ok': 5}\n"
    assert _counts(sink) == Counter([1, 2, 11, 12, 13, 100, 101, 200, 201, 300, 301])


def test_a_fork_during_a_request_blocks_neither_process(sink: OtlpSink, protocol: str) -> None:
    sink.answer_with(Reply(hang_s=1.0))
    _run(
        """
        exporter.export_events(events(2))
        threading.Thread(target=exporter.force_flush).start()
        sys.stdin.readline()  # the request has arrived
        pid = os.fork()
        if not pid:
            exporter.export_events(events(1, first=100))
            exporter.shutdown()
            os._exit(exporter.delivery_stats.count("delivered") - 1)
        assert os.waitpid(pid, 0)[1] == 0
        exporter.shutdown()
        assert exporter.delivery_stats.count("delivered") == 2
        """,
        sink,
        protocol,
        before_input=lambda: sink.wait_for(1),
    )
    assert _counts(sink) == Counter([1, 2, 100])


@pytest.mark.parametrize("moment", ["import", "send"])
def test_a_fork_while_the_protocol_is_imported_or_connects_blocks_neither_process(
    sink: OtlpSink, protocol: str, moment: str
) -> None:
    _run(
        """
        from infraprism.exporter import delivery

        reached = {"import": threading.Event(), "send": threading.Event()}
        connect = delivery.connect
        def watched(settings):
            reached["import"].set()
            sender = connect(settings)
            send = sender.send
            def watched_send(request, timeout_s):
                reached["send"].set()
                return send(request, timeout_s)
            sender.send = watched_send
            return sender
        delivery.connect = watched

        exporter.export_events(events(2))
        threading.Thread(target=exporter.force_flush).start()
        assert reached[sys.argv[3]].wait(10)
        pid = os.fork()
        if not pid:
            exporter.export_events(events(1, first=100))
            exporter.shutdown()
            os._exit(exporter.delivery_stats.count("delivered") - 1)
        assert os.waitpid(pid, 0)[1] == 0
        exporter.shutdown()
        """,
        sink,
        protocol,
        moment,
    )
    assert _counts(sink) == Counter([1, 2, 100])


def test_a_child_of_a_parent_that_was_shut_down_drops_events(sink: OtlpSink, protocol: str) -> None:
    _run(
        """
        exporter.shutdown()
        pid = os.fork()
        if not pid:
            exporter.export_events(events(1))
            os._exit(exporter.delivery_stats.count("dropped", "shutdown") - 1)
        assert os.waitpid(pid, 0)[1] == 0
        """,
        sink,
        protocol,
    )
    assert sink.requests == []


def test_workers_of_multiprocessing_send_their_own_events(sink: OtlpSink, protocol: str) -> None:
    _run(
        """
        import multiprocessing

        def work(number):
            exporter.export_events(events(1, first=number))
            return exporter.force_flush(10_000)

        exporter.export_events(events(1))
        assert exporter.force_flush(10_000)
        with multiprocessing.get_context("fork").Pool(2) as pool:
            assert all(pool.map(work, range(10, 20)))
        """,
        sink,
        protocol,
    )
    assert _counts(sink) == Counter([1, *range(10, 20)])


def test_a_process_of_multiprocessing_sends_its_queued_events_at_exit(sink: OtlpSink, protocol: str) -> None:
    _run(
        """
        import multiprocessing

        process = multiprocessing.get_context("fork").Process(target=lambda: exporter.export_events(events(3)))
        process.start()
        process.join()
        """,
        sink,
        protocol,
    )
    assert _counts(sink) == Counter([1, 2, 3])


@pytest.mark.parametrize("end", ["", "sys.exit(0)"])
def test_the_queued_events_are_sent_at_exit(sink: OtlpSink, protocol: str, end: str) -> None:
    _run(f"exporter.export_events(events(3))\n{end}", sink, protocol)
    assert _counts(sink) == Counter([1, 2, 3])


def test_the_last_spans_of_a_provider_older_than_the_exporter_are_sent_at_exit(sink: OtlpSink, protocol: str) -> None:
    _run(
        """
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        provider = TracerProvider()
        late = InfraPrismSpanExporter(sys.argv[1], "ip-key", sys.argv[2])
        provider.add_span_processor(BatchSpanProcessor(late))
        call = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o", "gen_ai.usage.input_tokens": 5}
        provider.get_tracer("app").start_span("chat", attributes=call).end()
        """,
        sink,
        protocol,
    )
    assert len(sink.spans()) == 1


def test_the_exit_does_not_wait_for_an_endpoint_that_does_not_respond(sink: OtlpSink, protocol: str) -> None:
    sink.answer_by(lambda _count, _body: Reply(status=503, hang_s=30))
    _run(
        """
        from infraprism.exporter import span_exporter

        span_exporter.EXIT_TIMEOUT_MILLIS = 500
        exporter.export_events(events(3))
        """,
        sink,
        protocol,
        timeout_s=15,
    )


def test_instrumented_clients_do_not_record_export_requests(sink: OtlpSink, protocol: str) -> None:
    printed = _run(
        """
        from opentelemetry import context
        from opentelemetry.instrumentation.utils import is_http_instrumentation_enabled, is_instrumentation_enabled
        from infraprism.exporter import delivery

        seen = []
        connect = delivery.connect
        def watched(settings):
            seen.append((is_instrumentation_enabled(), is_http_instrumentation_enabled()))
            return connect(settings)
        delivery.connect = watched
        exporter.export_events(events(1))
        assert exporter.force_flush(10_000)
        print(seen, is_instrumentation_enabled())
        """,
        sink,
        protocol,
    )
    assert printed == "[(False, False)] True\n"


def test_creating_an_exporter_imports_no_protocol() -> None:
    code = """
        import sys
        from infraprism.exporter import InfraPrismSpanExporter
        InfraPrismSpanExporter(api_key="ip-key").shutdown()
        heavy = {"grpc", "requests", "urllib3", "http.client", "google.protobuf", "opentelemetry.proto"}
        print(sorted(heavy & set(sys.modules)))
    """
    finished = subprocess.run(
        [sys.executable, "-c", dedent(code)], capture_output=True, text=True, timeout=30, check=True
    )
    assert finished.stdout == "[]\n"
