"""Runs `infraprism serve` with its own data directory as a child process of the demo."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from infraprism.cli.demo.processes import child, wait_for
from infraprism.cli.rest import Api

_READY: Final = re.compile(r"http://[0-9.]+:([0-9]+)")


@dataclass(frozen=True)
class Backend:
    """A running backend. `process` ends with the demo."""

    port: int
    api_key: str
    process: subprocess.Popen[bytes]

    @property
    def endpoint(self) -> str:
        """The URL of OTLP over HTTP and of the REST API."""
        return f"http://127.0.0.1:{self.port}"

    def api(self) -> Api:
        """A client of its REST API."""
        return Api(self.endpoint, self.api_key)


@contextlib.contextmanager
def backend(folder: Path, port: int | None) -> Iterator[Backend]:
    """Run a backend with a new key, on a free port if `port` is None. Raises Failure if it does not start."""
    log = folder / "serve.log"
    key = f"ip-{secrets.token_hex(16)}"
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "INFRAPRISM_"))}
    command = [sys.executable, "-m", "infraprism.cli", "serve", "--data-dir", str(folder / "data")]
    command += ["--host", "127.0.0.1", "--port", str(port or 0), "--grpc-port", "0"]
    with child(command, environment | {"INFRAPRISM_API_KEY": key}, log) as process:
        match = wait_for(lambda: _READY.search(log.read_text(errors="replace")), process, log, "infraprism serve")
        yield Backend(int(match[1]), key, process)
