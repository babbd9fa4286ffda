"""The committed configuration follows from the tables, is small enough to review, and fails closed."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from collector.generator import config_text
from collector.generator.allowed import Allowed
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from tests.collector.conftest import QUICK, Route
from tests.kit.collector import CONFIG, Collector, eventually, load
from tests.kit.otlp_canaries import CANARY, PROMPT, export_request, span
from tests.kit.otlp_sink import OtlpSink
from tests.kit.otlp_spans import attributes

from infraprism.dialects import DIALECTS
from infraprism.dialects.guards import GUARDS
from infraprism.dialects.values import UNPRICED
from infraprism.schema import fields

USAGE = "langfuse.observation.usage_details"
MAX_BYTES = 90_000
MAX_LINES = 500


def test_the_configuration_is_what_the_tables_determine() -> None:
    assert CONFIG.read_text(encoding="utf-8") == config_text(DIALECTS), "run `make collector-config`"


def test_the_configuration_is_small_enough_to_be_reviewed() -> None:
    text = CONFIG.read_text(encoding="utf-8")
    assert len(text.encode()) < MAX_BYTES
    assert text.count("\n") < MAX_LINES


def test_two_variables_are_enough() -> None:
    needed = re.findall(r"\$\{env:(\w+)\}", CONFIG.read_text(encoding="utf-8"))
    assert set(needed) == {"INFRAPRISM_ENDPOINT", "INFRAPRISM_API_KEY"}


def test_an_error_of_a_statement_rejects_the_request_everywhere_but_where_usage_is_parsed() -> None:
    processors = {name: made for name, made in load()["processors"].items() if name.startswith(("transform", "filter"))}
    modes = {name: processor["error_mode"] for name, processor in processors.items()}
    assert {name for name, mode in modes.items() if mode != "propagate"} == {"transform/read_usage"}
    for processor in processors.values():
        for group in (*processor.get("trace_statements", ()), *processor.get("trace_conditions", ())):
            assert "error_mode" not in group


def test_a_statement_of_the_allow_list_that_fails_forwards_nothing(tmp_path: Path) -> None:
    config = load()
    groups = config["processors"]["transform/allow"]["trace_statements"]
    fails = 'set(span.name, ParseJSON("not JSON")) where span.kind == SPAN_KIND_CLIENT'
    sent = [span({**CALL_WITH_PROMPT}), span({**CALL_WITH_PROMPT})]
    for group in (group for group in groups if group["context"] == "span"):
        for place in (0, len(group["statements"])):
            group["statements"].insert(place, fails)
            with OtlpSink() as sink, Collector(tmp_path, sink.endpoint, config, QUICK) as collector:
                taken, answer = collector.send(export_request(sent))
                assert not taken
                assert CANARY.encode() not in answer
                assert collector.send(export_request([span(CALL_WITH_PROMPT, kind=Span.SPAN_KIND_INTERNAL)]))[0]
                assert eventually(lambda sink=sink: len(sink.spans()) == 1)  # type: ignore[misc]
                assert CANARY.encode() not in sink.seen()
                assert CANARY not in collector.log()
            group["statements"].remove(fails)


CALL_WITH_PROMPT: dict[str, Any] = {
    "gen_ai.operation.name": "chat",
    "gen_ai.request.model": "gpt-4o-mini",
    "gen_ai.prompt": PROMPT,
    "error.type": "x",
}


def test_where_errors_are_passed_over_a_failing_statement_leaves_no_content(tmp_path: Path) -> None:
    config = load()
    for group in config["processors"]["transform/read_usage"]["trace_statements"]:
        group["statements"] = [f for one in group["statements"] for f in ('set(span.name, ParseJSON("no"))', one)]
    with OtlpSink() as sink, Collector(tmp_path, sink.endpoint, config, QUICK) as collector:
        assert collector.send(export_request([span({**CALL_WITH_PROMPT, "llm.usage": PROMPT, USAGE: PROMPT})]))[0]
        assert eventually(lambda: len(sink.spans()) == 1)
        assert CANARY.encode() not in sink.seen()
        assert CANARY not in collector.log()


def test_every_key_that_may_be_forwarded_is_in_the_allow_list_once_and_in_the_list_of_the_redaction_processor() -> None:
    config = load()
    events = {field.key for field in fields.FIELDS if field.kind != "tags"}
    listed = config["processors"]["redaction/allow_list"]["allowed_keys"]
    assert sorted(listed) == sorted({*GUARDS, *events})
    groups = config["processors"]["transform/allow"]["trace_statements"]
    statements = [statement for group in groups for statement in group["statements"]]
    lists = [one for one in dict.fromkeys(statements) if one.startswith('keep_keys(span.cache["block"], [')]
    attribution = {"infraprism.entity_type", "infraprism.entity_id", "infraprism.session_id"}
    in_main = [key for key in sorted({*listed} - attribution) if sum(f'"{key}"' in one for one in lists) >= 1]
    assert in_main == sorted({*listed} - attribution)


def test_the_redaction_processor_and_the_gate_come_last() -> None:
    names = load()["service"]["pipelines"]["traces/infraprism"]["processors"]
    assert names[-2:] == ["redaction/allow_list", "filter/gate"]


def test_nothing_that_could_show_content_is_configured() -> None:
    config = load()
    components = {name.partition("/")[0] for kind in ("receivers", "exporters", "extensions") for name in config[kind]}
    assert components == {"otlp", "otlp_http", "nop", "health_check", "file_storage", "bearertokenauth"}
    assert "include_metadata" not in CONFIG.read_text(encoding="utf-8").partition("extensions:")[2]
    assert config["service"]["telemetry"]["logs"]["level"] == "info"


RAW = {"completion_tokens": 37, "prompt_tokens": 111, "prompt_tokens_details": {"audio_tokens": 0, "cached_tokens": 40}}
READ = {
    f"{USAGE}.prompt_tokens_details.audio_tokens": 0,
    f"{USAGE}.prompt_tokens": 111,
    f"{USAGE}.prompt_tokens_details.cached_tokens": 40,
    f"{USAGE}.completion_tokens": 37,
}
UNKNOWN: dict[str, object] = {UNPRICED: True}
"""Of a number in an unknown field only the fact is forwarded."""
TEXTS: dict[str, dict[str, object]] = {
    json.dumps(RAW): READ,
    json.dumps(RAW, indent=2): READ,
    json.dumps({**RAW, "list": [{"modality": CANARY, "count": 1}]}): READ,
    '{"input": 9}': {f"{USAGE}.input": 9},
    '{"input": 9.0, "output": 1e3}': {f"{USAGE}.input": 9, f"{USAGE}.output": 1000},
    '{"input": 9.5, "output": -1, "prompt_tokens": 1000000000001}': {},
    f'{{"input": "{CANARY}", "output": null, "prompt_tokens": [1], "prompt_tokens_details": 5}}': UNKNOWN,
    '{"prompt_tokens_details": {"cached_tokens": {"cached_tokens": 5}}}': {},
    # Texts that are no JSON, or are too long to be usage.
    '{"input": 9': {},
    '{"input": 9,}': {},
    '{"input": 09}': {f"{USAGE}.input": 9},  # the collector's parser takes leading zeros
    '{"input": 1e999}': {},
    '{"input": NaN}': {},
    '{"input": 9} {"input": 9}': {},
    '["input"]': {},
    '"input"': {},
    "": {},
    PROMPT: {},
    f'{{"{PROMPT}": 9}}': UNKNOWN,
    '{"a": ' * 50 + "1" + "}" * 50: UNKNOWN,
    '{"input": 9, "a": "' + "x" * 5000 + '"}': {},
    '{"input": 9, "\\ud800": 1}': {f"{USAGE}.input": 9, **UNKNOWN},
    '{"input": 9, "a": "with \\"quotes\\" \\\\"}': {f"{USAGE}.input": 9},
    "{'input': 9, 'a': None, 'b': True}": {f"{USAGE}.input": 9},
    "{'input': 9, 'a': \"it's\"}": {},
}


def test_usage_in_a_json_text_becomes_numbers_and_the_text_is_not_forwarded(route: Route) -> None:
    base = {"langfuse.observation.type": "generation", "langfuse.observation.model.name": "gpt-4o"}
    sent = [span({**base, USAGE: text}) for text in TEXTS]
    arrived = {
        one.span_id: attributes(one.attributes)
        for group in route.through(export_request(sent, "langfuse-sdk"))
        for one in group.spans
    }
    found = [arrived[one.span_id] for one in sent]
    numbers = [{key: value for key, value in one.items() if key not in base and value != ""} for one in found]
    assert [_counted(one) for one in numbers] == list(TEXTS.values())
    assert CANARY not in str(found)


def _counted(found: dict[str, object]) -> dict[str, object]:
    """Next to a number that is no count, the others are texts of digits."""
    return {key: int(value) if isinstance(value, str) else value for key, value in found.items()}


def test_a_missing_variable_stops_the_collector_when_it_starts(tmp_path: Path) -> None:
    for name in ("INFRAPRISM_API_KEY", "INFRAPRISM_ENDPOINT"):
        collector = Collector(tmp_path / name, "http://localhost:1")
        collector.environment[name] = ""
        with pytest.raises(AssertionError, match=r"no bearer token provided|at least one endpoint must be specified"):
            collector.start()


def test_a_configuration_for_one_dialect_has_its_keys_alone() -> None:
    one = [dialect for dialect in DIALECTS if dialect.name == "semconv"]
    assert set(Allowed(one).keys) < set(Allowed(DIALECTS).keys)
    assert len(config_text(one)) < 60_000
