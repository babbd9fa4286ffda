"""`infraprism keys`: lists, creates, rotates and revokes the API keys of a server, on its data directory."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Final

from infraprism.backend.accounts import Account, Accounts, Key, permissions
from infraprism.backend.accounts.permissions import Scope
from infraprism.cli.command import Subparsers, new_parser
from infraprism.cli.data_dir import add_account, add_data_dir, open_accounts, selected_account
from infraprism.cli.failure import Failure
from infraprism.cli.table import Column, render, terminal_width
from infraprism.schema import exact_json

if TYPE_CHECKING:
    from infraprism.backend.accounts.keys import Keys

_NOTE: Final = """\
The command reads and writes the data directory of the server, on the same machine. The server may be running: a new key
is valid at once, a revoked key is rejected within 5 seconds. Only the hash of a key is stored.

scopes: ingest sends events, read reads them, admin changes the account and its data.
"""
_EXAMPLES: Final = f"""\
{_NOTE}
examples:
  infraprism keys list
  infraprism keys create --name api-server --scopes ingest
  infraprism keys rotate key_0123456789ab --overlap-hours 24
  infraprism keys revoke key_0123456789ab
  infraprism keys list --data-dir /var/lib/infraprism"""
_LIST: Final = f"""\
{_NOTE}
examples:
  infraprism keys list
  infraprism keys list --json"""
_CREATE: Final = f"""\
{_NOTE}
examples:
  infraprism keys create
  infraprism keys create --name dashboard --scopes read,admin
  infraprism keys create --data-dir /var/lib/infraprism"""
_ROTATE: Final = f"""\
{_NOTE}
examples:
  infraprism keys rotate key_0123456789ab
  infraprism keys rotate key_0123456789ab --overlap-hours 24"""
_REVOKE: Final = f"""\
{_NOTE}
examples:
  infraprism keys revoke key_0123456789ab
  infraprism keys revoke ip-Ab3dE"""
_KEY: Final = "the id or the first characters of the key, from `keys list`"
_SHOWN_ONCE: Final = "It is shown only once:\n  export INFRAPRISM_API_KEY="
_MAX_OVERLAP_HOURS: Final = 720


def add_parser(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Add the command to the parser."""
    parser = new_parser(subparsers, "keys", "list, create, rotate and revoke the API keys of a server", _EXAMPLES)
    add_data_dir(parser)
    actions = parser.add_subparsers(title="actions", metavar="ACTION", dest="action", required=True)
    listing = new_parser(actions, "list", "list the keys: their ids and first characters", _LIST)
    listing.add_argument("--json", action="store_true", help="one line of JSON per key")
    creating = new_parser(actions, "create", "create a key and print it once", _CREATE)
    creating.add_argument("--name", help="what the key is for")
    creating.add_argument(
        "--scopes",
        type=_scopes,
        metavar="SCOPES",
        default=permissions.DEFAULT_SCOPES,
        help=f"of {', '.join(permissions.SCOPES)} (default: {','.join(permissions.DEFAULT_SCOPES)})",
    )
    rotating = new_parser(actions, "rotate", "replace a key by a new one with the same name and scopes", _ROTATE)
    rotating.add_argument("key", metavar="KEY", help=_KEY)
    rotating.add_argument(
        "--overlap-hours", type=_hours, default=0, metavar="N", help="how long the old key stays valid (default: 0)"
    )
    revoking = new_parser(actions, "revoke", "revoke a key", _REVOKE)
    revoking.add_argument("key", metavar="KEY", help=_KEY)
    for action, run_action in ((listing, _list), (creating, _create), (rotating, _rotate), (revoking, _revoke)):
        add_data_dir(action, is_nested=True)
        add_account(action)
        action.set_defaults(run=run, run_action=run_action)
    return parser


def _scopes(text: str) -> tuple[Scope, ...]:
    wanted = {one.strip() for one in text.split(",")}
    if not wanted <= set(permissions.SCOPES):
        raise argparse.ArgumentTypeError(f"{text!r}: one or more of {','.join(permissions.SCOPES)}")
    return tuple(scope for scope in permissions.SCOPES if scope in wanted)


def _hours(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= _MAX_OVERLAP_HOURS):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of hours from 0 to {_MAX_OVERLAP_HOURS}")
    return int(text)


def run(args: argparse.Namespace) -> int:
    """Run the action. Raises Failure."""
    with open_accounts(args) as accounts:
        args.run_action(args, accounts)
    return 0


def _changes(accounts: Accounts) -> Keys:
    # Imported here: the parser does not need the packages of the server.
    from infraprism.backend.accounts.keys import Keys  # noqa: PLC0415
    from infraprism.backend.audit.audit_log import AuditLog  # noqa: PLC0415

    return Keys(accounts, AuditLog(accounts.database))


def _list(args: argparse.Namespace, accounts: Accounts) -> None:
    keys = [key for account in _accounts(args, accounts) for key in accounts.keys(account.id)]
    if args.json:
        names = ("id", "prefix", "account_id", "name", "created_at", "last_used_on", "expires_at", "revoked_at")
        for key in keys:
            fields = {**{name: getattr(key, name) for name in names}, "scopes": key.scope_names}
            sys.stdout.write(exact_json.dumps(fields) + "\n")
        return
    headings = ("id", "key", "name", "scopes", "account", "created", "last used", "expires", "revoked")
    rows = [
        [
            key.id,
            f"{key.prefix}...",
            key.name,
            ",".join(key.scope_names),
            key.account_id,
            key.created_at,
            key.last_used_on,
            key.expires_at,
            key.revoked_at,
        ]
        for key in keys
    ]
    optional = {"account": 4, "created": 3, "last used": 2, "expires": 1}
    columns = [Column(heading, never_cut=heading != "name", optional=optional.get(heading, 0)) for heading in headings]
    sys.stdout.write(render(columns, rows, terminal_width()) + "\n")


def _create(args: argparse.Namespace, accounts: Accounts) -> None:
    account = selected_account(accounts, args.account)
    text, _ = _changes(accounts).create(account.id, permissions.operator(), name=args.name, scopes=args.scopes)
    sys.stdout.write(f"An API key was created. {_SHOWN_ONCE}{text}\n")


def _rotate(args: argparse.Namespace, accounts: Accounts) -> None:
    key = _found(accounts, _accounts(args, accounts), args.key)
    text, _ = _changes(accounts).rotate(
        key.account_id, permissions.operator(), key.id, overlap_s=args.overlap_hours * 3600
    )
    end = f"in {args.overlap_hours} hours" if args.overlap_hours else "within 5 seconds"
    sys.stdout.write(f"A new API key was created; {key.id} is rejected {end}. {_SHOWN_ONCE}{text}\n")


def _revoke(args: argparse.Namespace, accounts: Accounts) -> None:
    key = _found(accounts, _accounts(args, accounts), args.key)
    _changes(accounts).revoke(key.account_id, permissions.operator(), key.id)
    sys.stdout.write(f"{key.id} ({key.prefix}...) is revoked; a running server rejects it within 5 seconds.\n")
    if all(other.revoked_at for other in accounts.keys(key.account_id)):
        sys.stdout.write(f"{key.account_id} has no key left: `infraprism keys create` creates one.\n")


def _accounts(args: argparse.Namespace, accounts: Accounts) -> list[Account]:
    return accounts.all() if args.account is None else [selected_account(accounts, args.account)]


def _found(accounts: Accounts, every: list[Account], text: str) -> Key:
    """The key with this id, these first characters or this text. Raises Failure, which does not contain the text."""
    wanted = {text, Key.id_of(text)}
    keys = [key for account in every for key in accounts.keys(account.id)]
    found = [key for key in keys if key.id in wanted] or [key for key in keys if key.prefix == text]
    valid = [key for key in found if key.revoked_at is None]
    if len(valid) == 1:
        return valid[0]
    if len(valid) > 1:
        raise Failure("several keys have these first characters: use the id of `infraprism keys list`")
    raise Failure("the key is revoked already" if found else "no such key: `infraprism keys list` shows the ids")
