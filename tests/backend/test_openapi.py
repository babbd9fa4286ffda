"""The OpenAPI document describes the responses of every path."""

from __future__ import annotations

import json
from contextlib import closing
from typing import Any

import pytest
from tests.kit.backend import Backend, span
from tests.kit.events import event
from tests.kit.random_calls import random_calls

from infraprism.backend.accounts import Accounts
from infraprism.backend.api.openapi import OPTIONAL, RESPONSES
from infraprism.backend.audit.audit_log import OPERATOR, AuditLog

DATES = {"start_date": "2026-01-01", "end_date": "2026-03-31"}
PARAMETERS: dict[str, dict[str, str]] = {
    "/v1/analytics/costs": {
        **DATES,
        "group_by": "model,entity",
        "total_sessions": "true",
        "compare_start": "2026-01-01",
        "compare_end": "2026-01-31",
    },
    "/v1/analytics/costs/timeseries": {**DATES, "group_by": "entity", "top": "1"},
    "/v1/analytics/changes": {"start_date": "2026-02-01", "end_date": "2026-03-31", "group_by": "model"},
    "/v1/values": {**DATES, "field": "model"},
    "/v1/sessions": DATES,
    "/v1/tags": DATES,
    "/v1/models": {},
    "/v1/usage-data": {},
    "/v1/usage-data/requests": {},
    "/v1/retention": {},
    "/v1/entities": {},
    "/v1/me": {},
    "/v1/audit": {},
    "/v1/events": {},
    "/v1/events/{event_id}": {},
    "/v1/sessions/{session_id}": {},
    "/v1/analytics/forecast": {},
}
_TYPES: dict[str, Any] = {
    "string": str,
    "integer": int,
    "boolean": bool,
    "null": type(None),
    "object": dict,
    "array": list,
}


@pytest.fixture(scope="module")
def key(backend: Backend) -> str:
    found = backend.add_account(usage_detail=True)
    calls = [*random_calls(60, first=70_000), event(80_000, cache_read_tokens=3, service_tier="batch", streamed=True)]
    account = backend.get("/v1/me", found).json["id"]
    with closing(Accounts(backend.data_dir / "accounts.sqlite")) as accounts:
        AuditLog(accounts.database).append(account, OPERATOR, "key.created", "key_000000000001")
    assert backend.export(*(span(one, usage_detail=True) for one in calls), key=found).rejected == 0
    return found


def _check(value: Any, schema: dict[str, Any], place: str) -> None:
    kinds = [schema["type"]] if isinstance(schema["type"], str) else schema["type"]
    if "number" not in kinds or isinstance(value, str | list | dict):
        assert isinstance(value, tuple(_TYPES[kind] for kind in kinds if kind != "number")), (place, value)
    if isinstance(value, dict) and "properties" in schema:
        names = {name for name in value if not name.startswith("tags.")}
        assert names <= set(schema["properties"]), place
        assert set(schema["properties"]) - names <= OPTIONAL, place
        for name in names:
            _check(value[name], schema["properties"][name], f"{place}.{name}")
    if isinstance(value, list):
        for one in value:
            _check(one, schema["items"], f"{place}[]")


@pytest.mark.parametrize("path", RESPONSES)
def test_a_response_has_the_documented_form(backend: Backend, key: str, path: str) -> None:
    event_id = backend.events(key, limit=1)[0]["id"]
    target = path.format(event_id=event_id, session_id="s1")
    answer = backend.get(target, key, **PARAMETERS.get(path, DATES))
    assert answer.status == 200
    _check(answer.json, RESPONSES[path], path)
    if "data" in answer.json:
        assert answer.json["data"]


def test_every_path_documents_its_responses_and_the_errors_that_it_has(backend: Backend) -> None:
    document = json.loads(backend.http("/openapi.json", None, {}).body)
    paths = {path: methods for path, methods in document["paths"].items() if path.startswith("/v1/")}
    read = {path for path, methods in paths.items() if "get" in methods}
    assert set(RESPONSES) <= read
    for path, methods in paths.items():
        for method, operation in methods.items():
            assert operation["security"] == [{"api_key": []}]
            assert operation["summary"]
            assert operation["description"]
            responses = operation["responses"]
            assert any(200 <= int(status) < 300 for status in responses)
            assert {"400", "401", "405", "429", "431", "503"} <= set(responses)
            assert "422" not in responses
            assert "413" in responses or "requestBody" not in operation
            assert "404" in responses or "{" not in path
            assert all(response["description"] for response in responses.values())
            if path == "/v1/traces":
                continue
            for status in filter(lambda status: int(status) >= 400, responses):
                content = responses[status]["content"]
                assert content["application/problem+json"]["schema"] == {"$ref": "#/components/schemas/Problem"}
            if method == "get" and path in RESPONSES:
                assert responses["200"]["content"]["application/json"]["schema"] == RESPONSES[path]


def test_the_key_is_a_bearer_token_and_health_needs_none(backend: Backend) -> None:
    document = json.loads(backend.http("/openapi.json", None, {}).body)
    scheme = document["components"]["securitySchemes"]["api_key"]
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
    for path in ("/healthz", "/readyz", "/metrics", "/docs", "/errors/{code}"):
        assert "security" not in document["paths"][path]["get"]
        assert backend.http(path.replace("{code}", "rate_limited"), None, {}).status == 200
