"""A stream without usage that another instrumentation reports is one line of the log of the process."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from tests.kit.spans import CALL, KeepsEvents, provider_with

from infraprism.processor import InfraPrismSpanProcessor
from infraprism.schema import settings

WITHOUT_USAGE = {name: value for name, value in CALL.items() if ".usage." not in name}
STREAM = {**WITHOUT_USAGE, "gen_ai.request.stream": True}


@pytest.mark.parametrize(
    ("attributes", "lines"),
    [
        (STREAM, 1),
        ({**WITHOUT_USAGE, "llm.request.type": "chat", "llm.is_streaming": True}, 1),
        (WITHOUT_USAGE, 0),
        ({**CALL, "gen_ai.request.stream": True}, 0),
        ({**STREAM, "gen_ai.provider.name": "anthropic", "gen_ai.request.model": "claude-haiku-4-5"}, 0),
        ({**STREAM, "error.type": "RateLimitError"}, 0),
    ],
    ids=["semconv", "openllmetry", "no stream", "with usage", "another API", "failed"],
)
def test_a_stream_without_usage_of_another_instrumentation_is_logged_once(
    attributes: dict[str, Any], lines: int, caplog: pytest.LogCaptureFixture
) -> None:
    settings.logged.clear()
    exporter = KeepsEvents()
    processor = InfraPrismSpanProcessor(exporter)
    provider = provider_with(processor)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            provider.get_tracer("opentelemetry.instrumentation.openai.v1").start_span(
                "chat", attributes=attributes
            ).end()
        processor.shutdown()
    assert len(exporter.events) == 3
    found = [record.getMessage() for record in caplog.records if record.name == "infraprism.stream_usage"]
    assert len(found) == lines
    assert all("stream_options={'include_usage': True}" in line for line in found)
