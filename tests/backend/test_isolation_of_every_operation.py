"""Whatever an account sends to any operation, it gets nothing of another account and changes nothing of it.

The operations are those of the published document. The values are those that another account has: ids of its events,
sessions, keys, members, jobs, exports and receipts, its cursor, its download link, and texts that end a statement.
"""

from __future__ import annotations

import json
import re
import urllib.parse
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.kit.backend import Backend, span
from tests.kit.deletions import deleted, ended
from tests.kit.events import event

SECRETS = (b"zebra-customer", b"zebra-tag", b"zebra-session", b"zebra-key", b"zebra@example.com", b"0.123456789")
"""What the owner has, in every place for text."""
HOSTILE = ("' OR 1=1 --", "../../v1/events", "%", "%00", "*", "{account:String}", "\u0000", "a" * 600)
DATES = {"start_date": "2026-01-01", "end_date": "2027-12-31"}
_ENDS_THE_ACCOUNT = ("delete", "/v1/account")


class Owner(NamedTuple):
    """An account with one of everything: its key, its values by the name of a parameter, and what it sees."""

    key: str
    values: dict[str, str]
    seen: dict[str, Any]


def _seen(backend: Backend, key: str) -> dict[str, Any]:
    """What another account must not change."""
    found = {path: backend.get(path, key).json for path in ("/v1/keys", "/v1/members", "/v1/exports", "/v1/receipts")}
    for listed in found["/v1/keys"]["data"]:
        listed.pop("last_used_on")
    found["/v1/exports"] = [(listed["id"], listed["state"]) for listed in found["/v1/exports"]["data"]]  # new links
    events = backend.events(key)
    return {**found, "events": sorted(one["id"] for one in events)}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    with Backend(tmp_path_factory.mktemp("isolation") / "data") as backend:
        yield backend


@pytest.fixture(scope="module")
def owner(server: Backend) -> Owner:
    key = server.add_account(email="zebra@example.com", name="zebra-member")
    calls = [
        event(number, entity_id="zebra-customer", session_id="zebra-session", tags={"feature": "zebra-tag"})
        for number in range(1, 5)
    ]
    assert server.export(*map(span, calls), span(event(9, entity_id="zebra-deleted")), key=key).rejected == 0
    page = server.get("/v1/events", key, limit=1).json
    deleted(server, key, entity_type="customer", entity_id="zebra-deleted")
    made = server.send("POST", "/v1/exports", {**DATES, "format": "csv"}, key).json
    ended(server, made["id"], key)
    export = server.get(f"/v1/exports/{made['id']}", key).body.decode()
    new_key = server.send("POST", "/v1/keys", {"name": "zebra-key"}, key).json
    values = {
        "event_id": page["data"][0]["id"],
        "cursor": page["pagination"]["next_cursor"],
        "session_id": "zebra-session",
        "entity_id": "zebra-customer",
        "tags": "feature:zebra-tag",
        "key_id": new_key["id"],
        "member_id": server.get("/v1/members", key).json["data"][0]["id"],
        "job_id": made["id"],
        "export_id": made["id"],
        "receipt_id": server.get("/v1/receipts", key).json["data"][0]["id"],
        "account_id": server.get("/v1/me", key).json["id"],
        "token": export.partition("/downloads/")[2].partition('"')[0],
    }
    assert all(values.values())
    return Owner(key, values, _seen(server, key))


@pytest.fixture(scope="module")
def other(server: Backend) -> str:
    return server.add_account()


@pytest.fixture(scope="module")
def operations(server: Backend) -> list[tuple[str, str, dict[str, Any]]]:
    paths = json.loads(server.http("/openapi.json", None, {}).body)["paths"]
    return [
        (method, path, operation)
        for path, methods in sorted(paths.items())
        for method, operation in sorted(methods.items())
        if path.startswith("/v1/") and path != "/v1/traces"
    ]


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_no_operation_returns_or_changes_anything_of_another_account(
    server: Backend,
    owner: Owner,
    other: str,
    operations: list[tuple[str, str, dict[str, Any]]],
    data: st.DataObject,
) -> None:
    method, path, operation = data.draw(st.sampled_from(operations))
    values = st.sampled_from([*owner.values.values(), *HOSTILE])
    target, query = path, []
    for parameter in operation.get("parameters", ()):
        name = parameter["name"]
        own = owner.values.get(name)
        if parameter["in"] == "path":
            drawn = data.draw(st.just(own) | values if own else values)
            target = target.replace(f"{{{name}}}", urllib.parse.quote(drawn, safe=""))
        elif parameter["in"] == "query" and data.draw(st.booleans()):
            query.append((name, data.draw(st.just(own or "x") | values)))
    if "start_date" in {parameter["name"] for parameter in operation.get("parameters", ())}:
        query = [(name, text) for name, text in query if name not in DATES] + list(DATES.items())
    body = None
    if "requestBody" in operation and (method, path) != _ENDS_THE_ACCOUNT:
        names = st.sampled_from([*owner.values, "entity_type", "start_date", "end_date", "format", "confirm", "name"])
        body = data.draw(st.dictionaries(names, values, max_size=4))
    sent = f"{target}?{urllib.parse.urlencode(query)}" if query else target
    answer = server.send(method.upper(), sent, body, other)
    assert answer.status < 500 or answer.status == 501, answer.body
    request = urllib.parse.unquote(sent).encode() + json.dumps(body).encode()
    assert not [secret for secret in SECRETS if secret in answer.body and secret not in request], answer.body
    if path.endswith("_id}") and any(urllib.parse.quote(text, safe="") in target for text in owner.values.values()):
        assert answer.status >= 400, answer.body


def test_no_id_of_another_account_is_found(
    server: Backend, owner: Owner, other: str, operations: list[tuple[str, str, dict[str, Any]]]
) -> None:
    by_id = [(method, path) for method, path, _ in operations if "{" in path]
    assert {name for _, path in by_id for name in re.findall(r"{(\w+)", path)} <= owner.values.keys()
    statuses = {
        (method, path): server.send(method.upper(), path.format(**owner.values), None, other).status
        for method, path in by_id
    }
    # A request without its body can be refused before its id is looked up.
    assert {key: status for key, status in statuses.items() if status not in {404, 400}} == {}
    assert all(status == 404 for (method, _), status in statuses.items() if method == "get")


def test_the_owner_still_has_everything(server: Backend, owner: Owner, other: str) -> None:
    answer = server.send("DELETE", "/v1/account", {"confirm": owner.values["account_id"]}, other)
    assert 400 <= answer.status < 500
    assert _seen(server, owner.key) == owner.seen


def test_the_link_of_an_export_needs_no_key_and_gives_only_its_file(server: Backend, owner: Owner) -> None:
    token = owner.values["token"]
    assert b"zebra-customer" in server.http(f"/downloads/{token}", None, {}).body
    for position in range(0, len(token), 7):
        changed = token[:position] + ("A" if token[position] != "A" else "B") + token[position + 1 :]
        answer = server.http(f"/downloads/{changed}", None, {})
        assert answer.status == 404
        assert not any(secret in answer.body for secret in SECRETS)
