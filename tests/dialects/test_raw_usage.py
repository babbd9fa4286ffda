"""A provider's usage object that an instrumentation records: what changes the bill is priced, or leaves no price."""

from __future__ import annotations

from typing import Any

import pytest
from tests.kit.raw_usage import CASES, recorded

from infraprism.dialects import engine


@pytest.mark.parametrize(("usage", "region", "speed", "unpriced"), CASES)
@pytest.mark.parametrize("dialect", ["logfire", "langfuse"])
def test_modifiers_in_a_recorded_usage_object_are_read(
    dialect: str, usage: dict[str, Any], region: str | None, speed: str | None, unpriced: bool
) -> None:
    scope, attributes = recorded(dialect, usage)
    parsed = engine.read(attributes, scope)
    assert parsed is not None
    fields = parsed.span_fields
    assert (fields.region, fields.speed, bool(fields.has_unpriced_usage)) == (region, speed, unpriced)
    assert parsed.usage[:2] == (1000, 100)
