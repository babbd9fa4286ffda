"""A preview prints the events that would be sent, and sends none."""

from __future__ import annotations

import io
import json
import sys

import pytest
from tests.kit.events import event, events
from tests.kit.otlp_sink import OtlpSink

from infraprism.exporter import InfraPrismSpanExporter
from infraprism.schema.wire import attributes


@pytest.mark.parametrize("switch", [{"INFRAPRISM_PREVIEW": "1"}, {"INFRAPRISM_PROTOCOL": "preview"}])
def test_each_event_is_printed_as_one_line_of_otlp_json(
    switch: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in switch.items():
        monkeypatch.setenv(name, value)
    with OtlpSink() as sink:
        exporter = InfraPrismSpanExporter(sink.endpoint, "ip-key")
        found = event(255, success=False, error_type="timeout", tags={"feature": "\u00fcber"}, reasoning_tokens=5)
        exporter.export_events([found, event(2)])
        assert exporter.force_flush()
        exporter.shutdown()
        assert sink.requests == []
    printed = capsys.readouterr()
    assert printed.out == ""
    lines = [json.loads(line) for line in printed.err.splitlines()]
    assert len(lines) == 2
    first = lines[0]
    assert set(first) == {
        "traceId",
        "spanId",
        "name",
        "kind",
        "startTimeUnixNano",
        "endTimeUnixNano",
        "attributes",
        "status",
    }
    assert (first["traceId"], first["spanId"]) == (f"{255:032x}", f"{255:016x}")
    assert (first["kind"], first["status"]) == (3, {"code": 2})
    values = {pair["key"]: next(iter(pair["value"].values())) for pair in first["attributes"]}
    expected = {key: value if isinstance(value, bool | str) else str(value) for key, value in attributes(found).items()}
    assert values == expected
    assert exporter.delivery_stats.snapshot()["dropped"] == {"preview": 2}


def test_a_preview_needs_no_key_and_prints_the_opt_in_fields_that_would_be_sent(
    capsys: pytest.CaptureFixture[str],
) -> None:
    exporter = InfraPrismSpanExporter(preview=True, usage_detail=True)
    exporter.export_events([event(1, reasoning_tokens=5)])
    exporter.shutdown()
    assert "infraprism.usage.reasoning_tokens" in capsys.readouterr().err


def test_a_closed_stderr_raises_nothing_in_the_application(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = io.StringIO()
    closed.close()
    exporter = InfraPrismSpanExporter(preview=True)
    for stream in (closed, None):
        monkeypatch.setattr(sys, "stderr", stream)
        exporter.export_events(events(2))
    monkeypatch.undo()
    exporter.shutdown()
    counted = exporter.delivery_stats.snapshot()
    assert counted["dropped"] == {"preview": 4}
    assert counted["errors"] == {"exporter.preview": 2}
