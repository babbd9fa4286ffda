"""`infraprism receipt`: lists the receipts of deletions, and verifies them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from infraprism.backend.receipt_chain import BrokenReceiptError, verify
from infraprism.cli.command import Subparsers, new_parser
from infraprism.cli.failure import Failure
from infraprism.cli.rest import Api
from infraprism.schema import exact_json

_EXAMPLES: Final = """\
examples:
  infraprism receipt list
  infraprism receipt verify receipt.json
  infraprism receipt verify --all"""
_LIST: Final = """\
Each receipt is a line of JSON.

examples:
  infraprism receipt list > receipts.jsonl"""
_VERIFY: Final = """\
A file has one receipt, or one per line. With --all the chain of the account is read from the backend: each receipt has
the hash of the one before it, so that none can be changed or removed unnoticed.

examples:
  infraprism receipt verify receipt.json
  infraprism receipt verify --all"""


def add_parser(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Add the command to the parser."""
    parser = new_parser(subparsers, "receipt", "list and verify the receipts of deletions", _EXAMPLES)
    actions = parser.add_subparsers(title="actions", metavar="ACTION", dest="action", required=True)
    listing = new_parser(actions, "list", "list the receipts", _LIST)
    verifying = new_parser(actions, "verify", "verify receipts", _VERIFY)
    verifying.add_argument("file", type=Path, nargs="?", metavar="FILE", help="a file with receipts")
    verifying.add_argument("--all", action="store_true", help="all receipts of the account, as one chain")
    for action, run_action in ((listing, _list), (verifying, _verify)):
        action.set_defaults(run=run, run_action=run_action)
    return parser


def run(args: argparse.Namespace) -> int:
    """List or verify. Raises Failure."""
    args.run_action(args)
    return 0


def _list(_: argparse.Namespace) -> None:
    sys.stdout.writelines(exact_json.dumps(receipt) + "\n" for receipt in _of_account())


def _verify(args: argparse.Namespace) -> None:
    if args.all == (args.file is not None):
        raise Failure("name a file, or use --all")
    found = _of_account() if args.all else list(_read(args.file))
    try:
        number = verify(found, is_whole_chain=args.all)
    except BrokenReceiptError as error:
        raise Failure(str(error)) from None
    chain = "they are a chain without a gap" if args.all else "their content has the hash that they state"
    sys.stdout.write(f"{number} receipts are valid: {chain}.\n")


def _of_account() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = Api().get("/v1/receipts")["data"]
    return found


def _read(file: Path) -> Iterable[dict[str, Any]]:
    try:
        content = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        cause = error.strerror if isinstance(error, OSError) else "it is no text"
        raise Failure(f"{file} cannot be read ({cause})") from None
    lines = [line for line in content.splitlines() if line.strip()]
    try:
        found = [exact_json.loads(line) for line in lines]
    except ValueError:
        try:
            found = [exact_json.loads(content)]
        except ValueError:
            raise Failure(f"{file} has no receipt: a receipt is an object of JSON") from None
    if not found or not all(isinstance(one, dict) for one in found):
        raise Failure(f"{file} has no receipt: a receipt is an object of JSON")
    return found
