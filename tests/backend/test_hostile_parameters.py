"""No parameter of the REST API leads to an error of the server."""

from __future__ import annotations

import base64
import json
import urllib.parse

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.kit.backend import Answer, Backend, span
from tests.kit.events import events

PATHS = (
    "/v1/events",
    "/v1/analytics/costs",
    "/v1/analytics/costs/timeseries",
    "/v1/analytics/latency",
    "/v1/analytics/errors",
    "/v1/analytics/changes",
    "/v1/analytics/distribution",
    "/v1/sessions",
    "/v1/models",
    "/v1/values",
    "/v1/tags",
    "/v1/analytics/forecast",
    "/v1/entities",
)
WITH_DATES = PATHS[:-2]
DATES = (
    "0000-01-01",
    "0001-01-01",
    "1969-12-31",
    "1970-01-01",
    "1970-01-01T00:00:00Z",
    "2199-12-31",
    "2200-01-01",
    "9999-12-31",
    "2026-01-01T00:00:00+23:59",
    "2026-02-30",
    "1970-01-01T00:00:00+14:00",
    "2199-12-31T23:59:59.999-12:00",
)


@pytest.mark.parametrize("date", DATES)
@pytest.mark.parametrize("name", ["start_date", "end_date"])
@pytest.mark.parametrize("path", WITH_DATES)
def test_a_date_is_accepted_or_rejected_as_invalid(backend: Backend, path: str, name: str, date: str) -> None:
    needed = {"field": "model"} if path == "/v1/values" else {}
    for zone in ("UTC", "Pacific/Kiritimati", "America/Adak"):
        answer = backend.get(path, **{name: date, "time_zone": zone, **needed})
        assert answer.status in (200, 400)
        if answer.status == 400:
            assert_one_line(answer)


def assert_one_line(answer: Answer) -> None:
    """The error has a code, and a message of one line."""
    error = answer.json["error"]
    assert error["code"] in {"invalid_parameter", "unknown_parameter"}
    assert len(error["message"].splitlines()) == 1


def test_more_tags_than_an_event_can_have_are_rejected(backend: Backend) -> None:
    pairs = [f"key_{number}:value" for number in range(33)]
    for given_tags in (",".join(pairs), pairs, [",".join(pairs[:20]), ",".join(pairs[20:])]):
        assert backend.get("/v1/events", tags=given_tags).status == 400
    assert backend.get("/v1/events", tags=",".join(pairs[:32])).status == 200
    assert backend.get("/v1/events", tags="key:" + "x" * 257).status == 400


def test_a_cursor_is_accepted_only_as_the_server_wrote_it(backend: Backend, account: str) -> None:
    assert backend.export(*map(span, events(30)), key=account).rejected == 0
    cursor = backend.get("/v1/events", account, limit=10).json["pagination"]["next_cursor"]
    assert len(backend.get("/v1/events", account, limit=10, cursor=cursor).json["data"]) == 10
    decoded = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    content = json.loads(decoded[16:])
    forged = [
        decoded[16:],
        decoded[:16] + json.dumps([content[0] + 1, *content[1:]]).encode(),
        bytes(16) + decoded[16:],
        decoded[:16],
        b"",
    ]
    for one in forged:
        text = base64.urlsafe_b64encode(one).decode().rstrip("=")
        assert backend.get("/v1/events", account, limit=10, cursor=text or "x").status == 400
    assert backend.get("/v1/events", limit=10, cursor=cursor).status == 400  # of another account
    assert backend.get("/v1/events", account, limit=10, cursor=cursor, provider="openai").status == 400


_names = st.sampled_from(
    (
        "start_date",
        "end_date",
        "entity_type",
        "entity_id",
        "model",
        "provider",
        "session_id",
        "success",
        "tags",
        "limit",
        "offset",
        "cursor",
        "group_by",
        "type",
        "unknown",
        "time_zone",
        "operation",
        "cost_status",
        "error_type",
        "none",
        "sort",
        "order",
        "compare",
        "compare_start",
        "compare_end",
        "interval",
        "top",
        "of",
        "per",
        "field",
        "prefix",
        "until",
        "total_sessions",
    )
)
_values = st.one_of(
    st.text(max_size=40),
    st.sampled_from(
        (*DATES, "", "0", "-1", "99999999999999999999", "1e9", "true", "null", "a:b", ",", ":", "\\", "'", "{}")
    ),
    st.sampled_from(
        (
            *("UTC", "Europe/Berlin", "Asia/Kathmandu", "../etc/passwd", "localtime", "Europe", "/UTC", "\0"),
            *("model", "entity", "session", "day", "tags.a", "tags.`", "tags.{x:String}", "model,entity"),
            *("chat", "priced", "rate_limit", "total_cost", "key", "change", "asc", "previous", "weekday", "none"),
            *("hour", "month", "week", "event", "cost_usd", "latency_ms", "2026-01-01", "2026-01-02", "1", "2"),
        )
    ),
    st.integers().map(str),
)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(PATHS), st.lists(st.tuples(_names, _values), max_size=8))
def test_any_parameters_are_answered_or_rejected(
    backend: Backend, path: str, given_pairs: list[tuple[str, str]]
) -> None:
    encoded = urllib.parse.urlencode(given_pairs, errors="surrogatepass")
    answer = backend.http(f"{path}?{encoded}", None, {"authorization": f"Bearer {backend.key}"})
    assert answer.status in (200, 400), (path, given_pairs, answer.body)
    if answer.status == 400:
        assert_one_line(answer)
