"""Only fields of the field table are exported: for every route and both protocols, by a search of the bytes.

An application (app.py) puts a canary into every field of every request, the local provider into every response and
error, and third-party spans contain it in every field of a span. Then everything that leaves the process is searched:
the bytes at the endpoint, our logs, and the files of the store.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from tests.kit.otlp_sink import OtlpSink
from tests.kit.search import find_canaries
from tests.leaks import app
from tests.leaks.runs import CANARIES, PROTOCOLS, Ran, complete, run_app

ROUTES = ["processor", "exporter", "zero_code"]


@dataclass(frozen=True)
class Sent:
    """One run, and what the endpoint received of it."""

    ran: Ran
    received: bytes
    spans: list[Span]


def run_to_sink(protocol: str, route: str, **environment: str) -> Sent:
    with OtlpSink(protocol) as sink:
        ran = run_app(
            route,
            INFRAPRISM_ENDPOINT=sink.endpoint,
            INFRAPRISM_PROTOCOL=protocol,
            INFRAPRISM_API_KEY="ip-test-key-of-the-leak-test",
            **environment,
        )
        return Sent(ran, sink.seen(), sink.spans())


@cache
def sent_by(route: str, protocol: str) -> Sent:
    """One run, shared by the tests."""
    return run_to_sink(protocol, route)


def fields_of(span: Span) -> dict[str, Any]:
    return {
        attribute.key: getattr(attribute.value, attribute.value.WhichOneof("value")) for attribute in span.attributes
    }


def facts(span: Span) -> tuple[Any, ...]:
    """The provider, tokens and outcome of an event."""
    field = fields_of(span).get
    return (
        field("infraprism.provider"),
        field("infraprism.input_tokens"),
        field("infraprism.output_tokens"),
        field("infraprism.success"),
        field("infraprism.error_code"),
    )


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("route", ROUTES)
def test_no_route_exports_a_canary(route: str, protocol: str) -> None:
    sent = sent_by(route, protocol)
    assert find_canaries(CANARIES, sent.received) == []


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("route", ROUTES)
def test_no_route_logs_a_canary(route: str, protocol: str) -> None:
    assert find_canaries(CANARIES, sent_by(route, protocol).ran.logs.encode()) == []


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("route", ROUTES)
def test_every_call_is_one_event_on_every_route(route: str, protocol: str) -> None:
    sent = sent_by(route, protocol)
    assert len(sent.spans) == len(sent.ran.records) + sent.ran.foreign
    assert len({(span.trace_id, span.span_id) for span in sent.spans}) == len(sent.spans)


@pytest.mark.parametrize("route", ROUTES)
def test_the_events_equal_the_billing_records_of_the_provider(route: str) -> None:
    sent = sent_by(route, "http/protobuf")
    # The third-party spans are not calls of the provider. They have a known trace id.
    arrived = Counter(facts(span) for span in sent.spans if span.trace_id != (1 << 100).to_bytes(16, "big"))
    assert complete(sent.ran.records) - arrived == Counter()
    assert arrived.total() == len(sent.ran.records)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_event_is_a_span_with_only_fields_of_the_table(protocol: str) -> None:
    for span in sent_by("processor", protocol).spans:
        assert span.status.message == ""
        assert span.trace_state == ""
        assert not span.events
        assert not span.links
        assert not span.parent_span_id
        assert all(key.startswith("infraprism.") for key in fields_of(span))
        assert re.fullmatch(r"[a-z]+ [A-Za-z0-9._:/@+-]+", span.name)


def test_the_search_finds_a_canary_that_is_exported_or_logged() -> None:
    sent = run_to_sink("http/protobuf", "processor", LEAK_A_CANARY="1")
    assert f"{app.CANARY} as plain" in find_canaries(CANARIES, sent.received)
    assert f"{app.CANARY} as plain" in find_canaries(CANARIES, sent.ran.logs.encode())


def test_the_applications_own_exporter_gets_the_same_spans_as_without_infraprism(tmp_path: Path) -> None:
    def exported(route: str, name: str, **environment: str) -> list[dict[str, Any]]:
        out = tmp_path / name
        run_app(route, USERS_OWN_EXPORT=str(out), **environment)
        text = out.read_text()
        decoder, spans, at = json.JSONDecoder(), [], 0
        while at < len(text.rstrip()):
            span, at = decoder.raw_decode(text, at)
            while at < len(text) and text[at].isspace():
                at += 1
            spans.append(span)
        return spans

    def foreign(spans: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Third-party spans, without values that differ between two runs."""
        varying = {"start_time", "end_time", "resource"}
        third_party = [span for span in spans if "CANARY" in span["name"]]
        for span in third_party:
            span["context"]["span_id"] = ""
            if not span["parent_id"]:
                span["context"]["trace_id"] = ""
            for event in span["events"]:
                event["timestamp"] = ""
        return [{key: value for key, value in span.items() if key not in varying} for span in third_party]

    with OtlpSink() as sink:
        environment = {"INFRAPRISM_ENDPOINT": sink.endpoint, "INFRAPRISM_API_KEY": "ip-test-key"}
        without, instrumented = exported("without", "without"), exported("processor", "with", **environment)
    assert foreign(instrumented) == foreign(without)
    assert len(foreign(without)) > 0
    ours = [
        span for span in instrumented if (span["attributes"] or {}).get("gen_ai.operation.name") and span not in without
    ]
    ours = [span for span in ours if "CANARY" not in span["name"] and not span["name"].startswith("anthropic.")]
    assert len(ours) > 0
    assert find_canaries(CANARIES, json.dumps([{**span, "resource": None} for span in ours]).encode()) == []
