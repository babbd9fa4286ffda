"""Slow clients delay the end of the server by a limited time, and accepted requests are stored."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.backend.test_grpc_calls import stalled_calls
from tests.kit.backend import KEY, PROTOBUF, Backend, span
from tests.kit.command import clean_environment
from tests.kit.connections import connect, fill
from tests.kit.events import event

_BOUND_S = 15
_SLOW_QUERY = "SELECT sum(cityHash64(number)) AS x FROM numbers(100000000000)"


def test_slow_clients_delay_the_end_by_less_than_15_seconds(tmp_path: Path) -> None:
    with Backend(tmp_path / "data") as backend, contextlib.ExitStack() as stack:
        fill(backend, 20, stack, b"")
        fill(backend, 20, stack, b"GET /healthz HTTP/1.1\r\nhost")
        headers = (
            f"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: {PROTOBUF}\r\nauthorization: Bearer {backend.key}"
            "\r\ncontent-length: 100000\r\n\r\nx"
        )
        fill(backend, 20, stack, headers.encode())
        slow = stack.enter_context(connect(backend))
        slow.sendall(headers.encode())
        stack.enter_context(stalled_calls(backend, 20, backend.key))
        ended = threading.Event()
        stack.callback(ended.set)

        def trickle() -> None:
            with contextlib.suppress(OSError):
                while not ended.wait(0.2):
                    slow.sendall(b"x")

        threading.Thread(target=trickle).start()
        with ThreadPoolExecutor(1) as pool:
            accepted = pool.submit(backend.export, span(event(1)))
            assert accepted.result().rejected == 0
        started = time.monotonic()
        assert backend.stop() == (0, "")
        assert time.monotonic() - started < _BOUND_S
    with Backend(tmp_path / "data") as backend:
        assert len(backend.events()) == 1


def test_long_queries_delay_the_end_by_less_than_15_seconds(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from infraprism.backend.api import events;"
        f" events.page = lambda database, *_: database.read({_SLOW_QUERY!r}, {{}});"
        " from infraprism.backend.server import Settings, run;"
        " sys.exit(run(Settings(data_dir=Path(sys.argv[1]), port=0, grpc_port=0)))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "data")],
        env=clean_environment(INFRAPRISM_API_KEY=KEY),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    backend = Backend.running(process, tmp_path / "data")
    with contextlib.ExitStack() as stack:
        get = f"GET /v1/events HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\n\r\n".encode()
        assert backend.export(span(event(1))).rejected == 0
        fill(backend, 12, stack, get)
        threading.Event().wait(1.5)  # the first ones run
        started = time.monotonic()
        status, _ = backend.stop(signal.SIGTERM)
        assert status == 0
        assert time.monotonic() - started < _BOUND_S
    with Backend(tmp_path / "data") as backend:
        assert len(backend.events()) == 1
