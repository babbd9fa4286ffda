"""`infraprism export`: exports events to a file."""

from __future__ import annotations

import argparse
import secrets
import sys
import time
from pathlib import Path
from typing import Any, Final

from infraprism.cli.command import Subparsers, new_parser
from infraprism.cli.download import Download
from infraprism.cli.failure import Failure
from infraprism.cli.filters import add_filters, parameters
from infraprism.cli.rest import Api, NotFoundFailure
from infraprism.cli.table import text

_EXAMPLES: Final = """\
examples:
  infraprism export --start 2026-01-01 --end 2026-01-31 --format csv --output january.csv
  infraprism export --start 2026-01-01 --end 2026-03-31 --format parquet --output quarter.parquet
  infraprism export --start 2026-01-01 --end 2026-12-31 --format json --gzip \\
      --entity customer:acme-corp --output acme.ndjson.gz
  infraprism export --archive --output account.zip
  infraprism export --archive --entity customer:acme-corp --output acme-corp.zip

If the command is interrupted, run it again: it continues with the same export and the bytes that it has."""
_FIRST_POLL_S: Final = 0.5
_MAX_POLL_S: Final = 4.0
"""The smallest plan allows 60 requests a minute."""
_FORMATS: Final = ("csv", "json", "parquet")


def add_parser(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Add the command to the parser."""
    parser = new_parser(subparsers, "export", "export events, or everything, to a file", _EXAMPLES)
    add_filters(parser)
    parser.add_argument("--format", choices=_FORMATS, help="default: csv; json has one line per event")
    parser.add_argument("--gzip", action="store_true", help="compress csv or json")
    parser.add_argument(
        "--archive",
        action="store_true",
        help="everything that the account holds, or with --entity that entity: a ZIP file",
    )
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="the file to create")
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> int:
    """Export to a file."""
    api = Api()
    download = Download(api, args.output)
    request = _request(args)
    try:
        export = _ended(api, _resumed(api, download, request) or _created(api, download, request))
        download.run(export)
    except KeyboardInterrupt:
        sys.stderr.write(
            f"\ninterrupted: run the same command again to continue, or delete {download.state} to begin anew\n"
        )
        raise
    totals = export["totals"]
    cost = "unknown" if totals["total_cost"] is None else text(totals["total_cost"])
    unpriced = f", {totals['unpriced_events']} without a price" if totals["unpriced_events"] else ""
    sys.stdout.write(f"{args.output}: {totals['total_events']} events, {cost} USD{unpriced}, {export['bytes']} bytes\n")
    return 0


def _request(args: argparse.Namespace) -> dict[str, Any]:
    if args.archive:
        asked = dict(parameters(args))
        if set(asked) - {"entity_type", "entity_id"} or args.gzip or args.format:
            raise Failure("--archive: it has everything, of the account or with --entity of an entity: no other filter")
        return {"kind": "archive", **asked}
    if args.start is None or args.end is None:
        raise Failure("--start and --end: set both, such as --start 2026-01-01 --end 2026-01-31")
    return {**parameters(args), "format": args.format or _FORMATS[0], "compression": "gzip" if args.gzip else "none"}


def _resumed(api: Api, download: Download, request: dict[str, Any]) -> dict[str, Any] | None:
    """The export that the last command began, if the backend still has it."""
    export_id = download.begun(request)
    if export_id is None:
        return None
    try:
        export: dict[str, Any] = api.get(f"/v1/exports/{export_id}")
    except NotFoundFailure:
        export = {}
    if (
        not export
        or export["state"] in ("failed", "cancelled")
        or (export["state"] == "succeeded" and not export["link"])
    ):
        download.forget()
        return None
    return export


def _created(api: Api, download: Download, request: dict[str, Any]) -> dict[str, Any]:
    download.check()
    # The key makes the request safe to repeat.
    headers = {"Idempotency-Key": secrets.token_hex(16)}
    export: dict[str, Any] = api.send("POST", "/v1/exports", request, headers)
    download.begin(export["id"], request)
    return export


def _ended(api: Api, export: dict[str, Any]) -> dict[str, Any]:
    """The export when its file is complete. Raises Failure."""
    shown, pause_s = "", _FIRST_POLL_S
    while export["state"] in ("queued", "running"):
        shown = _show(_progress(export), shown)
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.5, _MAX_POLL_S)
        export = api.get(f"/v1/exports/{export['id']}")
    _show("", shown)
    if export["state"] != "succeeded":
        reason = (export["error"] or {}).get("message") or "start it again"
        raise Failure(f"the export has {export['state']}: {reason}")
    return export


def _progress(export: dict[str, Any]) -> str:
    if export["error"]:
        return f"waiting: {export['error']['code']}"
    done, total = export["progress"]["done"], export["progress"]["total"]
    return f"{export['state']}: {done} events" + (f" of {total}" if total else "")


def _show(line: str, shown: str) -> str:
    """Show the progress on a terminal, in one line. Elsewhere nothing is written."""
    if sys.stderr.isatty() and line != shown:
        sys.stderr.write(f"\r{line:{len(shown)}}" if line else f"\r{'':{len(shown)}}\r")
        sys.stderr.flush()
    return line
