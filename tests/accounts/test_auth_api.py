"""The routes under /auth/: the cookie, requests from other sites, and responses that do not show who is a member."""

from __future__ import annotations

import re
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

import pytest
from starlette.types import ASGIApp
from tests.kit.accounts import PASSWORD, Mailbox, Organisation, application
from tests.kit.asgi import Headers, send
from tests.kit.backend import Answer

from infraprism.backend.accounts import Accounts
from infraprism.backend.accounts.login_limits import PER_EMAIL

DOCS = (Path(__file__).parents[2] / "docs" / "accounts.md").read_text("utf-8")
LOGIN = {"email": "viewer@acme.example", "password": PASSWORD}
POSTS = (
    "setup", "accept-invitation", "login", "logout", "verify-email", "request-password-reset", "reset-password",
    "change-password",
)  # fmt: skip


@pytest.fixture
def app(organisation: Organisation) -> ASGIApp:
    return application(organisation)


def cookie_of(answer: Answer) -> str:
    return answer.headers["set-cookie"].partition(";")[0]


def login(app: ASGIApp, headers: Headers = (), **changes: Any) -> Answer:
    return send(app, "POST", "/auth/login", {**LOGIN, **changes}, headers)


def test_a_login_sets_a_cookie_that_scripts_cannot_read(app: ASGIApp) -> None:
    answer = login(app)
    assert answer.status == 200
    (morsel,) = SimpleCookie(answer.headers["set-cookie"]).values()
    assert (morsel.key, morsel["path"], morsel["samesite"], morsel["httponly"]) == ("infraprism", "/", "lax", True)
    assert not morsel["domain"]
    assert morsel.value not in answer.body.decode()
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json["member"]["email"] == LOGIN["email"]


@pytest.mark.parametrize(
    ("scheme", "host", "base_url", "is_secure"),
    [
        ("http", "127.0.0.1:4318", "", False),
        ("http", "localhost:4318", "", False),
        ("http", "[::1]:4318", "", False),
        ("http", "infraprism.example", "", True),
        ("http", "127.0.0.1.evil.example", "", True),
        ("http", "localhost@evil.example", "", True),
        ("https", "127.0.0.1:4318", "", True),
        ("http", "127.0.0.1:4318", "https://infraprism.example", True),
    ],
)
def test_the_cookie_is_secure_except_on_plain_loopback(
    organisation: Organisation, scheme: str, host: str, base_url: str, *, is_secure: bool
) -> None:
    answer = send(application(organisation, base_url), "POST", "/auth/login", LOGIN, [("host", host)], scheme=scheme)
    assert answer.status == 200
    assert ("; Secure" in answer.headers["set-cookie"]) is is_secure
    assert answer.headers["set-cookie"].startswith("__Host-infraprism=") is is_secure


def test_a_login_replaces_the_session_and_a_logout_ends_it(app: ASGIApp) -> None:
    first = cookie_of(login(app))
    second = cookie_of(login(app, [("cookie", first)]))
    assert first != second
    statuses = [send(app, "GET", "/auth/sessions/current", None, [("cookie", one)]).status for one in (first, second)]
    assert statuses == [401, 200]
    left = send(app, "POST", "/auth/logout", {}, [("cookie", second)])
    assert (left.status, "Max-Age=0" in left.headers["set-cookie"]) == (204, True)
    assert send(app, "GET", "/auth/sessions/current", None, [("cookie", second)]).status == 401
    assert send(app, "POST", "/auth/logout", {}).status == 204


def test_sessions_are_listed_and_revoked(app: ASGIApp) -> None:
    mine, other = (cookie_of(login(app)) for _ in range(2))
    listed = send(app, "GET", "/auth/sessions", None, [("cookie", mine)]).json["data"]
    (current,) = [one["id"] for one in listed if one["is_current"]]
    others = [one["id"] for one in listed if one["id"] != current]
    for id_ in others:
        assert send(app, "DELETE", f"/auth/sessions/{id_}", None, [("cookie", mine)]).status == 204
    assert send(app, "GET", "/auth/sessions", None, [("cookie", other)]).status == 401
    assert send(app, "DELETE", "/auth/sessions/ses_0", None, [("cookie", mine)]).status == 404
    assert send(app, "DELETE", "/auth/sessions", None, [("cookie", mine)]).status == 204
    assert send(app, "GET", "/auth/sessions", None, [("cookie", mine)]).status == 401


@pytest.mark.parametrize(
    "headers",
    [
        [("origin", "https://evil.example")],
        [("origin", "null")],
        [("origin", "http://127.0.0.1:9999")],
        [("origin", "http://127.0.0.1:4318"), ("origin", "https://evil.example")],
        [("origin", "")],
        [("sec-fetch-site", "cross-site")],
        [("sec-fetch-site", "same-site")],
    ],
    ids=str,
)
def test_a_request_of_a_page_of_another_site_is_refused(app: ASGIApp, headers: Headers) -> None:
    session = cookie_of(login(app))
    for name in POSTS:
        answer = send(app, "POST", f"/auth/{name}", {}, [*headers, ("cookie", session)])
        assert answer.status == 403, name
    assert send(app, "DELETE", "/auth/sessions", None, [*headers, ("cookie", session)]).status == 403
    assert send(app, "GET", "/auth/sessions/current", None, [("cookie", session)]).status == 200


@pytest.mark.parametrize("origin", ["http://127.0.0.1:4318", "https://127.0.0.1:4318", "https://infraprism.example"])
def test_a_request_of_a_page_of_this_server_is_accepted(organisation: Organisation, origin: str) -> None:
    app = application(organisation, "https://infraprism.example")
    assert login(app, [("origin", origin), ("sec-fetch-site", "same-origin")]).status == 200


def test_a_plain_http_page_of_a_public_host_is_not_this_server(app: ASGIApp) -> None:
    headers = [("host", "infraprism.example"), ("origin", "http://infraprism.example")]
    assert login(app, headers).status == 403
    assert login(app, [headers[0], ("origin", "https://infraprism.example")]).status == 200


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_a_body_that_a_form_can_send_is_refused(app: ASGIApp, content_type: str) -> None:
    for name in POSTS:
        answer = send(app, "POST", f"/auth/{name}", LOGIN, [("content-type", content_type)])
        assert answer.status == 415, name


def test_responses_do_not_show_who_is_a_member(app: ASGIApp) -> None:
    answers = [login(app, email=email, password="wrong") for email in (LOGIN["email"], "unknown@acme.example", "no")]
    assert {answer.status for answer in answers} == {401}
    assert len({answer.body for answer in answers}) == 1
    resets = [
        send(app, "POST", "/auth/request-password-reset", {"email": email})
        for email in (LOGIN["email"], "unknown@acme.example", "no")
    ]
    assert {(answer.status, answer.body) for answer in resets} == {(202, b"{}")}
    assert len({tuple(answer.headers.items()) for answer in resets}) == 1


def test_too_many_attempts_are_refused_for_any_email(app: ASGIApp) -> None:
    for email in (LOGIN["email"], "unknown@acme.example"):
        answers = [login(app, email=email, password="wrong") for _ in range(PER_EMAIL + 1)]
        assert [answer.status for answer in answers] == [401] * PER_EMAIL + [429]
        assert int(answers[-1].headers["retry-after"]) > 0


def test_the_whole_life_of_a_password(accounts: Accounts, mailbox: Mailbox) -> None:
    organisation = Organisation(accounts, mailbox)
    app = application(organisation)
    token = organisation.logins.setup_link(organisation.account.id)
    body = {"token": token, "email": "Eve@acme.example", "name": "Eve", "password": PASSWORD}
    made = send(app, "POST", "/auth/setup", body)
    assert (made.status, made.json["member"]["role"]) == (201, "owner")
    assert send(app, "GET", "/auth/sessions/current", None, [("cookie", cookie_of(made))]).status == 200
    assert send(app, "POST", "/auth/setup", {**body, "email": "f@acme.example"}).json["error"]["code"] == "invalid_link"
    assert send(app, "POST", "/auth/verify-email", {"token": mailbox.token("verify_email")}).status == 204
    assert send(app, "POST", "/auth/request-password-reset", {"email": "eve@acme.example"}).status == 202
    reset = {"token": mailbox.token("reset_password"), "password": "another password 2"}
    assert send(app, "POST", "/auth/reset-password", {**reset, "password": "short"}).status == 400
    assert send(app, "POST", "/auth/reset-password", reset).status == 204
    assert send(app, "GET", "/auth/sessions/current", None, [("cookie", cookie_of(made))]).status == 401
    session = cookie_of(login(app, email="eve@acme.example", password="another password 2"))
    change = {"password": "another password 2", "new_password": "yet another password"}
    assert send(app, "POST", "/auth/change-password", change).status == 401
    changed = send(app, "POST", "/auth/change-password", change, [("cookie", session)])
    assert changed.status == 200
    assert cookie_of(changed) != session
    assert login(app, email="eve@acme.example", password="yet another password").status == 200


def test_opening_a_link_does_not_use_it(organisation: Organisation, app: ASGIApp) -> None:
    token = organisation.logins.setup_link(organisation.account.id)
    shown = send(app, "GET", f"/auth/setup?token={token}")
    assert (shown.status, shown.headers["referrer-policy"]) == (200, "no-referrer")
    assert token not in shown.body.decode()
    assert organisation.logins.links.is_valid("setup", token)
    assert send(app, "GET", "/auth/none").status == 404


def test_a_cookie_gives_no_access_to_the_rest_api(app: ASGIApp) -> None:
    session = cookie_of(login(app))
    assert send(app, "GET", "/v1/me", None, [("cookie", session)]).status == 401


@pytest.mark.parametrize(
    "body",
    [
        b"", b"no json", b"[]", b"null", b'"text"', b"{}", b'{"email": 1, "password": []}', b'{"email": "a", "x": 1}',
        b'{"email": "\\ud800", "password": "\\u0000"}', b"\xff\xfe", b"[" * 10_000,
    ],
    ids=lambda body: body[:20],
)  # fmt: skip
def test_no_body_makes_a_route_fail(app: ASGIApp, body: bytes) -> None:
    for name in POSTS:
        answer = send(app, "POST", f"/auth/{name}", body)
        assert answer.status < 500, name


def test_a_large_body_is_refused(app: ASGIApp) -> None:
    assert send(app, "POST", "/auth/login", b" " * (2**20 + 1)).status == 413


def test_a_refused_password_is_in_no_response(app: ASGIApp) -> None:
    secret = "secret-password-in-a-wrong-field"
    for body in ({"email": secret, "password": [secret]}, {"email": "a@b.example", "password": secret, "more": secret}):
        assert secret not in send(app, "POST", "/auth/login", body).body.decode()


def test_the_documentation_lists_every_route() -> None:
    listed = set(re.findall(r"^\| `(GET|POST|DELETE) (/auth/\S+?)` \|", DOCS, re.MULTILINE))
    expected = {("POST", f"/auth/{name}") for name in POSTS} | {
        ("GET", "/auth/sessions"),
        ("GET", "/auth/sessions/current"),
        ("DELETE", "/auth/sessions"),
        ("DELETE", "/auth/sessions/{id}"),
    }
    assert listed == expected
