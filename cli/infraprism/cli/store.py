"""`infraprism store`: verifies, repairs and copies stored events, and computes aggregates, without the server."""

from __future__ import annotations

import argparse
import os
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from infraprism.backend.accounts import ACCOUNTS_FILE, Accounts, RefusedError
from infraprism.backend.preflight import DataDirectory, StartupError
from infraprism.backend.relational import DatabaseUnavailableError
from infraprism.cli.command import Subparsers, new_parser
from infraprism.cli.data_dir import add_data_dir
from infraprism.cli.failure import Failure
from infraprism.cli.rest import Api
from infraprism.cli.urls import ACCOUNTS, TO, add_url, hide_passwords, url
from infraprism.schema import exact_json

if TYPE_CHECKING:
    from infraprism.backend.cluster.migration import Difference, Progress
    from infraprism.backend.store.damage import DamagedPart
    from infraprism.backend.store.embedded import EmbeddedDatabase

_NOTE: Final = """\
Stop the server first: one process can open a store. A running server verifies all data once a day, and reports damage
at /readyz, at /metrics and in its log.
"""
_EXAMPLES: Final = f"""\
{_NOTE}
examples:
  infraprism store check
  infraprism store repair
  infraprism store repair --yes --data-dir /var/lib/infraprism
  infraprism store rebuild-aggregates"""
_CHECK: Final = f"""\
{_NOTE}
Exit status 1 if data is damaged.

examples:
  infraprism store check
  infraprism store check --json --data-dir /var/lib/infraprism"""
_REPAIR: Final = f"""\
{_NOTE}
Without --yes it only shows what is damaged. With --yes it restores every readable row, each once, and moves the damaged
files to the directory `quarantine` of the data directory. It may be interrupted and run again. --delete deletes the
files in `quarantine`: rows that could not be restored are no longer reported.
Exit status 1 if rows are missing.

examples:
  infraprism store repair
  infraprism store repair --yes
  infraprism store repair --delete"""


_REBUILD: Final = f"""\
{_NOTE}
Deletes the sums by day and by quarter-hour and computes them again from the events. A server does this by itself when
it finds them missing or damaged. It may be interrupted: the next start of a server continues.

examples:
  infraprism store rebuild-aggregates
  infraprism store rebuild-aggregates --data-dir /var/lib/infraprism"""
_MIGRATE: Final = """\
Copies all events and accounts of the data directory to a ClickHouse server and to PostgreSQL. Nothing is removed here.
Stop all servers that use either side first. It may be interrupted and run again: an event is copied once. At the end
the number of events and the sums of cost, tokens and latency are compared for each account and day.
Exit status 1 if they differ.

examples:
  infraprism store migrate --to clickhouse://user:password@ch:8443/calls --accounts postgresql://user:password@db/infraprism"""


def add_parser(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Add the command to the parser."""
    parser = new_parser(subparsers, "store", "verify, repair and copy stored events, compute aggregates", _EXAMPLES)
    add_data_dir(parser)
    actions = parser.add_subparsers(title="actions", metavar="ACTION", dest="action", required=True)
    checking = new_parser(actions, "check", "verify every file of the store", _CHECK)
    repairing = new_parser(actions, "repair", "restore the readable rows of damaged parts", _REPAIR)
    repairing.add_argument("--yes", action="store_true", help="repair; without it nothing is changed")
    repairing.add_argument("--delete", action="store_true", help="delete the damaged files of repaired parts")
    rebuilding = new_parser(actions, "rebuild-aggregates", "compute all sums again from the events", _REBUILD)
    migrating = new_parser(actions, "migrate", "copy all events and accounts to a ClickHouse server", _MIGRATE)
    migrating.add_argument(
        f"--{TO}", metavar="URL", help="the ClickHouse server: clickhouse://user:password@host/database"
    )
    add_url(migrating, ACCOUNTS)
    add_data_dir(migrating, is_nested=True)
    migrating.set_defaults(run=run, run_action=_migrate)
    for action, run_action in ((checking, _check), (repairing, _repair), (rebuilding, _rebuild)):
        add_data_dir(action, is_nested=True)
        if action is not rebuilding:
            action.add_argument("--json", action="store_true", help="one line of JSON per damaged part")
        action.set_defaults(run=run, run_action=run_action)
    return parser


def run(args: argparse.Namespace) -> int:
    """Check or repair. Raises Failure."""
    status: int = args.run_action(args)
    return status


@contextmanager
def _opened(directory: Path) -> Iterator[EmbeddedDatabase]:
    """The store of a data directory that no server uses. Raises Failure."""
    os.umask(0o077)
    directory = directory.resolve()
    if not (directory / "store").is_dir():
        raise Failure(f"no store in {directory}: check --data-dir")
    try:
        with closing(DataDirectory(directory)) as locked:
            locked.keep()
            # Imported after the fast checks: importing the engine takes seconds.
            from infraprism.backend.store import StoreError  # noqa: PLC0415
            from infraprism.backend.store.embedded import EmbeddedDatabase  # noqa: PLC0415

            try:
                with (
                    _reporting_zones(directory) as zone_of,
                    closing(
                        EmbeddedDatabase(directory / "store", computes_aggregates=False, zone_of=zone_of)
                    ) as database,
                ):
                    yield database
            except StoreError as error:
                raise Failure(
                    f"the store in {directory} cannot be used (engine code {error.code}): check the disk"
                ) from None
    except StartupError as error:
        if "in use" not in str(error):
            raise Failure(str(error)) from None
        raise Failure(f"a server uses {directory}: stop it first. {_last_scrub()}") from None
    except OSError as error:
        raise Failure(f"{directory} cannot be used ({error.strerror}): check the disk") from None


@contextmanager
def _reporting_zones(directory: Path) -> Iterator[Callable[[str], str]]:
    """The time zone of an account id. Without readable accounts in this directory it is UTC; a server changes that."""
    from infraprism.backend.account_zones import AccountZones  # noqa: PLC0415  # imports the engine
    from infraprism.backend.store.aggregates.zone_names import utc  # noqa: PLC0415

    file = directory / ACCOUNTS_FILE
    try:
        accounts = Accounts(file) if file.is_file() else None
    except (DatabaseUnavailableError, RefusedError, OSError):
        accounts = None
    if accounts is None:
        yield utc
    else:
        with closing(accounts):
            yield AccountZones(accounts.database).of


def _last_scrub() -> str:
    """The result of the last verification by the server at INFRAPRISM_ENDPOINT."""
    try:
        api = Api()
        state = api.readiness()
    except Failure:
        return "Set INFRAPRISM_ENDPOINT to it to see its last verification"
    damaged, last = state.get("damaged_parts"), state.get("last_scrub")
    count = len(damaged) if isinstance(damaged, list) else 0
    ended = f"ended at {last.get('ended')}" if isinstance(last, dict) else "has not ended yet"
    return f"The last verification by the server at {api.endpoint} {ended}; damaged parts: {count}"


def _check(args: argparse.Namespace) -> int:
    with _opened(args.data_dir) as database:
        database.verify_all(_progress)
        damaged = database.status().damaged
    _show(damaged, as_json=args.json)
    if not damaged and not args.json:
        sys.stdout.write("All data is intact.\n")
    return 1 if damaged else 0


def _repair(args: argparse.Namespace) -> int:
    if args.delete:
        from infraprism.backend.store import damage, salvage  # noqa: PLC0415  # as above

        count = salvage.delete_quarantine(args.data_dir.resolve() / damage.QUARANTINE)
        sys.stdout.write(f"The damaged files of {count} parts were deleted.\n")
        return 0
    is_complete = True
    with _opened(args.data_dir) as database:
        database.verify_all(_progress)
        damaged = database.status().damaged
        waiting = [part for part in damaged if not part.is_repaired]
        if not args.yes:
            _show(damaged, as_json=args.json)
            if not args.json:
                found = f"{len(waiting)} damaged parts. Run with --yes to repair them." if waiting else "Nothing to do."
                sys.stdout.write(f"{found}\n")
            return 1 if damaged else 0
        for part in waiting:
            repaired = database.repair(part)
            lost = repaired.unreadable
            is_complete = is_complete and lost.rows == 0
            if args.json:
                line = exact_json.dumps(
                    {**lost.as_json(), "readable_rows": repaired.readable_rows, "restored_rows": repaired.restored_rows}
                )
            else:
                missing = "no row is missing" if lost.rows == 0 else str(lost)
                line = (
                    f"part {part.name}: {repaired.readable_rows} rows are readable, {repaired.restored_rows} of them"
                    f" were missing and are restored; {missing}. Its files are in {lost.files}"
                )
            sys.stdout.write(line + "\n")
    if not waiting and not args.json:
        sys.stdout.write("Nothing to do.\n")
    return 0 if is_complete else 1


def _migrate(args: argparse.Namespace) -> int:
    hide_passwords(args)
    store, accounts = url(args, TO), url(args, ACCOUNTS)
    if store is None or accounts is None:
        raise Failure("give --to clickhouse://user:password@host:8443/database and --accounts postgresql://...")
    with _opened(args.data_dir) as database:
        differences = _copied(database, args.data_dir.resolve(), store, accounts)
    for difference in differences:
        sys.stdout.write(f"{difference}\n")
    if not differences:
        sys.stdout.write("All events are on the server: counts and sums of every account and day are equal.\n")
    return 1 if differences else 0


def _copied(database: EmbeddedDatabase, directory: Path, store: str, accounts: str) -> list[Difference]:
    # Imported here: the other actions do not need these packages.
    from infraprism.backend.accounts import ACCOUNTS_FILE  # noqa: PLC0415
    from infraprism.backend.cluster import migration  # noqa: PLC0415
    from infraprism.backend.cluster.server import ServerError  # noqa: PLC0415
    from infraprism.backend.cluster.server_address import AddressError  # noqa: PLC0415
    from infraprism.backend.relational import DatabaseUnavailableError  # noqa: PLC0415
    from infraprism.backend.store import StoreError  # noqa: PLC0415

    try:
        number = migration.copy_accounts(directory / ACCOUNTS_FILE, accounts)
        sys.stdout.write(f"{number} accounts are in PostgreSQL.\n")
        with migration.opened(database, directory / "store", store, accounts) as opened:
            return opened.run(_copying)
    except AddressError as error:
        raise Failure(f"--to: {error}") from None
    except DatabaseUnavailableError as error:
        raise Failure(f"the accounts cannot be copied ({error}): check --accounts") from None
    except (ServerError, migration.MigrationError) as error:
        raise Failure(str(error)) from None
    except StoreError as error:
        raise Failure(f"the events could not be copied (code {error.code}): run the command again") from None


def _copying(progress: Progress) -> None:
    sys.stdout.write(
        f"{progress.days} of {progress.all_days} days, {progress.events:,} of {progress.all_events:,} events\n"
    )
    sys.stdout.flush()


def _show(damaged: tuple[DamagedPart, ...], *, as_json: bool) -> None:
    for part in damaged:
        sys.stdout.write((exact_json.dumps(part.as_json()) if as_json else str(part)) + "\n")


def _rebuild(args: argparse.Namespace) -> int:
    with _opened(args.data_dir) as database:
        try:
            days = database.aggregates.rebuild(_computed)
        except (sqlite3.Error, OSError) as error:
            raise Failure(f"the aggregates cannot be stored ({error}): check the disk") from None
    number = "1 day" if days == 1 else f"{days} days"
    sys.stdout.write(f"The aggregates of {number} were computed from the events.\n")
    return 0


def _progress(done: int, total: int) -> None:
    _show_progress(done, total, "parts verified")


def _computed(done: int, total: int) -> None:
    _show_progress(done, total, "days computed")


def _show_progress(done: int, total: int, what: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{done} of {total} {what}" + ("\n" if done == total else ""))
