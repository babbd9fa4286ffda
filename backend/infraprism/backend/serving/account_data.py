"""What acts on the data of accounts in a server that starts: exports, deletions, moves, backups, usage data, logins."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from infraprism.backend.accounts import Accounts
from infraprism.backend.accounts.logins import Logins
from infraprism.backend.analytics.source import Source
from infraprism.backend.api.deletion_routes import DeletionServices
from infraprism.backend.api.export_routes import ExportServices
from infraprism.backend.api.filters import conditions_of
from infraprism.backend.api.login_pool import LoginPool
from infraprism.backend.audit.audit_log import AuditLog
from infraprism.backend.backups.start import backup_kind
from infraprism.backend.cluster.database import ClusterDatabase
from infraprism.backend.deletions import Receipts, Refusals
from infraprism.backend.deletions.account_deletion import ACCOUNT_JOB, AccountDeletionKind, AccountDeletions
from infraprism.backend.deletions.deletion_kind import deletion_jobs
from infraprism.backend.deletions.deletions import JOB_KIND as DELETION
from infraprism.backend.deletions.server_store import ServerStore
from infraprism.backend.deletions.usage_records import UsageRecords
from infraprism.backend.exports import EXPORT, ExportFiles, ExportKind
from infraprism.backend.exports.held_exports import HeldExports
from infraprism.backend.ingest.receiver import Receiver
from infraprism.backend.jobs import JobRunner, Jobs, Kind
from infraprism.backend.mail.mailer import Mailer
from infraprism.backend.moves import KIND as MOVE
from infraprism.backend.moves import MoveKind, MoveTarget
from infraprism.backend.preflight import StartupError
from infraprism.backend.relational import DatabaseUnavailableError
from infraprism.backend.relational.database import RelationalDatabase
from infraprism.backend.retention import Retention
from infraprism.backend.serving.event_store import EventStore
from infraprism.backend.settings import Settings
from infraprism.backend.store.embedded import EmbeddedDatabase
from infraprism.backend.usage_data import UsageData
from infraprism.backend.usage_data.error_log import ErrorLog
from infraprism.backend.usage_data.usage_data import USAGE_FILE

if TYPE_CHECKING:
    from infraprism.backend.backups.job import BackupKind


class AccountData(NamedTuple):
    """The services of exports and deletions, and the kinds of jobs that this server runs.

    `from_region` handles an account that a server of another region sends; `backups` makes backups.
    """

    exports: ExportServices
    deletions: DeletionServices
    kinds: Mapping[str, Kind]
    backups: BackupKind | None
    from_region: Callable[[Request], Awaitable[Response]] | None


def account_data(
    settings: Settings,
    accounts: Accounts,
    store: EventStore,
    *,
    jobs: Jobs,
    receiver: Receiver,
    retention: Retention,
    refusals: Refusals,
    usage: UsageData,
    mails: Mailer,
    base_url: str,
) -> AccountData:
    """What acts on the data of accounts. Raises StartupError."""
    backups = backup_kind(settings, store.database, accounts, jobs)
    exports = _exports(settings, accounts, jobs, store.database, retention=retention, source=store.measured)
    kinds: dict[str, Kind] = {EXPORT: exports.kind}
    if backups is not None:
        kinds[backups.name] = backups
    if not isinstance(store.database, EmbeddedDatabase) or store.log is None:
        return AccountData(exports, DeletionServices(None, Receipts(accounts.database)), kinds, backups, None)
    held = (HeldExports(jobs, exports.files), UsageRecords(usage))
    held_by_server = ServerStore(
        store.database, store.writer, log=store.log, receiver=receiver, data_dir=settings.data_dir, more=held
    )
    deletions, deletion_kinds = _deletions(
        settings, accounts, jobs, refusals, store=held_by_server, mails=mails, base_url=base_url
    )
    kinds |= deletion_kinds
    if settings.region is None or settings.accounts is None:
        return AccountData(exports, deletions, kinds, backups, None)
    target = MoveTarget(accounts, store.database, store.writer, settings.region, settings.data_dir)
    kinds[MOVE] = MoveKind(accounts, store.database, held_by_server, settings.region, clock=settings.clock)
    return AccountData(exports, deletions, kinds, backups, target.handle)


def run_jobs(settings: Settings, jobs: Jobs, kinds: Mapping[str, Kind], stack: AsyncExitStack) -> None:
    """Run jobs until the stack ends."""
    if settings.accounts is None:  # no other server can use the file
        jobs.release_leases()
    runner = JobRunner(jobs, kinds, settings.clock)
    runner.start()
    stack.push_async_callback(asyncio.to_thread, runner.stop)


def start_logins(accounts: Accounts, base_url: str, mails: Mailer, stack: AsyncExitStack) -> tuple[Logins, LoginPool]:
    """The logins, and the threads on which they run."""
    accounts.uses.start()
    pool = LoginPool()
    stack.callback(pool.close)  # before the mailer: what it still does may send a mail
    return Logins(accounts, base_url=base_url, mailer=mails, later=pool.later), pool


def start_usage_data(settings: Settings, stack: AsyncExitStack) -> UsageData:
    """The usage data, in a file of its own or with the accounts. Raises StartupError."""
    location = settings.accounts or settings.data_dir / USAGE_FILE
    try:
        usage = UsageData(RelationalDatabase(location), settings.clock)
    except (DatabaseUnavailableError, OSError) as error:
        raise StartupError(
            f"{'PostgreSQL (--accounts)' if settings.accounts else location} cannot be used ({error}): move it away and"
            " start again. It only has usage data"
        ) from None
    usage.start()
    stack.callback(usage.close)
    log = ErrorLog(usage)
    logging.getLogger("infraprism").addHandler(log)
    stack.callback(logging.getLogger("infraprism").removeHandler, log)
    return usage


def _deletions(
    settings: Settings,
    accounts: Accounts,
    jobs: Jobs,
    refusals: Refusals,
    *,
    store: ServerStore,
    mails: Mailer,
    base_url: str,
) -> tuple[DeletionServices, dict[str, Kind]]:
    clock, database = settings.clock, accounts.database
    deletions, kind = deletion_jobs(database, jobs, refusals, store, clock=clock)
    of_accounts = AccountDeletionKind(database, refusals, store, mails, clock=clock, base_url=base_url)
    services = DeletionServices(deletions, Receipts(database), AccountDeletions(database, jobs, clock))
    return services, {DELETION: kind, ACCOUNT_JOB: of_accounts}


def _exports(
    settings: Settings,
    accounts: Accounts,
    jobs: Jobs,
    database: EmbeddedDatabase | ClusterDatabase,
    *,
    retention: Retention,
    source: Source,
) -> ExportServices:
    files = ExportFiles(settings.data_dir)
    kind = ExportKind(
        jobs,
        database,
        files,
        conditions_of,
        retention.cutoff_ms,
        accounts=accounts.database,
        source=source,
        clock=settings.clock,
    )
    audit = AuditLog(accounts.database, settings.clock)
    key = accounts.secret("downloads")
    return ExportServices(jobs, kind, files, audit, database, key, settings.clock, settings.node_address or "")
