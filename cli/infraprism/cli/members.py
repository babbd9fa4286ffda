"""`infraprism members`: lists, adds, changes and removes the members of an account, on the data directory."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Final

from infraprism.backend.accounts import Account, Accounts, Member, permissions
from infraprism.cli.command import Subparsers, new_parser
from infraprism.cli.data_dir import add_account, add_data_dir, open_accounts, selected_account
from infraprism.cli.failure import Failure
from infraprism.cli.links import add_public_url, described
from infraprism.cli.table import Column, render, terminal_width
from infraprism.schema import exact_json

if TYPE_CHECKING:
    from infraprism.backend.accounts.logins import Logins

_NOTE: Final = """\
The command reads and writes the data directory of the server, on the same machine. The server may be running. A member
is an owner, an admin or a viewer. Only the email, the name and a bcrypt hash of the password are stored.
"""
_EXAMPLES: Final = f"""\
{_NOTE}
examples:
  infraprism members list
  infraprism members add ada@example.com --role admin
  infraprism members set-role ada@example.com viewer
  infraprism members reset-link ada@example.com
  infraprism members remove ada@example.com"""
_MEMBER: Final = "the email or the id of the member"


def add_parser(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Add the command to the parser."""
    parser = new_parser(subparsers, "members", "list, add, change and remove the members of an account", _EXAMPLES)
    add_data_dir(parser)
    actions = parser.add_subparsers(title="actions", metavar="ACTION", dest="action", required=True)
    listing = new_parser(actions, "list", "list the members", "examples:\n  infraprism members list --json")
    listing.add_argument("--json", action="store_true", help="one line of JSON per member")
    adding = new_parser(
        actions,
        "add",
        "add a member and print an invitation",
        "examples:\n  infraprism members add ada@example.com --role admin --name 'Ada Lovelace'",
    )
    adding.add_argument("email", metavar="EMAIL", help="the address that the member logs in with")
    adding.add_argument("--role", choices=permissions.ROLES, default=permissions.VIEWER, help="default: %(default)s")
    adding.add_argument("--name", help="the name of the member")
    setting = new_parser(
        actions,
        "set-role",
        "change the role of a member",
        "examples:\n  infraprism members set-role ada@example.com owner",
    )
    removing = new_parser(
        actions,
        "remove",
        "remove a member and end all sessions of it",
        "examples:\n  infraprism members remove ada@example.com",
    )
    linking = new_parser(
        actions,
        "reset-link",
        "print a link that sets the password of a member",
        "examples:\n  infraprism members reset-link ada@example.com",
    )
    for action in (setting, removing, linking):
        action.add_argument("member", metavar="MEMBER", help=_MEMBER)
    setting.add_argument("role", metavar="ROLE", choices=permissions.ROLES, help="owner, admin or viewer")
    for action in (adding, linking):
        add_public_url(action)
    runs = ((listing, _list), (adding, _add), (setting, _set_role), (removing, _remove), (linking, _reset_link))
    for action, run_action in runs:
        add_data_dir(action, is_nested=True)
        add_account(action)
        action.set_defaults(run=run, run_action=run_action)
    return parser


def run(args: argparse.Namespace) -> int:
    """Run the action. Raises Failure."""
    with open_accounts(args) as accounts:
        account = selected_account(accounts, args.account)
        args.run_action(args, _logins(accounts), account)
    return 0


def _logins(accounts: Accounts) -> Logins:
    # Imported here: the parser does not need the packages of the server.
    from infraprism.backend.accounts.logins import Logins  # noqa: PLC0415

    return Logins(accounts)


def _list(args: argparse.Namespace, logins: Logins, account: Account) -> None:
    members = logins.members.all(account.id)
    rows = [
        {
            "id": one.id,
            "email": one.email,
            "name": one.name,
            "role": one.role,
            "status": "active" if one.has_password else "invited",
            "email_verified_at": one.email_verified_at,
        }
        for one in members
    ]
    if args.json:
        sys.stdout.writelines(exact_json.dumps(row) + "\n" for row in rows)
        return
    headings = ("id", "email", "name", "role", "status", "email verified")
    columns = [Column(heading, never_cut=heading != "name") for heading in headings]
    sys.stdout.write(render(columns, [list(row.values()) for row in rows], terminal_width()) + "\n")


def _add(args: argparse.Namespace, logins: Logins, account: Account) -> None:
    member, token = logins.invite(account.id, permissions.operator(), email=args.email, name=args.name, role=args.role)
    sys.stdout.write(f"{member.id} ({member.email}) was added as {member.role}.\n")
    sys.stdout.write(described(args, "The member sets a password with this link", "accept-invitation", token))


def _set_role(args: argparse.Namespace, logins: Logins, account: Account) -> None:
    member = _found(args, logins, account)
    logins.members.change(account.id, permissions.operator(), member.id, role=args.role)
    sys.stdout.write(f"{member.id} ({member.email}) has the role {args.role}.\n")


def _remove(args: argparse.Namespace, logins: Logins, account: Account) -> None:
    member = _found(args, logins, account)
    logins.members.remove(account.id, permissions.operator(), member.id)
    sys.stdout.write(f"{member.id} ({member.email}) was removed.\n")


def _reset_link(args: argparse.Namespace, logins: Logins, account: Account) -> None:
    member = _found(args, logins, account)
    kind, token = logins.operator_link(member)
    sys.stdout.write(described(args, f"{member.email} sets a password with this link", kind, token))


def _found(args: argparse.Namespace, logins: Logins, account: Account) -> Member:
    wanted = args.member.strip().lower()
    for member in logins.members.all(account.id):
        if wanted in (member.id, member.email):
            return member
    raise Failure("no such member: `infraprism members list` shows the emails")
