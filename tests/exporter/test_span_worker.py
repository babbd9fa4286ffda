"""Spans that the exporter receives from another span processor, at the exit of a process."""

from __future__ import annotations

import subprocess
import sys
from textwrap import dedent

import pytest
from tests.kit.otlp_sink import OtlpSink

SCRIPT = """
    import multiprocessing, sys
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from infraprism.exporter import InfraPrismSpanExporter
    from tests.kit.spans import CALL

    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(InfraPrismSpanExporter(sys.argv[1], "ip-key", sys.argv[2])))

    def call():
        provider.get_tracer("app").start_span("chat", attributes=CALL).end()
"""
EXITS = {
    "exit": "call()",
    "multiprocessing": """
    process = multiprocessing.get_context("fork").Process(target=call)
    process.start()
    process.join()
""",
}


@pytest.mark.parametrize("code", EXITS.values(), ids=EXITS)
def test_calls_that_are_queued_or_held_at_process_exit_are_sent(sink: OtlpSink, protocol: str, code: str) -> None:
    finished = subprocess.run(
        [sys.executable, "-W", "error", "-c", dedent(SCRIPT) + dedent(code), sink.endpoint, protocol],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    assert len(sink.spans()) == 1
