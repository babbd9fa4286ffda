"""Behaviour that is specific to OTLP over HTTP."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.exporter.conftest import Make
from tests.kit.events import events
from tests.kit.otlp_sink import OtlpSink, Reply

from infraprism.exporter.over_http import retry_after_s

pytestmark = pytest.mark.usefixtures("short_waits")


@pytest.fixture
def protocol() -> str:
    return "http/protobuf"


def test_requests_reuse_one_connection(sink: OtlpSink, make: Make) -> None:
    exporter = make(sink.endpoint)
    for first in (1, 2, 3):
        exporter.export_events(events(1, first=first))
        assert exporter.force_flush(5000)
    assert len(sink.requests) == 3
    assert sink.open_connections == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed_and_not_counted_as_delivered(sink: OtlpSink, make: Make, status: int) -> None:
    with OtlpSink() as other:
        sink.answer_with(Reply(status=status, headers={"location": other.endpoint + "/v1/traces"}))
        exporter = make(sink.endpoint)
        exporter.export_events(events(2))
        assert not exporter.force_flush(5000)
        assert other.requests == []
    assert exporter.delivery_stats.snapshot()["rejected"] == {"redirect": 2}


@pytest.mark.parametrize("body", [b"<html>Sign in</html>", b"\xff" * 100, b"\0" * 1_000_000])
def test_a_successful_status_without_an_otlp_response_is_retried(sink: OtlpSink, make: Make, body: bytes) -> None:
    sink.answer_with(Reply(body=body))
    exporter = make(sink.endpoint)
    exporter.export_events(events(2))
    assert exporter.force_flush(5000)
    assert len(sink.requests) >= 2


def test_a_json_response_is_parsed(sink: OtlpSink, make: Make) -> None:
    json = {"content-type": "application/json"}
    sink.answer_with(
        Reply(body=b"{}", headers=json),
        Reply(body=b'{"partialSuccess": {"rejectedSpans": "1", "errorMessage": "x"}, "new": 1}', headers=json),
    )
    exporter = make(sink.endpoint)
    exporter.export_events(events(2))
    assert exporter.force_flush(5000)
    exporter.export_events(events(2))
    assert not exporter.force_flush(5000)
    counted = exporter.delivery_stats.snapshot()
    assert (counted["delivered"], counted["rejected"]) == ({"ok": 3}, {"partial_success": 1})


def test_a_slow_response_body_does_not_block_delivery(make: Make) -> None:
    with _SlowEndpoint() as port:
        exporter = make(f"http://localhost:{port}", timeout_s=0.3)
        exporter.export_events(events(1))
        started = time.monotonic()
        assert exporter.force_flush(10_000)
        assert time.monotonic() - started < 5


def test_retry_after_may_be_a_date_or_a_number() -> None:
    assert 55 < (retry_after_s(format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)) or 0) <= 60
    assert retry_after_s("Thu, 01 Jan 1970 00:00:00 GMT") == 0.0
    assert retry_after_s(" 7 ") == 7.0
    assert retry_after_s("9" * 400) == 999_999_999.0
    for invalid in (None, "", "soon", "-3", "\u0663", "1.5"):
        assert retry_after_s(invalid) in (None, 3.0)


@given(st.text(max_size=40))
def test_any_retry_after_is_parsed_to_seconds_or_none(value: str) -> None:
    seconds = retry_after_s(value)
    assert seconds is None or seconds >= 0


def test_a_netrc_file_does_not_replace_the_key(
    sink: OtlpSink, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine localhost login someone password hunter2\n")
    monkeypatch.setenv("NETRC", str(netrc))
    exporter = make(sink.endpoint)
    exporter.export_events(events(1))
    assert exporter.force_flush(5000)
    assert sink.requests[0].headers["authorization"] == "Bearer ip-secret-key"


def test_cookies_are_not_stored(sink: OtlpSink, make: Make) -> None:
    sink.answer_with(Reply(headers={"set-cookie": "seen=1"}))
    exporter = make(sink.endpoint)
    for first in (1, 2):
        exporter.export_events(events(1, first=first))
        assert exporter.force_flush(5000)
    assert "cookie" not in sink.requests[1].headers


def test_a_request_has_the_headers_of_the_protocol_and_the_configured_ones(sink: OtlpSink, make: Make) -> None:
    exporter = make(sink.endpoint, headers={"X-Tenant": "blue"})
    exporter.export_events(events(1))
    assert exporter.force_flush(5000)
    assert set(sink.requests[0].headers) == {
        "host",
        "authorization",
        "content-type",
        "content-encoding",
        "content-length",
        "accept-encoding",
        "user-agent",
        "x-tenant",
    }
    assert sink.requests[0].path == "/v1/traces"


class _SlowEndpoint:
    """Answers the first request one byte at a time without end, and accepts the others."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("localhost", 0))
        self._over = threading.Event()

    def __enter__(self) -> int:
        threading.Thread(target=self._serve, daemon=True).start()
        return int(self._socket.getsockname()[1])

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._socket.close()

    def _serve(self) -> None:
        with suppress(OSError):
            self._answer(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n", self._bytes())
        with suppress(OSError):
            self._answer(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n", ())

    def _answer(self, head: bytes, content: Iterable[bytes]) -> None:
        connection, _ = self._socket.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(head)
            for byte in content:
                connection.sendall(byte)

    def _bytes(self) -> Iterator[bytes]:
        while not self._over.wait(0.05):
            yield b"x"


def test_the_proxy_that_requires_a_password_is_no_answer_of_the_endpoint(sink: OtlpSink, make: Make) -> None:
    sink.answer_with(*[Reply(status=407)] * 5)
    exporter = make(sink.endpoint)
    exporter.export_events(events(2))
    assert exporter.force_flush(5000)
    assert exporter.delivery_stats.snapshot()["delivered"] == {"ok": 2}


@pytest.mark.parametrize(
    "header", [{"via": "1.1 squid"}, {"Proxy-Status": "corp; error=http_request_denied"}, {"proxy-connection": "close"}]
)
@pytest.mark.parametrize("status", [403, 404])
def test_a_client_error_with_headers_of_a_proxy_is_retried(
    sink: OtlpSink, make: Make, status: int, header: dict[str, str]
) -> None:
    sink.answer_with(*[Reply(status=status, headers=header)] * 2)
    exporter = make(sink.endpoint)
    exporter.export_events(events(2))
    assert exporter.force_flush(5000)
    counted = exporter.delivery_stats.snapshot()
    assert (counted["delivered"], counted["rejected"]) == ({"ok": 2}, {})


def test_a_client_error_through_a_configured_proxy_is_retried(
    sink: OtlpSink, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", sink.endpoint)
    sink.answer_with(*[Reply(status=403)] * 2)
    exporter = make("http://prism.invalid:4318")
    exporter.export_events(events(2))
    assert exporter.force_flush(5000)
    assert exporter.delivery_stats.snapshot()["delivered"] == {"ok": 2}


@pytest.mark.parametrize("header", [{}, {"via": "1.1 nginx"}])
def test_a_key_that_the_endpoint_does_not_know_is_not_retried(
    sink: OtlpSink, make: Make, header: dict[str, str]
) -> None:
    sink.answer_with(Reply(status=401, headers=header))
    exporter = make(sink.endpoint)
    exporter.export_events(events(2))
    assert not exporter.force_flush(5000)
    assert exporter.delivery_stats.snapshot()["rejected"] == {"http_401": 2}
