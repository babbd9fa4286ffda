"""Each span of the fixtures is the event that it should be, and nothing of its content is in it."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from tests.kit.dialect_coverage import DOCS, shown, table
from tests.kit.dialects import CANARY, Case, cases, ended, said

from infraprism.dialects import DIALECTS, engine
from infraprism.processor import event_span, to_event
from infraprism.schema import wire

CASES = cases()
CALLS = [case for case in CASES if case.event is not None]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_span_is_the_event_it_should_be(case: Case) -> None:
    event = to_event(ended(case.span))
    if case.event is None:
        assert event is None
    else:
        assert event is not None
        assert said(event, case.event) == {name: value for name, value in case.event.items() if value is not None}
        assert event.success is ("error_type" not in case.event)


@pytest.mark.parametrize("case", CALLS, ids=str)
def test_nothing_of_a_spans_content_is_in_its_event(case: Case) -> None:
    assert case.event is not None
    event = to_event(ended(case.span))
    assert event is not None
    left = (repr(event), repr(wire.attributes(event, usage_detail=True)), event_span(event).to_json())
    assert CANARY not in "".join(left)


@pytest.mark.parametrize("case", CALLS, ids=str)
def test_a_span_is_read_by_its_own_table(case: Case) -> None:
    attributes = case.span["attributes"]
    reading = engine.read(attributes, case.span["scope"])
    assert reading is not None
    assert reading.dialect is not None
    assert reading.dialect.name.startswith(case.dialect)


def test_every_table_has_fixtures_of_calls_and_of_spans_that_are_none() -> None:
    seen = {(case.dialect, case.event is None) for case in CASES}
    for dialect in DIALECTS:
        name = next(case.dialect for case in CASES if dialect.name.startswith(case.dialect))
        assert {(name, True), (name, False)} <= seen


def test_every_fixture_of_a_call_has_content_or_an_error_in_it() -> None:
    for dialect in {case.dialect for case in CALLS}:
        assert CANARY in repr([case.span for case in CALLS if case.dialect == dialect])


def test_the_documented_coverage_is_what_the_fixtures_show() -> None:
    assert shown() == table(), "run `python -m tests.kit.dialect_coverage`"


def test_the_worked_example_is_a_table_that_reads_its_fixture() -> None:
    blocks = re.findall(r"```(python|json)\n(.*?)```", dedent_lists(DOCS.read_text(encoding="utf-8")), re.DOTALL)
    ((_, table_code), (_, fixture)) = blocks
    names: dict[str, Any] = {}
    exec(compile(table_code, "docs/dialects.md", "exec"), names)
    (case,) = json.loads(fixture)["cases"]
    reading = engine.read_by(names["SONAR"], case["span"]["attributes"])
    assert reading is not None
    assert (reading.operation, reading.span_fields.request_model) == ("chat", "gpt-4o-mini")
    counts = {name: getattr(reading.usage, name) for name in case["billed"]}
    assert counts == case["billed"] == {name: case["event"][name] for name in case["billed"]}
    assert not reading.contradicts


def dedent_lists(text: str) -> str:
    return re.sub(r"^   (?=\S|   )", "", text, flags=re.MULTILINE)
