"""Deletion requests: what is gone, what is left, late events, and receipts."""

from __future__ import annotations

import random
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.kit.backend import Backend, cleaned_span, set_attribute, span
from tests.kit.deletions import deleted, ended
from tests.kit.events import START_NS, event
from tests.kit.raw_files import files_with

from infraprism.backend import receipt_chain
from infraprism.schema import Event

_DAY_NS = 86_400_000_000_000


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    with Backend(tmp_path_factory.mktemp("deletions") / "data") as running:
        yield running


def calls(seed: int, number: int = 60, first: int = 1) -> list[Event]:
    """Events with few entities, sessions and tag values, of three days."""
    chooser = random.Random(seed)
    return [
        event(
            seed * 10_000 + first + place,
            timestamp_ns=START_NS + chooser.randrange(3 * _DAY_NS) // 1_000_000 * 1_000_000,
            entity_id=f"secret-{chooser.randrange(3)}",
            session_id=f"session-{chooser.randrange(4)}",
            tags={"feature": f"feature-{chooser.randrange(3)}", "env": "prod"},
            input_tokens=chooser.randrange(1000),
        )
        for place in range(number)
    ]


def sums(backend: Backend, key: str, **filters: Any) -> Any:
    """The totals of an account, to the last digit."""
    dates = {"start_date": "2026-01-01", "end_date": "2027-01-01"}
    return backend.get("/v1/analytics/costs", key, **dates, **filters).json


def ids(backend: Backend, key: str) -> set[str]:
    return {one["id"] for one in backend.events(key)}


def in_scope(one: Event, scope: dict[str, str]) -> bool:
    """Whether an event is in a scope, by the definition of docs/deletion.md."""
    if "entity_id" in scope and (one.entity_type, one.entity_id) != (scope["entity_type"], scope["entity_id"]):
        return False
    if "session_id" in scope and one.session_id != scope["session_id"]:
        return False
    return "tag_key" not in scope or dict(one.tags).get(scope["tag_key"]) == scope["tag_value"]


SCOPES = (
    {"entity_type": "customer", "entity_id": "secret-1"},
    {"session_id": "session-2"},
    {"tag_key": "feature", "tag_value": "feature-0"},
    {"confirm": "everything"},
)


@pytest.mark.parametrize("scope", SCOPES, ids=lambda scope: next(iter(scope)))
def test_a_scope_is_deleted_for_its_account_only_and_its_late_events_are_refused(
    backend: Backend, scope: dict[str, str]
) -> None:
    seed = 1 + SCOPES.index(scope)
    key, other = backend.add_account(), backend.add_account()
    sent = calls(seed)
    for one in (key, other):
        assert backend.export(*map(span, sent), key=one).rejected == 0
    kept = [one for one in sent if not in_scope(one, scope)]
    others = sums(backend, other)
    receipt = deleted(backend, key, **scope)
    assert ids(backend, key) == {one.id for one in kept}
    assert len(ids(backend, other)) == len(sent)
    assert sums(backend, other) == others
    assert sums(backend, key)["summary"]["total_events"] == len(kept)
    assert receipt["counts"]["events"] == {"before": len(sent) - len(kept), "after": 0}
    # The same events again, a late one of the scope, and a new one after the request.
    again = backend.export(*map(span, sent), key=key)
    assert again.rejected == len(sent) - len(kept)
    assert "deleted" in again.error_message
    matching = next(one for one in sent if in_scope(one, scope))
    late = event(seed * 10_000 + 5_000, timestamp_ns=matching.timestamp_ns + 10_000_000, entity_id=matching.entity_id)
    late_span = span(late)
    if matching.session_id:
        set_attribute(late_span, "infraprism.session_id", matching.session_id)
    for name, value in dict(matching.tags).items():
        set_attribute(late_span, f"infraprism.tags.{name}", value)
    assert backend.export(late_span, key=key).rejected == 1
    assert ids(backend, key) == {one.id for one in kept}


def test_a_period_is_deleted_by_its_bounds(backend: Backend) -> None:
    key = backend.add_account()
    first, second, third = (event(90_000 + day, timestamp_ns=START_NS + day * _DAY_NS) for day in range(3))
    assert backend.export(*map(span, (first, second, third)), key=key).rejected == 0
    day = next(one["timestamp"][:10] for one in backend.events(key) if one["id"] == second.id)
    assert deleted(backend, key, start_date=day, end_date=day)["counts"]["events"]["before"] == 1
    assert ids(backend, key) == {first.id, third.id}
    assert backend.export(span(second), key=key).rejected == 1


def test_spans_of_the_collector_of_a_deleted_scope_are_refused(backend: Backend) -> None:
    key = backend.add_account()
    made = cleaned_span(
        {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "openai",
            "gen_ai.request.model": "gpt-4o-mini",
            "gen_ai.usage.input_tokens": 10,
            "infraprism.entity_type": "customer",
            "infraprism.entity_id": "gone",
        }
    )
    deleted(backend, key, entity_type="customer", entity_id="gone")
    backend.export(made, key=key)
    assert ids(backend, key) == set()


def test_no_byte_of_the_identifier_is_left_in_the_data_directory(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with Backend(data) as backend:
        for seed in (1, 2):
            assert backend.export(*map(span, calls(seed, 700))).rejected == 0
        small = event(99_999, entity_id="secret-1", session_id="session-2", tags={"feature": "feature-0"})
        assert backend.export(span(small)).rejected == 0
        assert files_with(data, "secret-1")
        deleted(backend, entity_type="customer", entity_id="secret-1")
        deleted(backend, session_id="session-2")
        deleted(backend, tag_key="feature", tag_value="feature-0")
        for text in ("secret-1", "session-2", "feature-0"):
            assert files_with(data, text) == []
        assert files_with(data, "secret-2")
        account = backend.get("/v1/me").json["id"]
        deleted(backend, confirm="everything")
        assert files_with(data, "secret-2") == []
        assert {Path(name).name.partition("-")[0] for name in files_with(data, account)} <= {
            "accounts.sqlite",
            "usage.sqlite",
        }
        backend.stop()
    assert files_with(data, "secret-") == []


def test_receipts_are_a_chain_that_shows_a_change(backend: Backend) -> None:
    key = backend.add_account()
    for number in range(3):
        deleted(backend, key, session_id=f"s{number}")
    found = backend.get("/v1/receipts", key).json["data"]
    assert receipt_chain.verify(found) == 3
    assert all("s1" not in str(one) for one in found)
    assert backend.get(f"/v1/receipts/{found[1]['id']}", key).json == found[1]
    assert backend.get(f"/v1/receipts/{found[1]['id']}", backend.add_account()).status == 404
    for broken in (found[1:], [found[0], found[2]], [found[0], {**found[1], "requested_at": "2026-01-01"}, found[2]]):
        with pytest.raises(receipt_chain.BrokenReceiptError):
            receipt_chain.verify(broken)


@pytest.mark.parametrize(
    ("scope", "message"),
    [
        ({}, "confirm"),
        ({"confirm": "yes"}, "confirm"),
        ({"entity_id": "a"}, "entity_type"),
        ({"tag_key": "a"}, "tag_key"),
        ({"session_id": "a", "tag_key": "b", "tag_value": "c"}, "one of"),
        ({"start_date": "2026-02-01", "end_date": "2026-01-01"}, "end_date"),
        ({"start_date": "yesterday"}, "start_date"),
        ({"entity": "a"}, "entity"),
    ],
)
def test_a_request_that_is_not_one_scope_is_refused(backend: Backend, scope: dict[str, str], message: str) -> None:
    answer = backend.send("DELETE", "/v1/data", scope)
    assert answer.status == 400
    assert message in answer.json["error"]["message"]


def test_a_repeated_request_is_the_same_job(backend: Backend) -> None:
    key = backend.add_account()
    scope = {"session_id": "again"}
    first = backend.send("DELETE", "/v1/data", scope, key, idempotency_key="one")
    again = backend.send("DELETE", "/v1/data", scope, key, idempotency_key="one")
    assert first.json["id"] == again.json["id"]
    other = backend.send("DELETE", "/v1/data", {"session_id": "other"}, key, idempotency_key="one")
    assert (other.status, other.json["error"]["code"]) == (409, "conflict")
    by_query = backend.http("/v1/data?session_id=query", None, {"authorization": f"Bearer {key}"}, "DELETE")
    assert by_query.status == 202
    assert ended(backend, by_query.json["id"], key)["state"] == "succeeded"


def test_a_deletion_continues_after_the_server_is_killed(tmp_path: Path) -> None:
    data = tmp_path / "data"
    sent = calls(7, 200)
    kept = {one.id for one in sent if one.entity_id != "secret-1"}
    with Backend(data) as backend:
        assert backend.export(*map(span, sent)).rejected == 0
        answer = backend.send("DELETE", "/v1/data", {"entity_type": "customer", "entity_id": "secret-1"})
        backend.stop(signal.SIGKILL)
    with Backend(data) as backend:
        assert ended(backend, answer.json["id"])["state"] == "succeeded"
        assert ids(backend, backend.key) == kept
        assert backend.export(*map(span, sent)).rejected == len(sent) - len(kept)
        assert receipt_chain.verify(backend.get("/v1/receipts").json["data"]) == 1
        assert files_with(data, "secret-1") == []
