"""`infraprism serve` with a data directory of its own, as a child of the demo."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from infraprism.cli.demo.processes import child, free_port, wait_until
from infraprism.cli.failure import Failure
from infraprism.cli.rest import Api

_KEY: Final = re.compile(r"\bip-[A-Za-z0-9_-]{8,}")


@dataclass(frozen=True)
class Backend:
    """A backend that answers. `process` ends with the demo."""

    port: int
    grpc_port: int
    api_key: str
    process: subprocess.Popen[bytes]

    @property
    def endpoint(self) -> str:
        """OTLP over HTTP, and the REST API."""
        return f"http://127.0.0.1:{self.port}"

    def api(self) -> Api:
        """Its REST API."""
        return Api(self.endpoint, self.api_key)


@contextlib.contextmanager
def backend(folder: Path, port: int | None) -> Iterator[Backend]:
    """Start it, with free ports where none is given, and stop it with the block. Raises Failure."""
    chosen, grpc_port = port or free_port(), free_port()
    log = folder / "serve.log"
    command = [sys.executable, "-m", "infraprism.cli", "serve", "--data-dir", str(folder / "data")]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "INFRAPRISM_"))}
    with child(
        [*command, "--host", "127.0.0.1", "--port", str(chosen), "--grpc-port", str(grpc_port)], environment, log
    ) as process:
        api = Api(f"http://127.0.0.1:{chosen}", "none")
        wait_until(lambda: _answers(api), process, log, "infraprism serve")
        key = _KEY.search(log.read_text(errors="replace"))
        if key is None:
            raise Failure("infraprism serve printed no key")
        yield Backend(chosen, grpc_port, key[0], process)


def _answers(api: Api) -> bool:
    try:
        return api.is_healthy()
    except Failure:
        return False
