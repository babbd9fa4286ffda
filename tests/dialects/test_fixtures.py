"""Each span of the fixtures becomes the expected event, without content."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from tests.kit.dialect_coverage import DOCS, shown, table
from tests.kit.dialects import CANARY, Case, cases, comparable_fields, ended

from infraprism.dialects import DIALECTS, engine
from infraprism.processor import event_span, to_event
from infraprism.schema import wire

CASES = cases()
CALLS = [case for case in CASES if case.event is not None]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_span_becomes_the_expected_event(case: Case) -> None:
    event = to_event(ended(case.span))
    if case.event is None:
        assert event is None
    else:
        assert event is not None
        assert comparable_fields(event, case.event) == {
            name: value for name, value in case.event.items() if value is not None
        }
        assert event.success is ("error_type" not in case.event)


@pytest.mark.parametrize("case", CALLS, ids=str)
def test_an_event_has_no_content_of_its_span(case: Case) -> None:
    assert case.event is not None
    event = to_event(ended(case.span))
    assert event is not None
    outputs = (repr(event), repr(wire.attributes(event, usage_detail=True)), event_span(event).to_json())
    assert CANARY not in "".join(outputs)


@pytest.mark.parametrize("case", CALLS, ids=str)
def test_a_span_is_read_by_the_table_of_its_dialect(case: Case) -> None:
    attributes = case.span["attributes"]
    parsed = engine.read(attributes, case.span["scope"])
    assert parsed is not None
    assert parsed.dialect is not None
    assert parsed.dialect.name.startswith(case.dialect)


def test_every_table_has_fixtures_of_calls_and_of_spans_that_are_not_calls() -> None:
    seen = {(case.dialect, case.event is None) for case in CASES}
    for dialect in DIALECTS:
        name = next(case.dialect for case in CASES if dialect.name.startswith(case.dialect))
        assert {(name, True), (name, False)} <= seen


def test_every_fixture_of_a_call_has_content_or_an_error_in_it() -> None:
    for dialect in {case.dialect for case in CALLS}:
        assert CANARY in repr([case.span for case in CALLS if case.dialect == dialect])


def test_the_documented_coverage_matches_the_fixtures() -> None:
    assert shown() == table(), "run `python -m tests.kit.dialect_coverage`"


def test_the_table_of_the_documented_example_reads_its_fixture() -> None:
    blocks = re.findall(r"```(python|json)\n(.*?)```", dedent_lists(DOCS.read_text(encoding="utf-8")), re.DOTALL)
    ((_, table_code), (_, fixture)) = blocks
    names: dict[str, Any] = {}
    exec(compile(table_code, "docs/dialects.md", "exec"), names)
    (case,) = json.loads(fixture)["cases"]
    parsed = engine.read_by(names["SONAR"], case["span"]["attributes"])
    assert parsed is not None
    assert (parsed.operation, parsed.span_fields.request_model) == ("chat", "gpt-4o-mini")
    counts = {name: getattr(parsed.usage, name) for name in case["billed"]}
    assert counts == case["billed"] == {name: case["event"][name] for name in case["billed"]}
    assert not parsed.contradicts


def dedent_lists(text: str) -> str:
    return re.sub(r"^   (?=\S|   )", "", text, flags=re.MULTILINE)
