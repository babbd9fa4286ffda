"""A pytest plugin for the vendors' tests: writes down every outcome, and observes the calls if it is asked to.

`INFRAPRISM_VENDOR_REPORTS` is the folder that each process writes its findings to. With `INFRAPRISM_VENDOR_OBSERVE=1`
every process is instrumented before it imports a test, and counts the spans that it sees.
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
OBSERVED = os.environ.get("INFRAPRISM_VENDOR_OBSERVE") == "1"


class Count(SpanExporter):
    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        SPANS.update("failed" if span.attributes and "error.type" in span.attributes else "answered" for span in spans)
        return SpanExportResult.SUCCESS


def pytest_configure() -> None:
    if OBSERVED:
        from infraprism.instrumentation import instrument, status  # noqa: PLC0415 - not in the runs without

        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(Count()))
        instrument(provider)
        if not any(package.instrumented for package in status()):
            pytest.exit("nothing was instrumented", returncode=3)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    # Passed means that all three phases did; the first other outcome is the one that counts.
    if OUTCOMES.get(report.nodeid, "passed") == "passed":
        OUTCOMES[report.nodeid] = report.outcome


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.failed:
        OUTCOMES[report.nodeid] = "failed"


def pytest_unconfigure() -> None:
    findings: dict[str, dict[str, int] | dict[str, str]] = {"outcomes": OUTCOMES, "spans": SPANS}
    if OBSERVED:
        from infraprism.instrumentation.llm_call import delivery_stats  # noqa: PLC0415 - not in the runs without

        findings["errors"] = delivery_stats.snapshot()["errors"]
    # Under xdist the first process gathers the outcomes, and the others make the calls.
    name = os.environ.get("PYTEST_XDIST_WORKER", "first")
    (Path(os.environ["INFRAPRISM_VENDOR_REPORTS"]) / f"{name}.json").write_text(json.dumps(findings))
