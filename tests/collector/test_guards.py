"""The collector, the backend and ContentFreeSpanExporter forward the same values of every key of every dialect."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from collector.generator import config_text
from tests.collector.conftest import CALL, Route
from tests.kit.otlp_canaries import WORD, export_request, span
from tests.kit.otlp_spans import attributes

from infraprism.backend.span_conversion import span_allowlist
from infraprism.backend.span_conversion.cleaned_spans import cleaned_spans
from infraprism.dialects import DIALECTS
from infraprism.dialects.guards import GUARDS, NEVER, UNPRINTABLE, Guard, guards_of
from infraprism.dialects.semconv import SEMCONV
from infraprism.dialects.table import As, key_of
from infraprism.redaction import allowed_attributes

GOOD: dict[str, tuple[Any, ...]] = {
    "count": (0, 12, 12.0, 10**12, "12"),
    "number": (0, 1.5, "0.00012", True, False, "1E-5"),
    "presence": ("true",),
    "model": ("gpt-4o", "models/x@1+2", "x" * 128),
    "provider": ("openai", "azure.ai.inference", "OpenAI", "other"),
    "host": ("openai.com", "bedrock.eu-west-3.amazonaws.com", "eu.api.openai.com", "unknown-aiplatform.googleapis.com"),
    "tier": ("flex", "Default", "unknown"),
    "error": ("429", "_OTHER", "rate_limit_exceeded", "timeouterror"),
    "error_text": ("Error code: 429", "timeouterror: "),
    "fingerprint": ("0123456789abcdef" * 4,),
    "usage_parts": ("_/1:2:3:4:5", "//".join(["claude-opus-4-6/180000:3500:0:0:0"] * 9)),
    "operation": ("chat", "embeddings"),
    "word": ("error", "ERROR"),
    "entity_type": ("team",),
    "identifier": ("acme corp", "Ünïcödé 客户"),
}
BAD: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys(("count", "number", "presence", "provider", "host", "tier", "error", "error_text"), ("a b", WORD)),
    **dict.fromkeys(("operation", "word", "entity_type"), ("a b", WORD)),
    "model": ("a b", "x" * 129),
    "fingerprint": ("a b",),
    "usage_parts": ("a b", "_/1:2", "gpt-4o"),
    "identifier": ("zero\u200bwidth", "x" * 257),
}
ATTRIBUTION = {"infraprism.entity_type": "team", "infraprism.entity_id": "search"}
KEYS = sorted(GUARDS)


def _accepted_by_backend(key: str, value: object) -> bool:
    others = {name: good for name, good in CALL.items() if name != key}
    sent = export_request([span({**others, key: value}, name=span_allowlist.SPAN_NAME)])
    return not cleaned_spans(sent.resource_spans)[1]


def _cases(values: dict[str, tuple[Any, ...]]) -> list[tuple[str, Any]]:
    return [(key, value) for key in KEYS for value in values[GUARDS[key].kind]]


def test_every_value_that_the_guard_accepts_is_forwarded_as_it_is_by_all_three(route: Route) -> None:
    cases = _cases(GOOD)
    assert [case for case in cases if not GUARDS[case[0]].accepts(case[1])] == []
    assert [case for case in cases if not _accepted_by_backend(*case)] == []
    redacted = [case for case in cases if case[0] in allowed_attributes.GUARDS and GUARDS[case[0]].kind != "error"]
    kept = [allowed_attributes.kept({key: value}).get(key) for key, value in redacted]
    assert [(case, here) for case, here in zip(redacted, kept, strict=True) if here != case[1]] == []
    arrived = _through(route, cases)
    differing = [
        (key, value, there) for (key, value), there in zip(cases, arrived, strict=True) if not _same(value, there)
    ]
    assert differing == []


def test_no_value_that_the_guard_rejects_is_forwarded_as_it_is_by_any(route: Route) -> None:
    cases = _cases(BAD)
    assert [case for case in cases if GUARDS[case[0]].accepts(case[1])] == []
    assert [case for case in cases if _accepted_by_backend(*case)] == []
    arrived = _through(route, cases)
    assert [(case, there) for case, there in zip(cases, arrived, strict=True) if there == case[1]] == []
    wider = {"host", "operation", "word"}
    redacted = [case for case in cases if GUARDS[case[0]].kind not in wider and case[0] in allowed_attributes.GUARDS]
    assert [case for case in redacted if allowed_attributes.kept(dict([case])).get(case[0]) == case[1]] == []


def test_what_the_collector_writes_in_place_of_a_value_is_accepted_by_the_guard_and_the_backend(route: Route) -> None:
    cases = _cases(BAD)
    arrived = _through(route, cases)
    written = [(key, there) for (key, _), there in zip(cases, arrived, strict=True) if there is not None]
    assert len(written) > len(cases) / 2
    assert [case for case in written if not GUARDS[case[0]].accepts(case[1])] == []
    assert [case for case in written if not _accepted_by_backend(*case)] == []


def _through(route: Route, cases: list[tuple[str, Any]]) -> list[Any]:
    """What arrives under the key of each case."""
    sent = [span(_with(key, value)) for key, value in cases]
    arrived = {
        one.span_id: attributes(one.attributes) for group in route.through(export_request(sent)) for one in group.spans
    }
    return [arrived.get(one.span_id, {}).get(key) for one, (key, _) in zip(sent, cases, strict=True)]


def _with(key: str, value: object) -> dict[str, Any]:
    more = ATTRIBUTION if key.startswith("infraprism.entity") else {}
    return {**CALL, "gen_ai.operation.name": "chat", **more, key: value}


def _same(sent: object, arrived: object) -> bool:
    return arrived == sent and isinstance(arrived, bool) == isinstance(sent, bool)


def test_every_key_of_the_tables_has_a_guard_and_the_fields_that_may_hold_any_text_have_none() -> None:
    tables = {
        key_of(entry) for dialect in DIALECTS for field in dialect.keys.keys() - NEVER for entry in dialect.keys[field]
    } | {key for dialect in DIALECTS for key in dialect.marker_keys()}
    assert set(GUARDS) - tables == {"exception.type"}
    assert tables <= set(GUARDS)
    assert {guard.kind for guard in GUARDS.values()} == set(GOOD) == set(BAD)


def test_a_field_without_a_guard_is_refused() -> None:
    odd = replace(SEMCONV, keys={**SEMCONV.keys, "web_searches": (As("some.key", lambda value: value),)})
    with pytest.raises(LookupError, match=r"some\.key"):
        config_text([odd])


def test_a_key_that_two_dialects_read_as_different_kinds_is_refused() -> None:
    other = replace(SEMCONV, keys={"provider": ("gen_ai.request.model",)})
    with pytest.raises(LookupError, match=r"gen_ai\.request\.model"):
        guards_of([SEMCONV, other])


@pytest.mark.parametrize(
    ("guard", "value"),
    [
        (GUARDS["gen_ai.usage.input_tokens"], value)
        for value in (-1, 1.5, 10**12 + 1, True, float("nan"), float("inf"), [1], {"a": 1}, b"1", None)
    ],
)
def test_values_of_other_types_and_out_of_bounds_are_no_counts(guard: Guard, value: object) -> None:
    assert not guard.accepts(value)


def test_an_unprintable_attribution_is_replaced_by_one_constant() -> None:
    assert GUARDS["infraprism.session_id"].accepts(UNPRINTABLE)
    assert not GUARDS["infraprism.session_id"].accepts(UNPRINTABLE + "x")
