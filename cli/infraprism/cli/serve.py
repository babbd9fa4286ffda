"""`infraprism serve`: runs the backend in one process."""

from __future__ import annotations

import argparse
from typing import Final

from infraprism.backend.server import Settings
from infraprism.backend.server import run as run_server
from infraprism.cli import backup_options, region_options
from infraprism.cli.command import Subparsers, mebibytes, new_parser, port, shards
from infraprism.cli.data_dir import add_data_dir
from infraprism.cli.links import add_public_url
from infraprism.cli.network import add_network_options, network_settings
from infraprism.cli.third_parties import third_party_settings
from infraprism.cli.urls import ACCOUNTS, STORE, add_url, hide_passwords, url

_EXAMPLES: Final = """\
The first start creates a key and prints it, or uses the one in INFRAPRISM_API_KEY. It also prints a link that creates
the first member (`infraprism account setup-link` prints another one). OTLP over HTTP and the REST API share a port.
Port 0 is any free port. Ctrl-C stops the server; no accepted event is lost.

Beyond this machine it listens only with TLS, or with --behind-proxy if a proxy in front of it uses TLS. The files of
the certificate are loaded again when they change.

Several servers with the same --store and --accounts are the nodes of a cluster (docs/scale.md).

examples:
  infraprism serve
  infraprism serve --data-dir /var/lib/infraprism
  infraprism serve --host 0.0.0.0 --tls-cert fullchain.pem --tls-key privkey.pem
  infraprism serve --host 0.0.0.0 --behind-proxy
  infraprism serve --port 4318 --grpc-port 4317
  infraprism serve --accounts postgresql://user:password@db/infraprism \\
      --store clickhouse://user:password@ch:8443/calls --host 0.0.0.0 --node-address https://node-1:4318 \\
      --tls-cert fullchain.pem --tls-key privkey.pem"""


def add_parser(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Add the command to the parser."""
    parser = new_parser(subparsers, "serve", "run the backend: an OTLP receiver and a REST API", _EXAMPLES)
    add_data_dir(parser)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument(
        "--port", type=port, default=4318, help="OTLP over HTTP, and the REST API (default: %(default)s)"
    )
    parser.add_argument("--grpc-port", type=port, default=4317, help="OTLP over gRPC (default: %(default)s)")
    add_network_options(parser)
    parser.add_argument(
        "--reserve-mib",
        type=mebibytes,
        metavar="MIB",
        help="free space of the disk that stays unused (default: 1024, or 5 %% of a smaller disk)",
    )
    add_url(parser, STORE)
    add_url(parser, ACCOUNTS)
    parser.add_argument(
        "--node-address", metavar="URL", help="where the other nodes reach this one (default: host name and --port)"
    )
    parser.add_argument(
        "--shards",
        type=shards,
        default=16,
        metavar="N",
        help="into how many shards the first node divides the events of a new cluster (default: %(default)s)",
    )
    region_options.add_regions(parser)
    backup_options.add_schedule(parser)
    add_public_url(parser)
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> int:
    """Run the backend until it is stopped. It prints its own errors. Raises Failure."""
    hide_passwords(args)
    backup_to, backup_every_s = backup_options.schedule(args)
    settings = Settings(
        data_dir=args.data_dir,
        host=args.host,
        port=args.port,
        grpc_port=args.grpc_port,
        reserve_bytes=None if args.reserve_mib is None else args.reserve_mib * 2**20,
        store=url(args, STORE),
        accounts=url(args, ACCOUNTS),
        node_address=args.node_address,
        shards=args.shards,
        region=region_options.region(args),
        regions=region_options.regions(args),
        backup_to=backup_to,
        backup_every_s=backup_every_s,
        backup_keep_days=backup_options.kept_days(args),
        backup_recipients=backup_options.recipients(args),
        public_url=args.public_url,
        **network_settings(args),
        **third_party_settings(),
    )
    return run_server(settings)
