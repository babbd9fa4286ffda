"""`infraprism usage-data`: what a server holds about the use of the service by the account."""

from __future__ import annotations

import argparse
import sys
from typing import Final

from infraprism.cli.command import Subparsers, new_parser
from infraprism.cli.rest import Api
from infraprism.cli.table import Column, render, terminal_width
from infraprism.schema import exact_json

_EXAMPLES: Final = """\
Usage data has page views, features, and the requests to the REST API: no query string, no body and no address.

examples:
  infraprism usage-data
  infraprism usage-data --requests 100
  infraprism usage-data --json"""
_MAX_REQUESTS: Final = 1000


def add_parser(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Add the command to the parser."""
    parser = new_parser(subparsers, "usage-data", "show what a server holds about the use of the service", _EXAMPLES)
    parser.add_argument("--requests", type=int, metavar="N", help="show the last N requests, at most 1000")
    parser.add_argument("--json", action="store_true", help="the response as JSON")
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> int:
    """Show usage data. Raises Failure."""
    if args.requests is None:
        answer = Api().get("/v1/usage-data")
        columns = [Column("TABLE"), Column("DAYS KEPT"), Column("ROWS"), Column("OLDEST")]
        rows = [
            [one["table"], str(one["period_days"]), str(one["rows"]), one["oldest"] or "-"] for one in answer["data"]
        ]
    else:
        answer = Api().get("/v1/usage-data/requests", {"limit": max(1, min(args.requests, _MAX_REQUESTS))})
        columns = [Column("TIME"), Column("METHOD"), Column("ROUTE"), Column("STATUS"), Column("MS"), Column("KEY")]
        names = ("time", "method", "route", "status", "duration_ms", "key_id")
        rows = [[str(one[name]) for name in names] for one in answer["data"]]
    text = exact_json.dumps(answer) if args.json else render(columns, rows, terminal_width())
    sys.stdout.write(text + "\n")
    return 0
