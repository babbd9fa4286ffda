"""`infraprism delete`: deletes events of an entity, a session, a tag or a period, or everything, with a receipt."""

from __future__ import annotations

import argparse
import secrets
import sys
import time
from pathlib import Path
from typing import Any, Final

from infraprism.cli.command import Subparsers, new_parser
from infraprism.cli.failure import Failure
from infraprism.cli.filters import entity, moment, tag
from infraprism.cli.rest import Api
from infraprism.schema import exact_json

_EXAMPLES: Final = """\
Events cannot be restored. Late events of the scope, which start before the request, are refused from then on.

examples:
  infraprism delete --entity customer:acme-corp
  infraprism delete --session 550e8400 --yes
  infraprism delete --tag feature:chatbot --start 2026-01-01 --end 2026-01-31 --receipt receipt.json
  infraprism delete --everything --confirm everything"""
_POLL_S: Final = 0.5


def add_parser(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Add the command to the parser."""
    parser = new_parser(subparsers, "delete", "delete events of a scope, and show the receipt", _EXAMPLES)
    scope = parser.add_mutually_exclusive_group()
    scope.add_argument("--entity", type=entity, metavar="TYPE:ID", help="the events of an entity")
    scope.add_argument("--session", metavar="ID", help="the events of a session")
    scope.add_argument("--tag", type=tag, metavar="KEY:VALUE", help="the events with a tag")
    scope.add_argument("--everything", action="store_true", help="all events of the account")
    parser.add_argument("--start", type=moment, metavar="TIME", help="from this day or time (UTC)")
    parser.add_argument("--end", type=moment, metavar="TIME", help="to this day or time, inclusive (UTC)")
    parser.add_argument("--confirm", metavar="WORD", help="`everything`, with --everything")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--receipt", type=Path, metavar="FILE", help="write the receipt to a file")
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> int:
    """Delete, and show the receipt. Raises Failure."""
    body = _scope(args)
    if not args.yes and args.confirm is None:
        _ask(body)
    api = Api()
    job = api.send("DELETE", "/v1/data", body, {"Idempotency-Key": secrets.token_hex(16)})
    job = _ended(api, job)
    deletion = job["id"].removeprefix("job_")
    receipts = api.get("/v1/receipts")["data"]
    receipt = next((one for one in receipts if one["deletion_id"].removeprefix("del_") == deletion), None)
    if receipt is None:
        raise Failure("the deletion has ended, but its receipt is not there: `infraprism receipt list` shows all")
    if args.receipt is not None:
        try:
            args.receipt.write_text(exact_json.dumps(receipt) + "\n", encoding="utf-8")
        except OSError as error:
            raise Failure(f"--receipt: {args.receipt} cannot be written ({error.strerror})") from None
    deleted = receipt["counts"]["events"]["before"]
    sys.stdout.write(
        f"{deleted} events were deleted. Receipt {receipt['id']}, hash {receipt['hash'][:16]}...; no backup has them"
        f" after {receipt['not_in_backups_after'][:10]}.\n"
    )
    for limit in receipt["limits"]:
        sys.stdout.write(f"Note: {limit}.\n")
    return 0


def _scope(args: argparse.Namespace) -> dict[str, str]:
    body: dict[str, str] = {}
    if args.entity is not None:
        body["entity_type"], body["entity_id"] = args.entity
    if args.session is not None:
        body["session_id"] = args.session
    if args.tag is not None:
        body["tag_key"], _, body["tag_value"] = args.tag.partition(":")
    if args.start is not None:
        body["start_date"] = args.start
    if args.end is not None:
        body["end_date"] = args.end
    if args.everything:
        if body:
            raise Failure("--everything: it has no other scope and no period")
        if args.confirm != "everything":
            raise Failure("--everything deletes all events of the account: add --confirm everything")
        body["confirm"] = "everything"
    if not body:
        raise Failure("name what is to be deleted: --entity, --session, --tag, --start and --end, or --everything")
    return body


def _ask(body: dict[str, str]) -> None:
    """Ask on a terminal. Raises Failure without one, or if the answer is not yes."""
    if not sys.stdin.isatty():
        raise Failure("add --yes to delete without a question")
    sys.stderr.write(f"Delete the events of {', '.join(f'{name} {value}' for name, value in body.items())}? [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
        raise Failure("nothing was deleted")


def _ended(api: Api, job: dict[str, Any]) -> dict[str, Any]:
    """The job when it has ended. Raises Failure if it failed."""
    shown = ""
    while job["state"] in ("queued", "running"):
        done, total = job["progress"]["done"], job["progress"]["total"]
        line = f"waiting: {job['error']['code']}" if job["error"] else f"{job['state']}: step {done} of {total or '?'}"
        if sys.stderr.isatty() and line != shown:
            sys.stderr.write(f"\r{line:<60}")
            sys.stderr.flush()
        shown = line
        time.sleep(_POLL_S)
        job = api.get(f"/v1/jobs/{job['id']}")
    if sys.stderr.isatty() and shown:
        sys.stderr.write(f"\r{'':<60}\r")
    if job["state"] != "succeeded":
        raise Failure(f"the deletion has {job['state']}: {(job['error'] or {}).get('message') or 'send it again'}")
    return job
