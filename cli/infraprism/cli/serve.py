"""`infraprism serve`: runs the backend in one process."""

from __future__ import annotations

import argparse
from typing import Final

from infraprism.backend.server import Settings
from infraprism.backend.server import run as run_server
from infraprism.cli.command import Subparsers, mebibytes, new_parser, port
from infraprism.cli.data_dir import add_data_dir

_EXAMPLES: Final = """\
The first start creates a key and prints it, or uses the one in INFRAPRISM_API_KEY. OTLP over HTTP and the REST API
share a port. Port 0 is any free port. Ctrl-C stops the server; no accepted event is lost.

examples:
  infraprism serve
  infraprism serve --data-dir /var/lib/infraprism --host 0.0.0.0
  infraprism serve --port 4318 --grpc-port 4317"""


def add_parser(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Add the command to the parser."""
    parser = new_parser(subparsers, "serve", "run the backend: an OTLP receiver and a REST API", _EXAMPLES)
    add_data_dir(parser)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument(
        "--port", type=port, default=4318, help="OTLP over HTTP, and the REST API (default: %(default)s)"
    )
    parser.add_argument("--grpc-port", type=port, default=4317, help="OTLP over gRPC (default: %(default)s)")
    parser.add_argument(
        "--reserve-mib",
        type=mebibytes,
        metavar="MIB",
        help="free space of the disk that stays unused (default: 1024, or 5 %% of a smaller disk)",
    )
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> int:
    """Run the backend until it is stopped. It prints its own errors."""
    settings = Settings(
        data_dir=args.data_dir,
        host=args.host,
        port=args.port,
        grpc_port=args.grpc_port,
        reserve_bytes=None if args.reserve_mib is None else args.reserve_mib * 2**20,
    )
    return run_server(settings)
