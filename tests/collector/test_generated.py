"""The committed configuration is what the tables say today, and a table cannot say what nobody has a guard for."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from collector.generator import config_text, json_counts, keys
from collector.generator.families import Families
from collector.generator.guards import ALL_COUNTS
from collector.generator.ottl import COUNTS
from collector.generator.ottl import text as text_in_ottl
from collector.generator.statements import Lists
from hypothesis import given
from hypothesis import strategies as st
from tests.collector.conftest import QUICK
from tests.collector.payloads import JSON_DIALECT, JSON_TEXT
from tests.kit.collector import CONFIG, Collector, Config, eventually, load
from tests.kit.otlp_canaries import CANARY, PROMPT, span, traces
from tests.kit.otlp_sink import OtlpSink
from tests.kit.otlp_spans import attributes

from infraprism.dialects import DIALECTS
from infraprism.dialects.semconv import SEMCONV
from infraprism.dialects.table import As
from infraprism.schema import fields
from infraprism.schema.fields import MAX_TOKENS

USAGE = JSON_TEXT


def test_the_configuration_is_what_the_tables_say() -> None:
    assert CONFIG.read_text(encoding="utf-8") == config_text(), "run `make collector-config`"


def test_two_variables_are_enough() -> None:
    needed = re.findall(r"\$\{env:(\w+)\}", CONFIG.read_text(encoding="utf-8"))
    assert set(needed) == {"INFRAPRISM_ENDPOINT", "INFRAPRISM_API_KEY"}


def test_an_error_of_a_statement_never_lets_a_span_through() -> None:
    processors = {name: made for name, made in load()["processors"].items() if name.startswith(("transform", "filter"))}
    assert len(processors) == 7
    for processor in processors.values():
        assert processor["error_mode"] == "propagate"
        for group in (*processor.get("trace_statements", ()), *processor.get("trace_conditions", ())):
            assert "error_mode" not in group


def test_the_gate_is_last_and_every_key_that_may_leave_is_checked_before_it() -> None:
    config = load()
    assert config["service"]["pipelines"]["traces/infraprism"]["processors"][-2:] == ["transform/check", "filter/gate"]
    statements = [
        statement
        for group in config["processors"]["transform/check"]["trace_statements"]
        for statement in group["statements"]
    ]
    counted = [one for one in statements if one.startswith('keep_keys(span.cache["counts"], [')]
    for key in Lists().exact:
        guard = f'set(span.name, "refused") where span.attributes["{key}"] != nil and not ('
        assert any(one.startswith(guard) for one in statements) or any(f'"{key}"' in one for one in counted), key
    of_all_counts = f'set(span.name, "refused") where not IsMatch(Values({COUNTS}), {text_in_ottl(ALL_COUNTS)})'
    assert statements.count(of_all_counts.replace("$", "$$")) == len(counted) > 1


@pytest.mark.parametrize("counts", [[], [0], [1, 2], [MAX_TOKENS], [0, MAX_TOKENS, 7]])
def test_a_list_of_counts_passes_the_check(counts: list[int]) -> None:
    assert re.search(ALL_COUNTS, json.dumps(counts, separators=(",", ":")))


@pytest.mark.parametrize("other", [MAX_TOKENS + 1, 10**17, -1, 1.5, "7", "", None, True, [7], {}, {"a": 7}])
def test_a_list_with_anything_but_counts_does_not(other: object) -> None:
    for values in ([other], [1, other], [other, 1], [1, other, 2]):
        assert not re.search(ALL_COUNTS, json.dumps(values, separators=(",", ":")))


def test_a_span_is_checked_against_the_keys_of_its_own_family_alone() -> None:
    families = Families(DIALECTS)
    assert len(families.special) > len(Lists().exact) / 2
    for dialect, mark in zip(DIALECTS, families.marks, strict=True):
        reads = {*dialect.slots, *dialect.marker_keys(), *dialect.json_texts}
        assert reads & families.special == families.keys[mark] & reads, dialect.name


def test_every_field_and_every_key_of_the_tables_may_leave_and_nothing_else() -> None:
    tables = {
        name
        for dialect in DIALECTS
        for field in dialect.keys.keys() - keys.NEVER
        for name in keys.keys_of(field, dialect)
    }
    tables |= {key for dialect in DIALECTS for key in dialect.marker_keys()}
    events = {field.key for field in fields.FIELDS if field.kind != "tags"}
    assert set(Lists().exact) == tables | events | {"exception.type"}


def test_nothing_that_could_show_content_is_configured() -> None:
    config = load()
    components = {name.partition("/")[0] for kind in ("receivers", "exporters", "extensions") for name in config[kind]}
    assert components == {"otlp", "otlp_http", "nop", "health_check", "file_storage", "bearertokenauth"}
    assert "include_metadata" not in CONFIG.read_text(encoding="utf-8").partition("extensions:")[2]
    assert config["service"]["telemetry"]["logs"]["level"] == "info"


def test_a_field_that_nobody_has_a_guard_for_is_refused() -> None:
    odd = replace(SEMCONV, keys={**SEMCONV.keys, "web_searches": (As("some.key", lambda value: value),)})
    with pytest.raises(LookupError, match=r"some\.key"):
        config_text([odd])


def _json_route(folder: Path, texts: list[str]) -> list[dict[str, object]]:
    config: Config = yaml.safe_load(config_text([JSON_DIALECT]))
    base = {"langfuse.observation.type": "generation", "langfuse.observation.model.name": "gpt-4o"}
    with OtlpSink() as sink, Collector(folder, sink.endpoint, config, QUICK) as collector:
        taken, answer = collector.send(traces([span({**base, USAGE: text}) for text in texts], scope="langfuse-sdk"))
        assert taken, answer
        assert eventually(lambda: len(sink.spans()) == len(texts))
        assert CANARY.encode() not in sink.seen()
        found = {one.span_id: attributes(one.attributes) for one in sink.spans()}
        return [{key: value for key, value in found[key].items() if key not in base} for key in sorted(found)]


def test_usage_in_a_json_text_becomes_whole_numbers_and_the_text_stays_behind(tmp_path: Path) -> None:
    raw = {
        "completion_tokens": 37,
        "prompt_tokens": 111,
        "prompt_tokens_details": {"audio_tokens": 0, "cached_tokens": 40},
    }
    read = {
        f"{USAGE}.prompt_tokens": 111,
        f"{USAGE}.prompt_tokens_details.cached_tokens": 40,
        f"{USAGE}.completion_tokens": 37,
    }
    expected: dict[str, dict[str, object]] = {
        json.dumps(raw): read,
        json.dumps(raw, indent=2): read,
        json.dumps({**raw, "service_tier": CANARY, "list": [{"modality": CANARY, "count": 1}]}): read,
        '{"input": 9}': {f"{USAGE}.input": 9},
        '{"input": 9.0, "output": 1e3}': {f"{USAGE}.input": 9, f"{USAGE}.output": 1000},
        '{"input": 9.5, "output": -1, "prompt_tokens": 1000000000001}': {},
        f'{{"input": "{CANARY}", "output": null, "prompt_tokens": [1], "prompt_tokens_details": 5}}': {},
        '{"prompt_tokens_details": {"cached_tokens": {"cached_tokens": 5}}}': {},
        # Texts that a parser would fail on, or that are too deep or too long to be usage.
        '{"input": 9': {},
        '{"input": 9,}': {},
        '{"input": 09}': {},
        '{"input": 1e999}': {},
        '{"input": NaN}': {},
        '{"input": 9} {"input": 9}': {},
        '["input"]': {},
        '"input"': {},
        "": {},
        PROMPT: {},
        f'{{"{PROMPT}": 9}}': {},
        '{"a": ' * 50 + "1" + "}" * 50: {},
        '{"input": 9, "a": "' + "x" * 5000 + '"}': {},
        '{"input": 9, "\\ud800": 1}': {f"{USAGE}.input": 9},
        '{"input": 9, "a": "say \\"no\\" \\\\"}': {f"{USAGE}.input": 9},
        "{'input': 9, 'a': None, 'b': True}": {f"{USAGE}.input": 9},
        "{'input': 9, 'a': \"it's\"}": {},
    }
    assert _json_route(tmp_path, list(expected)) == list(expected.values())


_SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["\\", '"', "1e5"])
_VALUES = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
)


@given(st.text(alphabet='{}[]",:0123456789eE+-.atruflsn \\\n', max_size=40) | _VALUES.map(json.dumps))
def test_a_text_is_only_parsed_if_it_is_json(text: str) -> None:
    if re.match(json_counts.OBJECT, text) and _reduced(text) == json_counts.WHOLE:
        json.loads(text, parse_constant=_refuse)


def _reduced(text: str) -> str:
    """The text as the collector reduces it: RE2 and Python read these patterns alike."""
    for pattern, mark in json_counts.REDUCTIONS:
        text = re.sub(pattern.replace(r"\x{fffd}", r"\ufffd"), mark, text)
    return text


def test_usage_as_providers_write_it_is_parsed() -> None:
    deep = {"a": {"b": [{"c": {"d": [1, -2.5, 1e-7, True, None, "x"]}}]}, "": {}, "e": []}
    assert _reduced(json.dumps(deep)) == _reduced(json.dumps(deep, indent=2)) == json_counts.WHOLE


def _refuse(constant: str) -> None:
    raise AssertionError(constant)


def test_a_missing_variable_stops_the_collector_when_it_starts(tmp_path: Path) -> None:
    for name in ("INFRAPRISM_API_KEY", "INFRAPRISM_ENDPOINT"):
        collector = Collector(tmp_path / name, "http://localhost:1")
        collector.environment[name] = ""
        with pytest.raises(AssertionError, match=r"no bearer token provided|at least one endpoint must be specified"):
            collector.start()
