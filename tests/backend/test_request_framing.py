"""A request has one Authorization header, one length, and a limited number of headers."""

from __future__ import annotations

import pytest
from tests.kit.backend import KEY, Backend
from tests.kit.connections import closed_within, connect

ALLOWED = {"/v1/traces": "POST", "/v1/events": "GET", "/v1/me": "GET", "/healthz": "GET"}


def _answer(backend: Backend, sent: str, *, closes: bool) -> bytes:
    with connect(backend) as connection:
        connection.sendall(sent.encode())
        answer = connection.recv(65_536)
        if closes:
            assert closed_within(connection, 3)  # less than the time of a connection without a request
    return answer.lower()


@pytest.mark.parametrize("path", ["/v1/me", "/v1/traces"])
@pytest.mark.parametrize("others", [[KEY], ["ip-not-a-key-of-this-server"], [KEY, KEY]])
def test_several_authorization_headers_are_no_authentication(backend: Backend, path: str, others: list[str]) -> None:
    lines = "".join(f"authorization: Bearer {key}\r\n" for key in (KEY, *others))
    method = "GET" if path == "/v1/me" else "POST"
    answer = _answer(backend, f"{method} {path} HTTP/1.1\r\nhost: x\r\n{lines}\r\n", closes=False)
    assert answer.startswith(b"http/1.1 401")


@pytest.mark.parametrize("path", ["/v1/traces", "/v1/me", "/healthz", "/none"])
@pytest.mark.parametrize(
    "lengths",
    [
        "content-length: 5\r\ntransfer-encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n",
        "transfer-encoding: Chunked\r\ncontent-length: 3\r\ncontent-length: 3\r\n",
    ],
)
def test_a_request_with_two_kinds_of_length_is_rejected_and_nothing_after_it_is_read(
    backend: Backend, path: str, lengths: str
) -> None:
    smuggled = "GET /v1/me HTTP/1.1\r\nhost: x\r\n\r\n"
    sent = f"POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\n{lengths}\r\n0\r\n\r\n{smuggled}"
    answer = _answer(backend, sent, closes=True)
    assert answer.startswith(b"http/1.1 400")
    assert answer.count(b"http/1.1") == 1


@pytest.mark.parametrize(
    "headers",
    ["a: b\r\n" * 200, f"a: {'x' * 60_000}\r\n", "".join(f"a{number}: {'x' * 1000}\r\n" for number in range(40))],
    ids=["many", "one large", "large in total"],
)
def test_a_request_with_too_many_or_too_large_headers_is_rejected(backend: Backend, headers: str) -> None:
    sent = f"GET /v1/me HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\n{headers}\r\n"
    assert _answer(backend, sent, closes=True).startswith((b"http/1.1 431", b"http/1.1 400"))


def test_a_request_with_a_long_query_is_rejected(backend: Backend) -> None:
    target = f"/v1/events?session_id={'x' * 20_000}"
    sent = f"GET {target} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\n\r\n"
    assert _answer(backend, sent, closes=True).startswith((b"http/1.1 431", b"http/1.1 400"))


@pytest.mark.parametrize("path", ALLOWED)
@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS"])
def test_a_method_that_is_not_allowed_is_answered_with_the_allowed_ones(
    backend: Backend, path: str, method: str
) -> None:
    sent = f"{method} {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\n\r\n"
    answer = _answer(backend, sent, closes=False)
    assert answer.startswith(b"http/1.1 405")
    assert f"\r\nallow: {ALLOWED[path]}\r\n".lower().encode() in answer
