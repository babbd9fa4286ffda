"""Flush, shutdown, fork and process exit of the span processor."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
import time

from opentelemetry.sdk.trace.export import SpanExportResult
from tests.kit.spans import KeepsEvents, KeepsSpans, call, provider_with

from infraprism.processor import InfraPrismSpanProcessor


def test_a_flush_is_false_after_its_timeout_and_true_when_all_events_are_exported() -> None:
    blocked = threading.Event()

    def block() -> SpanExportResult:
        blocked.wait(10)
        return SpanExportResult.SUCCESS

    processor = InfraPrismSpanProcessor(KeepsSpans(block))
    call(provider_with(processor))
    began = time.monotonic()
    assert processor.force_flush(100) is False
    assert time.monotonic() - began < 5
    blocked.set()
    assert processor.force_flush(10_000) is True
    assert processor.delivery_stats.count("delivered") == 1
    processor.shutdown()


def test_a_flush_is_false_if_the_exporter_failed_to_flush() -> None:
    exporter = KeepsEvents()
    exporter.flushes = False
    processor = InfraPrismSpanProcessor(exporter)
    call(provider_with(processor))
    assert processor.force_flush(10_000) is False
    assert len(exporter.events) == 1
    processor.shutdown()


def test_a_flush_by_the_exporter_itself_is_false_at_once() -> None:
    results = []

    def flush() -> SpanExportResult:
        results.append(processor.force_flush(10_000))
        return SpanExportResult.SUCCESS

    processor = InfraPrismSpanProcessor(KeepsSpans(flush))
    call(provider_with(processor))
    assert processor.force_flush(10_000) is True
    assert results == [False]
    processor.shutdown()


def test_shutdown_exports_the_queued_calls_and_happens_once() -> None:
    exporter = KeepsEvents()
    processor = InfraPrismSpanProcessor(exporter)
    provider = provider_with(processor)
    call(provider)
    provider.shutdown()
    processor.shutdown()
    assert (len(exporter.events), exporter.shut_down) == (1, 1)
    call(provider_with(processor))
    assert processor.delivery_stats.snapshot()["dropped"] == {"shut_down": 1}
    assert processor.force_flush(100) is True


def test_shutdown_keeps_its_timeout_and_counts_the_spans_it_drops() -> None:
    blocked, entered = threading.Event(), threading.Event()

    def block() -> SpanExportResult:
        entered.set()
        blocked.wait(20)
        return SpanExportResult.FAILURE

    processor = InfraPrismSpanProcessor(KeepsSpans(block))
    provider = provider_with(processor)
    call(provider)
    assert entered.wait(10)
    call(provider)
    call(provider)
    began = time.monotonic()
    processor.shutdown(200)
    assert time.monotonic() - began < 5
    assert processor.delivery_stats.snapshot()["dropped"] == {"shut_down": 2}
    blocked.set()


def test_a_processor_without_calls_has_no_thread_and_shuts_its_exporter_down() -> None:
    exporter = KeepsSpans()
    threads = threading.enumerate()
    processor = InfraPrismSpanProcessor(exporter)
    provider_with(processor).get_tracer("test").start_span("GET").end()
    assert set(threading.enumerate()) <= set(threads)
    assert processor.force_flush(100) is True
    processor.shutdown()
    assert exporter.shut_down == 1


def run_script(source: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:__main__", "-c", textwrap.dedent(source)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return sorted(done.stdout.splitlines())


def test_after_a_fork_each_process_exports_its_own_calls() -> None:
    lines = run_script(
        """
        import os
        from infraprism.processor import InfraPrismSpanProcessor
        from infraprism.attribution.scope import attribution
        from tests.kit.spans import KeepsEvents, provider_with, CALL

        exporter = KeepsEvents()
        processor = InfraPrismSpanProcessor(exporter)
        tracer = provider_with(processor).get_tracer("test")

        def call(name):
            with attribution(customer=name):
                tracer.start_span("chat", attributes=CALL).end()

        call("before")
        assert processor.force_flush(10_000)
        call("pending")
        with attribution(customer="across"):
            across = tracer.start_span("chat", attributes=CALL)
        pid = os.fork()
        if pid == 0:
            call("child")
            across.end()
            seen = len(exporter.events)
            assert processor.force_flush(10_000)
            counts = processor.delivery_stats.snapshot()["events"]
            text = f"child {[e.entity_id for e in exporter.events[seen:]]} {counts}\\n"
            os.write(1, text.encode())
            os._exit(0)
        os.waitpid(pid, 0)
        call("parent")
        processor.shutdown()
        os.write(1, f"parent {[e.entity_id for e in exporter.events]}\\n".encode())
        """
    )
    assert lines == [
        "child ['child', 'across'] {'accepted': 2, 'pending': 0}",
        "parent ['before', 'pending', 'parent']",
    ]


def test_at_process_exit_the_queued_calls_are_exported() -> None:
    lines = run_script(
        """
        from opentelemetry.sdk.trace import TracerProvider
        from infraprism.processor import InfraPrismSpanProcessor
        from tests.kit.spans import CALL, KeepsEvents

        class Prints(KeepsEvents):
            def shutdown(self, timeout_millis=5000):
                print(len(self.events), flush=True)

        provider = TracerProvider()
        provider.add_span_processor(InfraPrismSpanProcessor(Prints()))
        provider.get_tracer("test").start_span("chat", attributes=CALL).end()
        """
    )
    assert lines == ["1"]
