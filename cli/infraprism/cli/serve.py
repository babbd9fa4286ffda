"""`infraprism serve`: the backend in one process."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Final

from infraprism.cli.command import Subparsers, new_parser
from infraprism.cli.failure import Failure

_EXAMPLES: Final = """\
The first start prints a key for the apps (INFRAPRISM_API_KEY). OTLP over HTTP and the REST API share a port.

examples:
  infraprism serve
  infraprism serve --data-dir /var/lib/infraprism --host 0.0.0.0
  infraprism serve --port 4318 --grpc-port 4317"""
_SERVER_PACKAGES: Final = ("chdb", "clickhouse_connect", "fastapi", "uvicorn", "yaml", "starlette", "pydantic")


def add_parser(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Describe the command."""
    parser = new_parser(subparsers, "serve", "run the backend: OTLP in, REST API out", _EXAMPLES)
    parser.add_argument(
        "--data-dir", type=Path, default=default_data_dir(), help="where the data is kept (default: %(default)s)"
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument(
        "--port", type=int, default=4318, help="OTLP over HTTP, and the REST API (default: %(default)s)"
    )
    parser.add_argument("--grpc-port", type=int, default=4317, help="OTLP over gRPC (default: %(default)s)")
    parser.set_defaults(run=run)
    return parser


def default_data_dir() -> Path:
    """The user's data directory, as the XDG base directory specification has it."""
    home = os.environ.get("XDG_DATA_HOME", "")
    return (Path(home) if home.startswith("/") else Path.home() / ".local" / "share") / "infraprism"


def run(args: argparse.Namespace) -> int:
    """Serve until stopped."""
    try:
        from infraprism.backend import server  # noqa: PLC0415  # not in a client install
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _SERVER_PACKAGES:
            raise
        raise Failure("the backend needs more packages: pip install 'infraprism-opentelemetry[server]'") from None
    return server.run(server.Settings(data_dir=args.data_dir, host=args.host, port=args.port, grpc_port=args.grpc_port))
