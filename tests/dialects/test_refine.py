"""Tests of the `refine` functions: what they may read, and that the collector can know it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from tests.kit.dialects import Case, cases, ended

from infraprism.dialects import DIALECTS, engine
from infraprism.dialects.table import Dialect, RawSpan, SpanFields

REFINED = [dialect for dialect in DIALECTS if dialect.refine is not None]
CASES = cases()


class RecordedKeys(Mapping[str, Any]):
    """Attributes that record the keys that are read."""

    def __init__(self, attributes: dict[str, Any]) -> None:
        self.attributes = attributes
        self.read: set[str] = set()

    def __getitem__(self, key: str) -> Any:
        self.read.add(key)
        return self.attributes[key]

    def __contains__(self, key: object) -> bool:
        self.read.add(str(key))
        return key in self.attributes

    def __iter__(self) -> Iterator[str]:
        return iter(self.attributes)

    def __len__(self) -> int:
        return len(self.attributes)


@pytest.mark.parametrize("dialect", REFINED, ids=lambda dialect: dialect.name)
def test_a_refine_function_reads_only_keys_of_its_table_and_its_refine_keys(dialect: Dialect) -> None:
    assert dialect.refine is not None
    empty = SpanFields(**dict.fromkeys(SpanFields._fields))  # type: ignore[arg-type]
    fields = empty._replace(operation="chat", streamed=True, request_model="gpt-4o", total_tokens=0)
    for case in CASES:
        attributes = RecordedKeys(case.span["attributes"])
        for operation in dialect.operations:
            dialect.refine(RawSpan(case.span["name"], operation, attributes), fields)
        assert attributes.read <= {*dialect.slots, *dialect.refine_keys}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_an_attribute_that_no_table_and_no_refine_key_names_changes_nothing(case: Case) -> None:
    span = ended(case.span)
    attributes, scope, name = case.span["attributes"], case.span["scope"], case.span["name"]
    parsed = engine.read(attributes, scope, name, span)
    known = {key: value for key, value in attributes.items() if key in KNOWN}
    assert engine.read(known, scope, name, span) == parsed


KNOWN = {
    key
    for dialect in DIALECTS
    for key in (*dialect.slots, *dialect.json_texts, *dialect.marker_keys(), *dialect.refine_keys)
}


def test_the_keys_of_a_refine_function_are_declared_only_with_the_function() -> None:
    assert [dialect.name for dialect in DIALECTS if dialect.refine_keys and dialect.refine is None] == []
