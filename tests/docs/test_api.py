"""docs/api.md: its examples have the shape of real responses, its table lists the real paths."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.kit.backend import Backend, span
from tests.kit.events import event

DOCS = (Path(__file__).parents[2] / "docs" / "api.md").read_text("utf-8")
EVENTS, COSTS, ERROR = (json.loads(found) for found in re.findall(r"```json\n(.*?)```", DOCS, re.DOTALL))


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    with Backend(tmp_path_factory.mktemp("docs") / "data") as running:
        stored = event(timestamp_ns=time.time_ns(), tags={"feature": "chatbot"})
        assert running.export(span(stored)).rejected == 0
        yield running


def shape(value: Any) -> Any:
    """The keys of nested objects, and of the first element of arrays."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items() if key != "tags"}
    return [shape(value[0])] if isinstance(value, list) else None


def test_the_events_example_has_the_shape_of_a_response(backend: Backend) -> None:
    assert shape(backend.get("/v1/events").json) == shape(EVENTS)


def test_the_costs_example_has_the_shape_of_a_response(backend: Backend) -> None:
    assert shape(backend.get("/v1/analytics/costs", group_by="entity").json) == shape(COSTS)


def test_the_error_example_is_a_real_error(backend: Backend) -> None:
    assert backend.get("/v1/events", start_date="yesterday").json == ERROR


def test_the_curl_example_returns_costs_by_entity(backend: Backend) -> None:
    (command,) = re.findall(r"^    (curl .*)$", DOCS, re.MULTILINE)
    ran = subprocess.run(
        ["/bin/sh", "-c", command.replace("http://localhost:4318", backend.url).replace("curl", "curl -s", 1)],
        env={**os.environ, "INFRAPRISM_API_KEY": backend.key, "NO_PROXY": "*"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    (row,) = json.loads(ran.stdout)["data"]
    assert (row["entity_type"], row["entity_id"], row["total_events"]) == ("customer", "acme-corp", 1)


def test_the_table_of_paths_lists_every_path_of_the_server(backend: Backend) -> None:
    listed = re.findall(r"^\| `(GET|POST|PUT|PATCH|DELETE) (\S+?)` \|", DOCS, re.MULTILINE)
    schema = json.loads(backend.http("/openapi.json", None, {}).body)
    served = {(method.upper(), path) for path, methods in schema["paths"].items() for method in methods}
    assert {(method, re.sub(r"\{\w+\}", "{}", path)) for method, path in listed if path != "/healthz"} >= {
        (method, re.sub(r"\{\w+\}", "{}", path)) for method, path in served if path != "/healthz"
    }
    for method, path in listed:
        needed = {"field": "model"} if path == "/v1/values" else {}
        if method == "GET":
            assert backend.get(path.replace("{id}", "evt_0"), **needed).status in (200, 404)
        else:
            assert (method, path) == ("POST", "/v1/traces") or (method, path.replace("{id}", "{}")) in {
                (served_method, re.sub(r"\{\w+\}", "{}", served_path)) for served_method, served_path in served
            }
