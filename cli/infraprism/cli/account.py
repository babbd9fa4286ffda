"""`infraprism account`: shows and sets the settings of an account, on the data directory of the server."""

from __future__ import annotations

import argparse
import sys
from typing import Final

from infraprism.cli.audit_log import recorded
from infraprism.cli.command import Subparsers, new_parser
from infraprism.cli.data_dir import add_account, add_data_dir, open_accounts, selected_account

_NOTE: Final = """\
usage-detail: whether the server stores cached, cache-write, reasoning and audio tokens, service tier, batch, time to
first token and streaming. Apps send them only with INFRAPRISM_USAGE_DETAIL=true. The server drops them unless it is on.

The command writes the data directory of the server, on the same machine. A running server applies a change within 5
seconds.
"""
_EXAMPLES: Final = f"""\
{_NOTE}
examples:
  infraprism account show
  infraprism account set usage-detail on
  infraprism account set usage-detail off --data-dir /var/lib/infraprism"""
_SHOW: Final = """\
examples:
  infraprism account show"""
_SET: Final = f"""\
{_NOTE}
examples:
  infraprism account set usage-detail on"""


def add_parser(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Add the command to the parser."""
    parser = new_parser(subparsers, "account", "show and set the settings of an account of a server", _EXAMPLES)
    add_data_dir(parser)
    actions = parser.add_subparsers(title="actions", metavar="ACTION", dest="action", required=True)
    showing = new_parser(actions, "show", "show the settings of the account", _SHOW)
    setting = new_parser(actions, "set", "set a setting of the account", _SET)
    setting.add_argument("setting", metavar="SETTING", choices=("usage-detail",), help="usage-detail")
    setting.add_argument("value", metavar="VALUE", choices=("on", "off"), help="on or off")
    for action in (showing, setting):
        add_data_dir(action, is_nested=True)
        add_account(action)
        action.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> int:
    """Show or set. Raises Failure."""
    with open_accounts(args) as accounts:
        account = selected_account(accounts, args.account)
        if args.action == "set":
            with recorded(accounts) as record:
                accounts.set_usage_detail(account.id, enabled=args.value == "on")
                record(account.id, "setting.changed", "usage_detail")
            account = selected_account(accounts, account.id)
        sys.stdout.write(f"{account.id}: usage-detail is {'on' if account.usage_detail else 'off'}\n")
    return 0
