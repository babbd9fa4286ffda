"""A pytest plugin for the vendors' tests: records every outcome, and instruments the calls on request.

`INFRAPRISM_VENDOR_REPORTS` is the folder to which each process writes its report. With `INFRAPRISM_VENDOR_INSTRUMENT=1`
every process is instrumented before it imports a test, and counts its spans.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

OUTCOMES: dict[str, str] = {}
SPANS: Counter[str] = Counter()
INSTRUMENTED = os.environ.get("INFRAPRISM_VENDOR_INSTRUMENT") == "1"


class Count(SpanExporter):
    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        SPANS.update("failed" if span.attributes and "error.type" in span.attributes else "succeeded" for span in spans)
        return SpanExportResult.SUCCESS


def pytest_configure() -> None:
    if INSTRUMENTED:
        from infraprism.instrumentation import instrument, status  # noqa: PLC0415 - not in the other runs

        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(Count()))
        instrument(provider)
        if not any(package.instrumented for package in status()):
            pytest.exit("nothing was instrumented", returncode=3)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    # A test passed if all three phases passed. The first other outcome is recorded.
    if OUTCOMES.get(report.nodeid, "passed") == "passed":
        OUTCOMES[report.nodeid] = report.outcome


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.failed:
        OUTCOMES[report.nodeid] = "failed"


def pytest_unconfigure() -> None:
    report_data: dict[str, dict[str, int] | dict[str, str]] = {"outcomes": OUTCOMES, "spans": SPANS}
    if INSTRUMENTED:
        from infraprism.instrumentation.llm_call import delivery_stats  # noqa: PLC0415 - not in the other runs

        report_data["errors"] = delivery_stats.snapshot()["errors"]
    # With xdist the controller collects the outcomes, and the workers make the calls.
    name = os.environ.get("PYTEST_XDIST_WORKER", "first")
    (Path(os.environ["INFRAPRISM_VENDOR_REPORTS"]) / f"{name}.json").write_text(json.dumps(report_data))
