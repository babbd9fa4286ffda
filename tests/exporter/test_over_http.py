"""What is special about HTTP."""

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


def test_one_connection_serves_many_requests(sink: OtlpSink, make: Make) -> None:
    exporter = make(sink.endpoint)
    for first in (1, 2, 3):
        exporter.export_events(events(1, first=first))
        assert exporter.force_flush(5000)
    assert len(sink.requests) == 3
    assert len(sink._server.open) == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed_and_is_no_success(sink: OtlpSink, make: Make, status: int) -> None:
    with OtlpSink() as elsewhere:
        sink.answer_with(Reply(status=status, headers={"location": elsewhere.endpoint + "/v1/traces"}))
        exporter = make(sink.endpoint)
        exporter.export_events(events(2))
        assert not exporter.force_flush(5000)
        assert elsewhere.requests == []
    assert exporter.delivery_stats.snapshot()["rejected"] == {"redirect": 2}


@pytest.mark.parametrize("body", [b"<html>Sign in</html>", b"\xff" * 100, b"\0" * 1_000_000])
def test_a_success_that_is_no_otlp_answer_is_not_taken_for_one(sink: OtlpSink, make: Make, body: bytes) -> None:
    sink.answer_with(Reply(body=body))
    exporter = make(sink.endpoint)
    exporter.export_events(events(2))
    assert exporter.force_flush(5000)
    assert len(sink.requests) >= 2


def test_an_answer_in_json_is_read_too(sink: OtlpSink, make: Make) -> None:
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


def test_a_body_that_drips_does_not_hold_up_delivery_for_ever(make: Make) -> None:
    with _Dripping() as port:
        exporter = make(f"http://localhost:{port}", timeout_s=0.3)
        exporter.export_events(events(1))
        started = time.monotonic()
        assert exporter.force_flush(10_000)
        assert time.monotonic() - started < 5


def test_a_date_to_come_back_at_is_understood() -> None:
    assert 55 < (retry_after_s(format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)) or 0) <= 60
    assert retry_after_s("Thu, 01 Jan 1970 00:00:00 GMT") == 0.0
    assert retry_after_s(" 7 ") == 7.0
    assert retry_after_s("9" * 400) == 999_999_999.0
    for nothing in (None, "", "soon", "-3", "\u0663", "1.5"):
        assert retry_after_s(nothing) in (None, 3.0)


@given(st.text(max_size=40))
def test_any_retry_after_is_a_time_or_nothing(value: str) -> None:
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


def test_cookies_are_not_kept(sink: OtlpSink, make: Make) -> None:
    sink.answer_with(Reply(headers={"set-cookie": "seen=1"}))
    exporter = make(sink.endpoint)
    for first in (1, 2):
        exporter.export_events(events(1, first=first))
        assert exporter.force_flush(5000)
    assert "cookie" not in sink.requests[1].headers


def test_the_headers_are_ours_and_those_that_were_asked_for(sink: OtlpSink, make: Make) -> None:
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


class _Dripping:
    """Answers the first request one byte at a time, for ever, and takes the others."""

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
            self._answer(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n", self._drops())
        with suppress(OSError):
            self._answer(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n", ())

    def _answer(self, head: bytes, drops: Iterable[bytes]) -> None:
        connection, _ = self._socket.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(head)
            for byte in drops:
                connection.sendall(byte)

    def _drops(self) -> Iterator[bytes]:
        while not self._over.wait(0.05):
            yield b"x"
