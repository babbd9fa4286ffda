"""The REST API of accounts: scopes, limits, hostile requests, and two accounts that never see each other."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.types import ASGIApp
from tests.kit.accounts import Mailbox, Organisation, application
from tests.kit.asgi import send
from tests.kit.backend import Answer
from tests.kit.timed_backend import Clock

from infraprism.backend.accounts import Accounts, permissions
from infraprism.backend.accounts.permissions import SCOPES, Scope

LIMIT_HEADERS = ("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset")
READING = ("/v1/me", "/v1/account", "/v1/keys", "/v1/keys/key_0")
ADMIN: tuple[tuple[str, str, Any], ...] = (
    ("GET", "/v1/members", None),
    ("GET", "/v1/members/mem_0", None),
    ("PATCH", "/v1/account", {"company": "X"}),
    ("POST", "/v1/members", {"email": "n@x.example", "role": "viewer"}),
    ("PATCH", "/v1/members/mem_0", {"role": "viewer"}),
    ("DELETE", "/v1/members/mem_0", None),
    ("POST", "/v1/keys", {"scopes": ["read"]}),
    ("PATCH", "/v1/keys/key_0", {"name": "x"}),
    ("POST", "/v1/keys/key_0/rotate", {}),
    ("DELETE", "/v1/keys/key_0", None),
)


@pytest.fixture
def app(organisation: Organisation) -> ASGIApp:
    return application(organisation)


def key(organisation: Organisation, *scopes: Scope) -> str:
    return organisation.accounts.add_key(organisation.account.id, scopes=scopes or SCOPES)


def code(answer: Answer) -> str:
    found: str = answer.json["error"]["code"]
    return found


def test_each_path_needs_its_scope_and_names_it(organisation: Organisation, app: ASGIApp) -> None:
    lacking = {"read": key(organisation, "ingest", "admin"), "admin": key(organisation, "ingest", "read")}
    cases = [("read", "GET", path, None) for path in READING] + [("admin", *case) for case in ADMIN]
    for scope, method, path, body in cases:
        answer = send(app, method, path, body, key=lacking[scope])
        assert (answer.status, code(answer)) == (403, "forbidden"), path
        assert f"lacks the scope {scope}" in answer.json["error"]["message"]
        assert send(app, method, path, body, key=key(organisation)).status != 403, path
    assert organisation.settings.find(organisation.account.id).company == "X"  # by the key with every scope


def test_settings_are_read_and_changed(organisation: Organisation, app: ASGIApp) -> None:
    found = key(organisation)
    change = {"company": "Acme Corp", "time_zone": "Europe/Berlin", "usage_detail": True}
    assert send(app, "PATCH", "/v1/account", change, key=found).status == 200
    account = send(app, "GET", "/v1/account", key=found).json
    assert {name: account[name] for name in change} == change
    assert (account["requests_per_minute"], account["retention_days"]) == (None, None)
    assert send(app, "PATCH", "/v1/account", {"company": None}, key=found).json["company"] is None
    me = send(app, "GET", "/v1/me", key=found).json
    assert set(me) == {"id", "email", "name", "company", "plan", "usage_detail", "created_at"}
    assert (me["email"], me["name"]) == ("owner@acme.example", "Olga")
    recorded = [object_id for _, action, object_id in organisation.actions() if action == "setting.changed"]
    assert sorted(recorded) == ["company", "company", "time_zone", "usage_detail"]


@pytest.mark.parametrize(
    "body",
    [
        {"plan": "enterprise"}, {"retention_days": None}, {"time_zone": "Mars/Base"}, {"time_zone": None},
        {"time_zone": "../../etc/passwd"}, {"usage_detail": "yes"}, {"usage_detail": None}, {"company": ""},
        {"company": "a\0b"}, {"company": "x" * 300}, {"company": ["x"]}, [], "text", 1, None, {"id": "acc_0"},
    ],
    ids=json.dumps,
)  # fmt: skip
def test_what_is_no_setting_is_refused_and_changes_nothing(organisation: Organisation, app: ASGIApp, body: Any) -> None:
    before = organisation.settings.find(organisation.account.id)
    assert send(app, "PATCH", "/v1/account", json.dumps(body).encode(), key=key(organisation)).status == 400
    assert organisation.settings.find(organisation.account.id) == before


def test_members_are_invited_changed_and_removed(organisation: Organisation, app: ASGIApp, mailbox: Mailbox) -> None:
    found = key(organisation)
    invited = send(app, "POST", "/v1/members", {"email": "New@acme.example", "role": "viewer"}, key=found)
    assert invited.status == 201
    assert (invited.json["email"], invited.json["status"]) == ("new@acme.example", "invited")
    assert mailbox.mails[-1][:2] == ("new@acme.example", "invitation")
    assert mailbox.token("invitation") not in invited.body.decode()
    path = f"/v1/members/{invited.json['id']}"
    assert send(app, "PATCH", path, {"role": "admin", "name": "Nia"}, key=found).json["name"] == "Nia"
    assert send(app, "GET", path, key=found).json["role"] == "admin"
    listed = send(app, "GET", "/v1/members", key=found).json["data"]
    assert [member["email"] for member in listed] == sorted(member["email"] for member in listed)
    assert len(listed) == 4
    assert send(app, "DELETE", path, key=found).status == 200
    assert send(app, "GET", path, key=found).status == 404


def test_a_key_makes_no_owner_and_the_last_owner_stays(organisation: Organisation, app: ASGIApp) -> None:
    found, owner = key(organisation), f"/v1/members/{organisation.owner.id}"
    assert send(app, "POST", "/v1/members", {"email": "n@x.example", "role": "owner"}, key=found).status == 403
    assert send(app, "PATCH", f"/v1/members/{organisation.admin.id}", {"role": "owner"}, key=found).status == 403
    assert send(app, "DELETE", owner, key=found).status == 403
    again = {"email": "owner@acme.example", "role": "viewer"}
    assert send(app, "POST", "/v1/members", again, key=found).status == 409


def test_keys_are_created_renamed_rotated_and_revoked(organisation: Organisation, app: ASGIApp, clock: Clock) -> None:
    admin = key(organisation)
    created = send(app, "POST", "/v1/keys", {"name": "app"}, key=admin)
    assert (created.status, created.json["scopes"]) == (201, ["ingest", "read"])
    path, text = f"/v1/keys/{created.json['id']}", created.json["key"]
    assert send(app, "GET", "/v1/account", key=text).status == 200
    assert send(app, "PATCH", path, {"name": "renamed"}, key=admin).json["name"] == "renamed"
    rotated = send(app, "POST", f"{path}/rotate", {"overlap_s": 60}, key=admin).json
    assert send(app, "GET", path, key=admin).json["expires_at"] is not None
    clock.pass_s(60)
    assert [send(app, "GET", "/v1/me", key=one).status for one in (text, rotated["key"])] == [401, 200]
    assert send(app, "DELETE", f"/v1/keys/{rotated['id']}", key=admin).json["revoked_at"] is not None
    assert send(app, "GET", "/v1/me", key=rotated["key"]).status == 401
    assert send(app, "DELETE", f"/v1/keys/{rotated['id']}", key=admin).status == 409
    bodies = [send(app, "GET", target, key=admin).body.decode() for target in ("/v1/keys", path)]
    assert all(secret not in body for secret in (text, rotated["key"], admin) for body in bodies)


def test_a_key_gives_no_more_scopes_than_it_has(organisation: Organisation, app: ASGIApp) -> None:
    found = key(organisation, "admin")
    for scopes in (["read"], ["ingest", "read"], list(SCOPES)):
        answer = send(app, "POST", "/v1/keys", {"scopes": scopes}, key=found)
        assert (answer.status, code(answer)) == (403, "forbidden")
    assert send(app, "POST", "/v1/keys", {"scopes": ["admin"]}, key=found).status == 201


def test_two_accounts_never_reach_each_other(organisation: Organisation, app: ASGIApp) -> None:
    other = Organisation(organisation.accounts, Mailbox(), "other")
    mine, theirs = key(organisation), key(other)
    their_key = permissions.of_key("key_0", SCOPES) and other.keys.all(other.account.id)[0].id
    before = (other.actions(), other.members.all(other.account.id), other.keys.all(other.account.id))
    for method, path, body in ADMIN:
        for id_ in (other.owner.id, other.viewer.id, their_key, other.account.id):
            target = path.replace("mem_0", id_).replace("key_0", id_)
            if target != path:
                assert send(app, method, target, body, key=mine).status == 404, (method, target)
    assert (other.actions(), other.members.all(other.account.id), other.keys.all(other.account.id)) == before
    for path in (*READING[:3], "/v1/members"):
        assert other.account.id not in send(app, "GET", path, key=mine).body.decode()
        assert organisation.account.id not in send(app, "GET", path, key=theirs).body.decode()


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/v1/me", None, 200),
        ("GET", "/v1/none", None, 404),
        ("GET", "/v1/keys/key_0", None, 404),
        ("PUT", "/v1/me", None, 405),
        ("PATCH", "/v1/account", b"no json", 400),
        ("PATCH", "/v1/account", {"colour": 1}, 400),
        ("PATCH", "/v1/account", b"x" * (2**20 + 1), 413),
        ("GET", "/v1/failing", None, 500),
        ("DELETE", "/v1/members/OWNER", None, 403),
    ],
)
def test_every_response_to_a_valid_key_has_the_limit_headers(
    organisation: Organisation, app: ASGIApp, method: str, path: str, body: Any, status: int
) -> None:
    organisation.settings.set_plan(organisation.account.id, permissions.operator(), "growth")
    found = key(organisation)
    answer = send(app, method, path.replace("OWNER", organisation.owner.id), body, key=found)
    assert answer.status == status
    assert [answer.headers[name] for name in LIMIT_HEADERS[:2]] == ["300", "299"]
    assert int(answer.headers["x-ratelimit-reset"]) % 60 == 0
    assert b"a value that must not be" not in answer.body
    reader = send(app, "PATCH", "/v1/account", {}, key=key(organisation, "read"))
    assert (reader.status, reader.headers["x-ratelimit-remaining"]) == (403, "298")


@pytest.mark.parametrize(("plan", "limit"), [("free", 60), ("growth", 300), ("scale", 1000), ("enterprise", 5)])
def test_the_plan_limits_requests_and_the_refusal_has_the_headers(
    organisation: Organisation, app: ASGIApp, plan: str, limit: int
) -> None:
    own = limit if plan == "enterprise" else None
    organisation.settings.set_plan(organisation.account.id, permissions.operator(), plan, requests_per_minute=own)
    found = key(organisation)
    first = send(app, "GET", "/v1/none", key=found)
    assert [first.headers[name] for name in LIMIT_HEADERS[:2]] == [str(limit), str(limit - 1)]
    if limit <= 60:
        answers = [send(app, "GET", "/v1/none", key=found) for _ in range(limit)]
        assert [answer.status for answer in answers] == [404] * (limit - 1) + [429]
        assert [answers[-1].headers[name] for name in LIMIT_HEADERS[:2]] == [str(limit), "0"]
        assert int(answers[-1].headers["retry-after"]) > 0


@pytest.mark.parametrize("plan", ["self_hosted", "enterprise"])
def test_an_account_without_a_limit_has_headers_that_say_so(
    organisation: Organisation, app: ASGIApp, plan: str
) -> None:
    organisation.settings.set_plan(organisation.account.id, permissions.operator(), plan)
    answer = send(app, "GET", "/v1/me", key=key(organisation))
    assert [answer.headers[name] for name in LIMIT_HEADERS[:2]] == ["unlimited", "unlimited"]
    assert int(answer.headers["x-ratelimit-reset"]) % 60 == 0


def test_without_a_valid_key_there_are_no_headers(app: ASGIApp) -> None:
    answer = send(app, "GET", "/v1/account", key="ip-not-a-key-of-this-server")
    assert answer.status == 401
    assert not any(name in answer.headers for name in LIMIT_HEADERS)


_TEXT = st.text(max_size=40) | st.sampled_from(["\0", "\ud800", "' OR 1=1", "../..", "%00", "\u202e", "x" * 300])
_VALUE = (
    st.none()
    | st.booleans()
    | st.integers()
    | _TEXT
    | st.lists(_TEXT, max_size=3)
    | st.dictionaries(_TEXT, _TEXT, max_size=2)
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    case=st.sampled_from(ADMIN),
    id_=_TEXT,
    body=st.dictionaries(
        st.sampled_from(["email", "name", "role", "scopes", "company", "time_zone", "overlap_s", "usage_detail"])
        | _TEXT,
        _VALUE,
        max_size=4,
    ),
)
def test_no_body_and_no_id_make_the_server_fail(
    organisation: Organisation, app: ASGIApp, case: tuple[str, str, Any], id_: str, body: dict[str, Any]
) -> None:
    method, path, _ = case
    target = path.replace("mem_0", id_).replace("key_0", id_)
    answer = send_raw(app, method, target, body, key(organisation))
    assert answer.status < 500, answer
    assert all(name in answer.headers for name in LIMIT_HEADERS)


def send_raw(app: ASGIApp, method: str, path: str, body: dict[str, Any], found: str) -> Answer:
    """A request with a path as a server decodes it, which may have any character but a query."""
    decoded = path.replace("?", "").encode("utf-8", "replace").decode()
    return send(app, method, decoded, json.dumps(body).encode(), [("content-type", "application/json")], key=found)


def test_a_database_that_is_unavailable_is_a_503(tmp_path: Any, clock: Clock) -> None:
    accounts = Accounts(tmp_path / "accounts.sqlite", clock)
    organisation = Organisation(accounts, Mailbox())
    app, found = application(organisation), key(organisation)
    assert send(app, "GET", "/v1/members", key=found).status == 200
    (tmp_path / "accounts.sqlite").write_bytes(b"x" * 4096)
    assert send(app, "GET", "/v1/members", key=found).status == 503
    clock.pass_s(10)
    assert send(app, "GET", "/v1/members", key=found).status == 503
    accounts.close()
