"""The official stripe-mock, built with Go once."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.kit.ports import free_port

VERSION = "v0.203.0"
_MODULE = f"github.com/stripe/stripe-mock@{VERSION}"
_PROGRAMS = Path(__file__).resolve().parents[2] / "build" / "stripe-mock" / VERSION
_START_S = 20.0


def _program() -> Path:
    """The program. Without Go the test is skipped with a message; in CI it fails."""
    program = _PROGRAMS / "stripe-mock"
    if program.exists():
        return program
    go = shutil.which("go")
    built = go and subprocess.run(
        [go, "install", _MODULE],
        env={**os.environ, "GOBIN": str(_PROGRAMS)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    if not built or built.returncode:
        message = f"NOT TESTED: stripe-mock needs Go and its module proxy: {built and built.stderr[-300:]}"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return program


@contextmanager
def stripe_mock() -> Iterator[str]:
    """The URL of a running server. It checks each request by the published OpenAPI document of Stripe."""
    port = free_port()
    process = subprocess.Popen(
        [str(_program()), "-http-addr", f"127.0.0.1:{port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + _START_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert time.monotonic() < deadline
                assert process.poll() is None
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait(timeout=10)
