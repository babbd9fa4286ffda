"""`infraprism account`: shows and sets the settings of an account, on the data directory of the server."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from typing import Final

from infraprism.backend.accounts import PLANS, Account, Accounts, permissions
from infraprism.cli.command import Subparsers, new_parser
from infraprism.cli.data_dir import add_account, add_data_dir, open_accounts, selected_account
from infraprism.cli.failure import Failure
from infraprism.cli.links import add_public_url, described
from infraprism.cli.region_options import add_region, region, regions

_NOTE: Final = """\
usage-detail: whether the server stores cached, cache-write, reasoning and audio tokens, service tier, batch, time to
first token and streaming. Apps send them only with INFRAPRISM_USAGE_DETAIL=true. The server drops them unless it is on.

plan: limits the requests a minute and how long events are kept. An enterprise account has its own limits.

The command writes the data directory of the server, on the same machine. A running server applies a change within 5
seconds.
"""
_EXAMPLES: Final = f"""\
{_NOTE}
examples:
  infraprism account show
  infraprism account set usage-detail on
  infraprism account set company 'Acme Corp'
  infraprism account set plan enterprise --requests-per-minute 5000 --retention-days 730
  infraprism account setup-link
  infraprism account set usage-detail off --data-dir /var/lib/infraprism"""
_SHOW: Final = """\
examples:
  infraprism account show"""
_SET: Final = f"""\
{_NOTE}
examples:
  infraprism account set usage-detail on
  infraprism account set time-zone Europe/Berlin"""
_SETUP_LINK: Final = """\
The link creates an owner: a member who can log in. An older link that was not used is no longer valid.

examples:
  infraprism account setup-link
  infraprism account setup-link --public-url https://infraprism.example.com"""
_DELETE: Final = """\
Its keys stop within 5 seconds. A running server, or the next start, deletes all its data. The printed path shows the
receipt for 30 days, without a key.

examples:
  infraprism account delete --account acc_0123456789abcdef --confirm acc_0123456789abcdef"""
_CREATE: Final = """\
The key is shown only once. It has all scopes.

examples:
  infraprism account create --company 'Acme Corp' --plan growth
  infraprism account create --region eu --accounts postgresql://user:password@db/infraprism"""
_MOVE: Final = """\
The servers of both regions must run, and share a database of accounts. While its events are copied, no region serves
the account; exporters keep its events. The events of each day are compared before anything is deleted.

examples:
  infraprism account move --account acc_... --to eu --accounts postgresql://user:password@db/infraprism"""
_SWITCH: Final = {"on": True, "off": False}
_SETTINGS: Final = ("usage-detail", "company", "time-zone", "plan")
_SHOWN: Final = (*_SETTINGS, "region")


def add_parser(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Add the command to the parser."""
    parser = new_parser(subparsers, "account", "show and set the settings of an account of a server", _EXAMPLES)
    add_data_dir(parser)
    actions = parser.add_subparsers(title="actions", metavar="ACTION", dest="action", required=True)
    showing = new_parser(actions, "show", "show the settings of the account", _SHOW)
    setting = new_parser(actions, "set", "set a setting of the account", _SET)
    setting.add_argument("setting", metavar="SETTING", choices=_SETTINGS, help=", ".join(_SETTINGS))
    setting.add_argument("value", metavar="VALUE", help="on or off; a name; an IANA time zone; a plan")
    for limit, meaning in (("requests-per-minute", "REST requests a minute"), ("retention-days", "days of events")):
        setting.add_argument(f"--{limit}", type=int, metavar="N", help=f"{meaning} of an enterprise account")
    creating = new_parser(actions, "create", "create an account, and print its first key", _CREATE)
    creating.add_argument("--company", metavar="NAME", help="the name of the company")
    creating.add_argument("--plan", choices=tuple(PLANS), default="self_hosted", help="(default: %(default)s)")
    add_region(creating, "the region of the account, if the servers have regions")
    moving = new_parser(actions, "move", "move the account to another region", _MOVE)
    moving.add_argument("--to", metavar="REGION", help="the new region")
    moving.add_argument("--give-up", action="store_true", help="end a move that cannot be completed")
    moving.add_argument("--target", metavar="URL", help="the URL of its server (default: that of INFRAPRISM_REGIONS)")
    linking = new_parser(actions, "setup-link", "print a link that creates an owner", _SETUP_LINK)
    add_public_url(linking)
    deleting = new_parser(actions, "delete", "delete the account and all its data", _DELETE)
    deleting.add_argument("--confirm", required=True, metavar="ACCOUNT", help="the id of the account once more")
    for action, run_action in (
        (creating, _create),
        (moving, _move),
        (showing, _show),
        (setting, _set),
        (linking, _setup_link),
        (deleting, _delete),
    ):
        add_data_dir(action, is_nested=True)
        add_account(action)
        action.set_defaults(run=run, run_action=run_action, parser=action)
    return parser


def run(args: argparse.Namespace) -> int:
    """Run the action. Raises Failure."""
    if args.action == "set":
        _check(args)
    with open_accounts(args) as accounts:
        if args.action == "create":
            _create(args, accounts)
            return 0
        args.run_action(args, accounts, selected_account(accounts, args.account))
    return 0


def _check(args: argparse.Namespace) -> None:
    """End with status 2 for a value that no account can have."""
    choices: dict[str, Iterable[str]] = {"usage-detail": _SWITCH, "plan": PLANS}
    allowed = tuple(choices.get(args.setting, ()))
    if allowed and args.value not in allowed:
        args.parser.error(f"argument VALUE: one of {', '.join(allowed)}")
    if args.setting != "plan" and (args.requests_per_minute is not None or args.retention_days is not None):
        args.parser.error("--requests-per-minute and --retention-days belong to `set plan enterprise`")


def _create(args: argparse.Namespace, accounts: Accounts) -> None:
    from infraprism.backend.audit.audit_log import OPERATOR, AuditLog  # noqa: PLC0415  # needs the server's packages

    account = accounts.add(company=args.company, plan=args.plan, region=region(args))
    AuditLog(accounts.database).append(account.id, OPERATOR, "account.created", account.id)
    key = accounts.add_key(account.id, name="first key")
    sys.stdout.write(f"{account.id}\n  export INFRAPRISM_API_KEY={key}\n")


def _move(args: argparse.Namespace, accounts: Accounts, account: Account) -> None:
    from infraprism.cli.account_move import give_up, move  # noqa: PLC0415  # needs the server's packages

    if args.give_up:
        give_up(accounts, account)
        sys.stdout.write(f"The move of {account.id} ends: the server of its region serves it again in some seconds.\n")
        return
    if args.to is None:
        args.parser.error("give --to, the new region")
    args.regions = None
    target = args.target or regions(args).get(args.to)
    if target is None:
        raise Failure(f"give --target, the URL of the server of the region {args.to}, or set INFRAPRISM_REGIONS")
    moved = move(accounts, account, args.to, target)
    sys.stdout.write(f"{account.id} is in the region {args.to}: {moved['events']} events were copied and compared.\n")


def _show(_: argparse.Namespace, __: Accounts, account: Account) -> None:
    for setting in _SHOWN:
        _print(account, setting)


def _set(args: argparse.Namespace, accounts: Accounts, account: Account) -> None:
    # Imported here: the parser does not need the packages of the server.
    from infraprism.backend.accounts.organisations import Organisations  # noqa: PLC0415
    from infraprism.backend.audit.audit_log import AuditLog  # noqa: PLC0415

    organisations, by = Organisations(accounts, AuditLog(accounts.database)), permissions.operator()
    match args.setting:
        case "usage-detail":
            account = organisations.change(account.id, by, usage_detail=_SWITCH[args.value])
        case "company":
            account = organisations.change(account.id, by, company=args.value)
        case "time-zone":
            account = organisations.change(account.id, by, time_zone=args.value)
        case _:
            account = organisations.set_plan(
                account.id,
                by,
                args.value,
                requests_per_minute=args.requests_per_minute,
                retention_days=args.retention_days,
            )
    _print(account, args.setting)


def _delete(args: argparse.Namespace, accounts: Accounts, account: Account) -> None:
    from infraprism.backend.audit.audit_log import OPERATOR  # noqa: PLC0415  # as above
    from infraprism.backend.deletions.account_deletion import CLOSED_PATH, AccountDeletions  # noqa: PLC0415
    from infraprism.backend.jobs import Jobs  # noqa: PLC0415

    if args.confirm != account.id:
        raise Failure(f"--confirm: to delete the account repeat its id, {account.id}; nothing was deleted")
    token = AccountDeletions(accounts.database, Jobs(accounts.database)).request(account.id, actor=OPERATOR)
    sys.stdout.write(f"{account.id} is being deleted. Its receipt is at {CLOSED_PATH}/{token} of the server.\n")


def _setup_link(args: argparse.Namespace, accounts: Accounts, account: Account) -> None:
    from infraprism.backend.accounts.logins import Logins  # noqa: PLC0415  # as above

    token = Logins(accounts).setup_link(account.id)
    sys.stdout.write(described(args, "Create an owner with this link", "setup", token))


def _print(account: Account, setting: str) -> None:
    match setting:
        case "usage-detail":
            value = "on" if account.usage_detail else "off"
        case "company":
            value = account.company or "not set"
        case "time-zone":
            value = account.time_zone
        case "region":
            value = account.region or "not set"
        case _:
            requests, days = account.limits
            limits = "unlimited requests" if requests is None else f"{requests} requests a minute"
            kept = "events are not deleted" if days is None else f"events are kept for {days} days"
            value = f"{account.plan} ({limits}, {kept})"
    sys.stdout.write(f"{account.id}: {setting} is {value}\n")
