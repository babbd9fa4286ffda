"""`infraprism keys`: lists, creates and revokes the API keys of a server, on its data directory."""

from __future__ import annotations

import argparse
import sys
from typing import Final

from infraprism.backend.accounts import Account, Accounts, Key
from infraprism.cli.audit_log import recorded
from infraprism.cli.command import Subparsers, new_parser
from infraprism.cli.data_dir import add_account, add_data_dir, open_accounts, selected_account
from infraprism.cli.failure import Failure
from infraprism.cli.table import Column, render, terminal_width
from infraprism.schema import exact_json

_NOTE: Final = """\
The command reads and writes the data directory of the server, on the same machine. The server may be running: a new key
is valid at once, a revoked key is rejected within 5 seconds. Only the hash of a key is stored.
"""
_EXAMPLES: Final = f"""\
{_NOTE}
examples:
  infraprism keys list
  infraprism keys create
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
  infraprism keys create --data-dir /var/lib/infraprism"""
_REVOKE: Final = f"""\
{_NOTE}
examples:
  infraprism keys revoke key_0123456789ab
  infraprism keys revoke ip-Ab3dE"""


def add_parser(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Add the command to the parser."""
    parser = new_parser(subparsers, "keys", "list, create and revoke the API keys of a server", _EXAMPLES)
    add_data_dir(parser)
    actions = parser.add_subparsers(title="actions", metavar="ACTION", dest="action", required=True)
    listing = new_parser(actions, "list", "list the keys: their ids and first characters", _LIST)
    listing.add_argument("--json", action="store_true", help="one line of JSON per key")
    creating = new_parser(actions, "create", "create a key and print it once", _CREATE)
    revoking = new_parser(actions, "revoke", "revoke a key", _REVOKE)
    revoking.add_argument("key", metavar="KEY", help="the id or the first characters of the key, from `keys list`")
    for action, run_action in ((listing, _list), (creating, _create), (revoking, _revoke)):
        add_data_dir(action, is_nested=True)
        add_account(action)
        action.set_defaults(run=run, run_action=run_action)
    return parser


def run(args: argparse.Namespace) -> int:
    """List, create or revoke. Raises Failure."""
    with open_accounts(args) as accounts:
        args.run_action(args, accounts)
    return 0


def _list(args: argparse.Namespace, accounts: Accounts) -> None:
    every = accounts.all() if args.account is None else [selected_account(accounts, args.account)]
    keys = [key for account in every for key in accounts.keys(account.id)]
    if args.json:
        names = ("id", "prefix", "account_id", "created_at", "revoked_at")
        sys.stdout.writelines(exact_json.dumps({name: getattr(key, name) for name in names}) + "\n" for key in keys)
        return
    headings = ("id", "key", "account", "created", "revoked")
    rows = [[key.id, f"{key.prefix}...", key.account_id, key.created_at, key.revoked_at] for key in keys]
    sys.stdout.write(render([Column(heading, never_cut=True) for heading in headings], rows, terminal_width()) + "\n")


def _create(args: argparse.Namespace, accounts: Accounts) -> None:
    account = selected_account(accounts, args.account)
    with recorded(accounts) as record:
        key = accounts.add_key(account.id)
        record(account.id, "key.created", Key.id_of(key))
    sys.stdout.write(f"An API key was created. It is shown only once:\n  export INFRAPRISM_API_KEY={key}\n")


def _revoke(args: argparse.Namespace, accounts: Accounts) -> None:
    every = accounts.all() if args.account is None else [selected_account(accounts, args.account)]
    key = _found(accounts, every, args.key)
    with recorded(accounts) as record:
        accounts.revoke_key(key)
        record(key.account_id, "key.revoked", key.id)
    sys.stdout.write(f"{key.id} ({key.prefix}...) is revoked; a running server rejects it within 5 seconds.\n")
    if all(other.revoked_at for other in accounts.keys(key.account_id)):
        sys.stdout.write(f"{key.account_id} has no key left: `infraprism keys create` creates one.\n")


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
