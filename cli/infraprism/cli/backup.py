"""`infraprism backup`: makes, lists, verifies, restores and expires encrypted backups."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from infraprism.backend.backups.errors import BackupError, StorageError
from infraprism.cli import backup_options as options
from infraprism.cli import region_options
from infraprism.cli.command import Subparsers, new_parser
from infraprism.cli.data_dir import add_data_dir
from infraprism.cli.failure import Failure
from infraprism.cli.urls import ACCOUNTS, add_url, hide_passwords, url
from infraprism.schema import exact_json

_NOTE: Final = """\
A backup is encrypted in the age format to a recipient, which is a public key. Only the identity, the secret key, can
read it: keep it on another machine. Storage: an absolute path, or s3://bucket/prefix with the credentials of the AWS
tools. See docs/backups.md.
"""
_EXAMPLES: Final = f"""\
{_NOTE}
examples:
  infraprism backup new-key /safe/identity.txt
  infraprism backup create --storage /mnt/backups --recipient age1...
  infraprism backup list --storage s3://bucket/infraprism
  infraprism backup verify --storage /mnt/backups --identity-file /safe/identity.txt
  infraprism backup restore --storage /mnt/backups --identity-file /safe/identity.txt --data-dir /var/lib/new
  infraprism backup expire --storage /mnt/backups"""
_CREATE: Final = """\
A running server makes the backup, otherwise this command does. It has every event that was acknowledged before.

examples:
  infraprism backup create --storage /mnt/backups --recipient age1...
  infraprism backup create --storage s3://bucket/infraprism --keep-days 7"""
_RESTORE: Final = """\
The data directory must be empty or missing. No server starts in it before everything is restored and verified; an
interrupted restore begins again. --keep-accounts uses a newer accounts.sqlite that survived, with its deletions.

examples:
  infraprism backup restore --identity-file /safe/identity.txt --data-dir /var/lib/infraprism
  infraprism backup restore --backup backup-20261130T030000Z-0a1b2c3d --keep-accounts /old/accounts.sqlite"""
_VERIFY: Final = """\
Reads every byte. Without an identity the encrypted objects are compared with their hashes; with one, every file too.
Exit status 1 if one differs.

examples:
  infraprism backup verify --storage /mnt/backups
  infraprism backup verify --identity-file /safe/identity.txt"""


def add_parser(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Add the command to the parser."""
    parser = new_parser(subparsers, "backup", "make, verify and restore encrypted backups", _EXAMPLES)
    actions = parser.add_subparsers(title="actions", metavar="ACTION", dest="action", required=True)
    making = new_parser(actions, "new-key", "make an identity, and print its recipient", _NOTE)
    making.add_argument("file", metavar="FILE", type=Path, help="the identity file, which must not exist")
    creating = new_parser(actions, "create", "make a backup", _CREATE)
    listing = new_parser(actions, "list", "list the backups of a storage, oldest first", _NOTE)
    verifying = new_parser(actions, "verify", "read and compare every byte of a backup", _VERIFY)
    restoring = new_parser(actions, "restore", "restore a backup into an empty data directory", _RESTORE)
    expiring = new_parser(actions, "expire", "delete the backups that have expired", _NOTE)
    for action, run_action in (
        (creating, _create),
        (listing, _list),
        (verifying, _verify),
        (restoring, _restore),
        (expiring, _expire),
    ):
        options.add_storage(action)
        action.set_defaults(run=run, run_action=run_action)
    making.set_defaults(run=run, run_action=_new_key)
    options.add_recipients(creating)
    region_options.add_region(restoring, "the region of the server, if it has one")
    region_options.add_region(creating, "the region of the server, if it has one")
    for action in (creating, restoring):
        add_data_dir(action)
        add_url(action, ACCOUNTS)
    for action in (verifying, restoring):
        action.add_argument("--backup", metavar="ID", help="the backup (default: the newest)")
        options.add_identity(action)
    restoring.add_argument(
        "--keep-accounts", metavar="FILE", type=Path, help="an accounts.sqlite that survived, instead of the backup's"
    )
    for action in (creating, listing):
        action.add_argument("--json", action="store_true", help="one line of JSON per backup")
    return parser


def run(args: argparse.Namespace) -> int:
    """Run an action. Raises Failure."""
    os.umask(0o077)
    try:
        status: int = args.run_action(args)
    except ModuleNotFoundError as error:
        raise Failure(f"{error.name} is missing: pip install 'infraprism-opentelemetry[server,backup]'") from None
    except BackupError as error:
        raise Failure(str(error)) from None
    except StorageError as error:
        raise Failure(f"{error.strerror}: check --storage, and run the command again") from None
    except OSError as error:
        raise Failure(f"the files cannot be read or written ({error.strerror}): check the disk") from None
    return status


def _new_key(args: argparse.Namespace) -> int:
    from infraprism.backend.backups.encryption import new_identity  # noqa: PLC0415  # an extra

    text, recipient = new_identity()
    try:
        descriptor = os.open(args.file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise Failure(f"{args.file} exists: choose another file") from None
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    sys.stdout.write(f"{recipient}\n")
    return 0


def _create(args: argparse.Namespace) -> int:
    from infraprism.cli import backup_creation  # noqa: PLC0415  # it imports the engine

    hide_passwords(args)
    made = backup_creation.create(args, _progress("stored"))
    if args.json:
        sys.stdout.write(exact_json.dumps(made) + "\n")
        return 0
    sys.stdout.write(
        f"{made['id']}: {_size(made['size_bytes'])}, of which {_size(made['new_bytes'])} are new; it took"
        f" {made['duration_ms']} ms, and inserts waited {made['pause_ms']} ms. It expires at"
        f" {_time(made['expires_ms'] / 1000)}.\n"
    )
    return 0


def _list(args: argparse.Namespace) -> int:
    for backup in _catalog(args).backups():
        if args.json:
            line = exact_json.dumps(
                {
                    "id": backup.id,
                    "created": _time(backup.created_s),
                    "expires": _time(backup.expires_s),
                    "size_bytes": backup.size_bytes,
                    "new_bytes": backup.new_bytes,
                    "version": backup.version,
                }
            )
        else:
            line = f"{backup.id}  {_size(backup.size_bytes)}  expires at {_time(backup.expires_s)}"
        sys.stdout.write(line + "\n")
    return 0


def _verify(args: argparse.Namespace) -> int:
    from infraprism.backend.backups import restoring  # noqa: PLC0415  # an extra

    catalog = _catalog(args)
    backup = catalog.find(args.backup)
    identities = options.identities(args)
    if identities is None:
        restoring.verify_objects(catalog.storage, backup, _progress("read"))
        sys.stdout.write(f"{backup.id}: every object is as it was stored. With an identity its files are read too.\n")
        return 0
    manifest = restoring.Reading(catalog.storage, backup, identities).verify(_progress("read"))
    files = sum(len(one["files"]) for one in manifest["objects"])
    sys.stdout.write(f"{backup.id}: all {files} files are as they were backed up; {_events(manifest)}.\n")
    return 0


def _restore(args: argparse.Namespace) -> int:
    from infraprism.backend.accounts import ACCOUNTS_FILE  # noqa: PLC0415  # as above
    from infraprism.backend.backups import afterwards, restoring  # noqa: PLC0415  # as above

    hide_passwords(args)
    directory = args.data_dir.resolve()
    identities = options.identities(args)
    if identities is None:
        raise Failure("give --identity-file, or set INFRAPRISM_BACKUP_IDENTITY_COMMAND: only an identity can decrypt")
    catalog = _catalog(args)
    backup = catalog.find(args.backup)
    manifest = restoring.Reading(catalog.storage, backup, identities).restore(directory, _progress("restored"))
    if args.keep_accounts is not None:
        afterwards.keep_accounts(directory, args.keep_accounts)
    location = url(args, ACCOUNTS) or directory / ACCOUNTS_FILE
    if isinstance(location, Path) and not location.exists():
        raise Failure("the backup has no accounts: give --accounts, or --keep-accounts, and restore again")
    deleted = ""
    if args.keep_accounts is not None or not isinstance(location, Path):
        applied = afterwards.delete_again(directory, location, region_options.region(args))
        deleted = f"; {applied.events} events were deleted again, for deletions and accounts that ended since"
        if applied.damaged_parts:
            deleted += f"; {applied.damaged_parts} damaged parts may have more: run `infraprism store repair`"
    afterwards.complete(directory, backup.id, location)
    restoring.finish(directory)
    sys.stdout.write(
        f"{backup.id} is restored in {directory}: {_events(manifest)}{deleted}. Start it with:"
        f" infraprism serve --data-dir {directory}\n"
    )
    return 0


def _expire(args: argparse.Namespace) -> int:
    expired = _catalog(args).expire(datetime.now(UTC).timestamp())
    sys.stdout.write("".join(f"{backup_id} is deleted.\n" for backup_id in expired) or "No backup has expired.\n")
    return 0


def _catalog(args: argparse.Namespace) -> Any:
    from infraprism.backend.backups.catalog import Catalog  # noqa: PLC0415  # not needed to parse arguments
    from infraprism.backend.backups.open_storage import open_storage  # noqa: PLC0415  # as above

    return Catalog(open_storage(options.storage(args)))


def _events(manifest: Any) -> str:
    if not manifest["events_in_store"]:
        return "the store has no events"
    return (
        f"{manifest['events_in_store']} events are in the store, of {manifest['first_event']} to"
        f" {manifest['last_event']}"
    )


def _progress(what: str) -> Callable[[int, int], None]:
    def show(done: int, total: int) -> None:
        if sys.stderr.isatty():
            sys.stderr.write(f"\r{_size(done)} of {_size(total)} {what}" + ("\n" if done == total else ""))

    return show


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _size(number: int) -> str:
    return f"{number / 10**6:,.1f} MB"
