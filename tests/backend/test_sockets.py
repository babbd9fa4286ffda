"""The server connects to nothing but what is configured, also in the native engine and under load of all kinds."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Queue
from typing import Any

import grpc  # type: ignore[import-untyped]  # the package has no types
import pytest
from aiosmtpd.controller import Controller
from tests.kit.backend import CALL, Backend, cleaned_span, request, span
from tests.kit.observed_sockets import Observed, observed
from tests.kit.ports import free_port
from tests.kit.random_calls import random_calls

DATES = {"start_date": "2026-01-01", "end_date": "2026-03-31"}
_WAIT_S = 30.0


class Mails:
    """The handler of an SMTP server."""

    def __init__(self) -> None:
        self.received: Queue[bytes] = Queue()

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802  # aiosmtpd calls it
        self.received.put(envelope.content)
        return "250 OK"


@contextmanager
def smtp_server() -> Iterator[tuple[int, Mails]]:
    mails = Mails()
    controller = Controller(mails, hostname="127.0.0.1", port=free_port())
    controller.start()
    try:
        yield controller.port, mails
    finally:
        controller.stop()


@pytest.fixture
def watched(tmp_path: Path) -> Observed:
    return observed(tmp_path)


def load(server: Backend) -> None:
    """Requests of all kinds: OTLP over both protocols, the REST API by its document, errors, members and keys."""
    calls = random_calls(2000, first=500_000)
    assert server.export(*map(span, calls[:20])).rejected == 0
    assert server.export(*map(span, calls[20:])).rejected == 0
    assert server.export(cleaned_span(CALL)).status == 200
    assert server.export(body=b"no OTLP").status == 400
    with grpc.insecure_channel(server.grpc_address) as channel:
        export = channel.unary_unary("/opentelemetry.proto.collector.trace.v1.TraceService/Export")
        body = request(map(span, random_calls(50, first=600_000))).SerializeToString()
        export(body, metadata=(("authorization", f"Bearer {server.key}"),), timeout=30)
    document = server.http("/openapi.json", None, {}).json
    paths = [path.replace("{", "").replace("}", "") for path, found in document["paths"].items() if "get" in found]
    every: tuple[dict[str, str], ...] = ({}, DATES, {"field": "model"}, {"start_date": "yesterday"})
    statuses = [server.get(path, **parameters).status for path in paths for parameters in every]
    assert statuses.count(200) > 20
    assert all(status < 500 for status in statuses)
    headers = {"content-type": "application/json", "authorization": f"Bearer {server.key}"}
    invited = json.dumps({"email": "grace@example.org", "role": "viewer"}).encode()
    assert server.http("/v1/members", invited, headers).status == 201
    assert server.http("/v1/keys", b"{}", headers).status == 201
    login = json.dumps({"email": "grace@example.org", "password": "a long password"}).encode()
    assert server.http("/auth/login", login, headers).status in (400, 401, 403)


def test_without_settings_of_third_parties_it_connects_to_nothing(tmp_path: Path, watched: Observed) -> None:
    with Backend(tmp_path / "data", python=watched.python) as server:
        load(server)
        assert server.stop()[0] == 0
    assert watched.addresses() == set()
    assert [line for line in watched.lines_of_python() if not _is_own_address(line)] == []


def _is_own_address(line: str) -> bool:
    """Whether a line is the look-up of the address that the server listens on."""
    return line.startswith("socket.getaddrinfo") and "'127.0.0.1'" in line


def test_with_mail_it_connects_to_the_smtp_server_only(tmp_path: Path, watched: Observed) -> None:
    with smtp_server() as (port, mails):
        settings = {"smtp": f"smtp://127.0.0.1:{port}", "mail_from": "noreply@example.com"}
        with Backend(tmp_path / "data", python=watched.python, settings=settings) as server:
            load(server)
            assert b"grace@example.org" in mails.received.get(timeout=_WAIT_S)
            assert server.stop()[0] == 0
    assert watched.addresses() == {("127.0.0.1", port)}
    connections = [line for line in watched.lines_of_python() if line.startswith("socket.connect")]
    assert connections
    assert all(f"('127.0.0.1', {port})" in line for line in connections)


_OTHER = """
import socket, sys, threading
threading.Thread(target=lambda: socket.create_connection(("127.0.0.1", int(sys.argv[1])))).start()
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", int(sys.argv[2])))
"""


def test_the_observation_finds_connections_and_messages_of_all_threads(watched: Observed) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port, other = listening.getsockname()[1], free_port()
        subprocess.run([watched.python, "-c", _OTHER, str(port), str(other)], check=True, timeout=60)
        expected = {("127.0.0.1", port), ("127.0.0.1", other)}
        deadline = time.monotonic() + _WAIT_S
        while watched.addresses() != expected and time.monotonic() < deadline:  # strace is a process of its own
            threading.Event().wait(0.05)
    assert watched.addresses() == expected
    assert {line.split()[0] for line in watched.lines_of_python()} >= {"socket.connect", "socket.sendto"}
