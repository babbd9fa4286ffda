"""`infraprism audit`: lists and verifies the audit log of a server, on its data directory or on a downloaded file."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from infraprism.cli.command import Subparsers, new_parser
from infraprism.cli.data_dir import add_account, add_data_dir, open_accounts, selected_account
from infraprism.cli.failure import Failure
from infraprism.cli.table import Column, render, terminal_width
from infraprism.schema import exact_json

if TYPE_CHECKING:
    from infraprism.backend.audit.audit_log import Entry

_SHOWN: Final = 50
_ALL: Final = 2**31 - 1
_HASH_BYTES: Final = 32
_EXAMPLES: Final = """\
The command reads the data directory of the server, or PostgreSQL, on the same machine. The server may be running.

examples:
  infraprism audit list
  infraprism audit verify
  infraprism audit list --json > audit.jsonl
  infraprism audit verify --file audit.jsonl"""
_LIST: Final = """\
examples:
  infraprism audit list
  infraprism audit list --action key.created --since 2026-01-01
  infraprism audit list --json > audit.jsonl"""
_VERIFY: Final = """\
Prints the head of each account: the number and the hash of its last entry. Keep the hash at another place. With --head
the command finds that entry again, so that entries which were removed at the end, or a log that was written anew, are
found too. Exit status 1 if an entry was changed or is missing.

examples:
  infraprism audit verify
  infraprism audit verify --file audit.jsonl
  infraprism audit verify --head 5f3c1e..."""


def add_parser(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Add the command to the parser."""
    parser = new_parser(subparsers, "audit", "list and verify the audit log of a server", _EXAMPLES)
    add_data_dir(parser)
    actions = parser.add_subparsers(title="actions", metavar="ACTION", dest="command", required=True)
    listing = new_parser(actions, "list", "list the entries of the log, newest first", _LIST)
    listing.add_argument("--action", metavar="NAME", help="only this action, such as key.created")
    listing.add_argument("--since", metavar="DATE", help="only entries since this day or time, in UTC")
    listing.add_argument(
        "--limit", type=_positive, metavar="N", help=f"at most N entries (default: {_SHOWN}, with --json all)"
    )
    listing.add_argument("--json", action="store_true", help="one line of JSON per entry, oldest first")
    verifying = new_parser(actions, "verify", "verify that no entry was changed or removed", _VERIFY)
    verifying.add_argument("--file", type=Path, help="verify a file that `audit list --json` wrote")
    verifying.add_argument("--head", metavar="HASH", help="the hash of an entry that must be in the log")
    for action, run_action in ((listing, _list), (verifying, _verify)):
        add_data_dir(action, is_nested=True)
        add_account(action)
        action.set_defaults(run=run, run_action=run_action)
    return parser


def run(args: argparse.Namespace) -> int:
    """List or verify. Raises Failure."""
    status: int = args.run_action(args)
    return status


def _positive(value: str) -> int:
    if not value.isdigit() or int(value) == 0:
        raise argparse.ArgumentTypeError(f"{value!r} is not a number of entries")
    return int(value)


def _hash(value: str) -> bytes:
    try:
        found = bytes.fromhex(value)
    except ValueError:
        found = b""
    if len(found) != _HASH_BYTES:
        raise Failure(f"--head: a hash has {_HASH_BYTES * 2} hexadecimal digits")
    return found


def _list(args: argparse.Namespace) -> int:
    # Imported here: other commands do not need the packages of the server.
    from infraprism.backend.api.times import interval  # noqa: PLC0415
    from infraprism.backend.audit.actions import ACTIONS  # noqa: PLC0415
    from infraprism.backend.audit.audit_log import AuditLog, Selection  # noqa: PLC0415

    if args.action is not None and args.action not in ACTIONS:
        raise Failure(f"--action: one of {', '.join(sorted(ACTIONS))}")
    try:
        since = None if args.since is None else interval(args.since).first
    except ValueError as error:
        raise Failure(f"--since: {error}") from None
    limit = args.limit or (_ALL if args.json else _SHOWN)
    with open_accounts(args) as accounts:
        log = AuditLog(accounts.database)
        selected = log.account_ids() if args.account is None else [selected_account(accounts, args.account).id]
        selection = Selection(limit, action=args.action, since=since, newest_first=not args.json)
        entries = [entry for account in sorted(selected) for entry in log.page(account, selection)]
    if args.json:
        sys.stdout.writelines(exact_json.dumps(entry.as_json()) + "\n" for entry in entries)
        return 0
    entries = sorted(entries, key=lambda entry: entry.time, reverse=True)[:limit]
    headings = ("time", "account", "number", "actor", "action", "object")
    rows = [[entry.time, entry.account_id, entry.number, entry.actor, entry.action, entry.object] for entry in entries]
    sys.stdout.write(render([Column(heading, never_cut=True) for heading in headings], rows, terminal_width()) + "\n")
    return 0


def _verify(args: argparse.Namespace) -> int:
    expected = None if args.head is None else _hash(args.head)
    if args.file is not None:
        return _verified(groupby(_of_file(args.file), lambda entry: entry.account_id), expected)
    from infraprism.backend.audit.audit_log import AuditLog  # noqa: PLC0415  # as above

    with open_accounts(args) as accounts:
        log = AuditLog(accounts.database)
        selected = log.account_ids() if args.account is None else [selected_account(accounts, args.account).id]
        return _verified(((account, log.all(account)) for account in sorted(selected)), expected)


def _verified(logs: Iterable[tuple[str, Iterable[Entry]]], expected: bytes | None) -> int:
    """Verify the log of each account and print the result. Returns the exit status."""
    is_intact, is_found, count = True, expected is None, 0
    for account, entries in logs:
        count += 1
        log = _Observed(entries, expected)
        fault = log.first_fault()
        is_intact = is_intact and fault is None
        if fault is not None:
            sys.stdout.write(f"{account}: entry {fault} was changed, or the entry before it is missing\n")
        elif log.last is not None:
            sys.stdout.write(f"{account}: {log.last.number} entries are intact, head {log.last.hash.hex()}\n")
        if fault is None and log.found is not None:
            is_found = True
            later = log.last.number - log.found if log.last else 0
            sys.stdout.write(f"{account}: entry {log.found} has the expected hash; {later} entries were added later\n")
    if not count:
        sys.stdout.write("The audit log has no entries.\n")
    if is_intact and not is_found:
        sys.stdout.write("No entry has the expected hash: entries were removed, or the log was written anew.\n")
    return 0 if is_intact and is_found else 1


class _Observed:
    """The entries of an account while they are verified: the last one, and the number of the one with a hash."""

    def __init__(self, entries: Iterable[Entry], expected: bytes | None) -> None:
        self._entries = entries
        self._expected = expected
        self.last: Entry | None = None
        self.found: int | None = None

    def first_fault(self) -> int | None:
        """See audit_log.first_fault."""
        from infraprism.backend.audit.audit_log import first_fault  # noqa: PLC0415  # as above

        return first_fault(self._read())

    def _read(self) -> Iterator[Entry]:
        for entry in self._entries:
            self.last = entry
            if entry.hash == self._expected:
                self.found = entry.number
            yield entry


def _of_file(path: Path) -> Iterator[Entry]:
    from infraprism.backend.audit.audit_log import Entry  # noqa: PLC0415  # as above

    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                values = _parsed(line)
                entry = Entry.from_json(values) if isinstance(values, dict) else None
                if entry is None:
                    raise Failure(f"line {number} of {path} is no entry of `infraprism audit list --json`")
                yield entry
    except UnicodeDecodeError:
        raise Failure(f"{path} is no text: use the output of `infraprism audit list --json`") from None
    except OSError as error:
        raise Failure(f"{path} cannot be read ({error.strerror}): check --file") from None


def _parsed(line: str) -> Any:
    try:
        return exact_json.loads(line)
    except ValueError:
        return None
