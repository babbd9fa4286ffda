"""docs/analytics.md: its examples have the shape of real responses, and its tables list the real names."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.kit.backend import Backend, span
from tests.kit.events import event

from infraprism.backend.analytics.bridge import PARTS
from infraprism.backend.analytics.forecast import MIN_DAYS
from infraprism.backend.analytics.values import FIELDS

_FOLDER = Path(__file__).parents[2] / "docs"
DOCS = (_FOLDER / "analytics.md").read_text("utf-8")
EXAMPLES = re.findall(r"    GET (\S+)\n\n```json\n(.*?)```", DOCS, re.DOTALL)


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    with Backend(tmp_path_factory.mktemp("docs") / "data") as running:
        day_ns = 86_400 * 10**9
        stored = [
            event(
                number,
                timestamp_ns=time.time_ns() - (number % 50) * day_ns - 10**9,
                tags={"feature": "chatbot"},
                session_id=f"s-{number % 2}",
                **({"success": False, "error_type": "rate_limit"} if number % 9 == 0 else {}),
            )
            for number in range(1, 101)
        ]
        assert running.export(*map(span, stored)).rejected == 0
        yield running


def shape(value: Any) -> Any:
    """The keys of nested objects, and of the first element of arrays."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    return [shape(value[0])] if isinstance(value, list) else None


@pytest.mark.parametrize(("target", "example"), EXAMPLES, ids=[target for target, _ in EXAMPLES])
def test_an_example_has_the_shape_of_a_response(backend: Backend, target: str, example: str) -> None:
    answer = backend.http(target, None, {"authorization": f"Bearer {backend.key}"})
    assert answer.status == 200
    assert shape(answer.json) == shape(json.loads(example))


def test_every_path_of_analytics_has_an_example() -> None:
    documented = {target.partition("?")[0] for target, _ in EXAMPLES}
    listed = re.findall(r"^\| `GET (/v1/\S+?)` \|", (_FOLDER / "api.md").read_text("utf-8"), re.MULTILINE)
    analytics = {path for path in listed if path.startswith("/v1/analytics/")} - {"/v1/analytics/costs"}
    assert documented == analytics | {"/v1/sessions", "/v1/models", "/v1/values", "/v1/tags"}
    assert documented <= set(listed)


def test_the_example_of_a_change_adds_up() -> None:
    (example,) = (json.loads(text, parse_float=Decimal) for target, text in EXAMPLES if "changes" in target)
    for row in (*example["data"], example["summary"]):
        assert sum(part or 0 for part in row["parts"].values()) == row["change"]
        assert row["now"]["total_cost"] - row["before"]["total_cost"] == row["change"]


def test_the_tables_list_the_real_names() -> None:
    assert re.findall(r"^\| `(\w+)` \| \*", DOCS, re.MULTILINE) == list(PARTS)
    fields = DOCS.partition("`field` is")[2].partition("`tags.KEY`")[0]
    assert set(re.findall(r"`(\w+)`", fields)) == set(FIELDS)
    assert f"with {MIN_DAYS} to 27 days" in DOCS
