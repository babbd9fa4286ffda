"""Starts and stops the parts of the server in order: the store, the writers, the gRPC and the HTTP listener."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import socket
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Final, NamedTuple, cast

import uvicorn

from infraprism.backend import reloading
from infraprism.backend.account_zones import AccountZones
from infraprism.backend.accounts import Accounts
from infraprism.backend.accounts.logins import Logins
from infraprism.backend.analytics.source import Source, measured_rows
from infraprism.backend.api.client_address import ClientAddresses
from infraprism.backend.api.deletion_routes import DeletionServices
from infraprism.backend.api.health import Health
from infraprism.backend.api.login_pool import LoginPool
from infraprism.backend.api.query_pool import QueryPool
from infraprism.backend.audit.audit_log import AuditLog
from infraprism.backend.backups.start import backup_kind
from infraprism.backend.billing.configured import billing
from infraprism.backend.certificate import Certificate
from infraprism.backend.cluster import node
from infraprism.backend.cluster.database import ClusterDatabase
from infraprism.backend.connections import Connections, protocol
from infraprism.backend.deletions import Receipts, Refusals
from infraprism.backend.deletions.account_deletion import ACCOUNT_JOB, AccountDeletionKind, AccountDeletions
from infraprism.backend.deletions.deletion_kind import deletion_jobs
from infraprism.backend.deletions.deletions import JOB_KIND as DELETION
from infraprism.backend.deletions.holders import KeptRequests
from infraprism.backend.deletions.server_store import ServerStore
from infraprism.backend.deletions.usage_records import UsageRecords
from infraprism.backend.exports import EXPORT, ExportFiles, ExportKind, ExportServices
from infraprism.backend.exports.held_exports import HeldExports
from infraprism.backend.handshakes import behind_handshakes
from infraprism.backend.http_app import Services, application
from infraprism.backend.ingest import over_grpc
from infraprism.backend.ingest.batch_writer import BatchWriter
from infraprism.backend.ingest.event_inserter import Cutoff
from infraprism.backend.ingest.receiver import Receiver
from infraprism.backend.ingest.write_ahead_log.log import WriteAheadLog
from infraprism.backend.ingest.write_ahead_log.segments import ASIDE, LOG_DIRECTORY, Segments
from infraprism.backend.jobs import JobRunner, Jobs, Kind
from infraprism.backend.limits import Limits, raise_file_limit
from infraprism.backend.mail.configured import mailer
from infraprism.backend.mail.mailer import Mailer
from infraprism.backend.preflight import StartupError
from infraprism.backend.regions import Regions
from infraprism.backend.relational import DatabaseUnavailableError
from infraprism.backend.relational.database import RelationalDatabase
from infraprism.backend.retention import Retention
from infraprism.backend.retention.expiry import Expiry, LostSumsError
from infraprism.backend.settings import Settings
from infraprism.backend.span_conversion.recent_calls import RecentCalls
from infraprism.backend.store import StoreError
from infraprism.backend.store.aggregates.aggregates import FINALISED_FILE
from infraprism.backend.store.embedded import EmbeddedDatabase
from infraprism.backend.store.status import write_fault
from infraprism.backend.usage_data import UsageData
from infraprism.backend.usage_data.error_log import ErrorLog
from infraprism.backend.usage_data.usage_data import USAGE_FILE

_ACCEPTED_AT_ONCE: Final = 32
"""Connections, before those beyond the limit are closed: the files of the others must suffice for these."""
_BACKLOG: Final = 1024
_ANY_HOST: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104  # compared, not listened on
_GC_THRESHOLDS: Final = (20_000, 20, 50)
"""The calls in memory are up to a million tuples without cycles. With Python's default thresholds the garbage collector
takes a quarter of the CPU time of converting spans."""


class _HttpServer(uvicorn.Server):
    """uvicorn without its signal handlers: the process's own handlers stop both listeners and the store."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.accepting = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.accepting.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Serving(NamedTuple):
    """A running server: its addresses as text, and the wait for its writer, which ends only by a fault.

    `base_url` is where browsers reach it.
    """

    addresses: str
    writer_ended: Callable[[], Awaitable[None]]
    base_url: str


@asynccontextmanager
async def serve(  # noqa: PLR0915  # the parts in their order
    settings: Settings, accounts: Accounts, listening: socket.socket
) -> AsyncIterator[Serving]:
    """Serve inside the block. At its end all accepted requests are stored. Raises StartupError."""
    _prepare_process()
    async with AsyncExitStack() as stack:
        database: EmbeddedDatabase | ClusterDatabase
        log: WriteAheadLog | None = None
        retention = Retention(accounts.database, settings.clock, region=settings.region)
        regions = Regions(settings.region, settings.regions)
        refusals = Refusals(accounts.database, accounts.secret("deletions"))
        measured: Source = measured_rows
        if settings.store is None:
            database, writer = _embedded(
                settings, stack, retention.cutoff_ms, refusals, AccountZones(accounts.database)
            )
            log = _log(settings, writer, database)
            measured = partial(database.aggregates.relation, event_rows=measured_rows)
        else:
            database, writer = node.start(settings, accounts, listening.getsockname()[1], stack, retention.cutoff_ms)
        stack.push_async_callback(writer.close)
        try:
            recent_calls = RecentCalls(settings.data_dir / "calls.sqlite", database)
        except (sqlite3.Error, OSError, ValueError) as error:
            raise StartupError(
                f"{settings.data_dir}/calls.sqlite cannot be opened ({error}): move it away and start again."
                " It only recognises calls that are sent again; no event is lost"
            ) from None
        if log is not None:
            await log.start()
            stack.push_async_callback(log.close)
        receiver = Receiver(
            accounts,
            writer,
            recent_calls,
            settings.max_waiting_bytes,
            log,
            cutoff_ms=retention.cutoff_ms,
            regions=regions,
            deleted_before_ms=refusals.end_ms,
        )
        stack.push_async_callback(receiver.close)
        queries = QueryPool(is_complete=log.is_applied if log else None)
        stack.push_async_callback(queries.close, database.cancel_long_reads)
        jobs = Jobs(accounts.database, settings.clock, region=settings.region)
        backups = backup_kind(settings, database, accounts, jobs)
        health = Health(
            database,
            lambda: writer.is_alive and (log is None or log.is_alive),
            (accounts.fault, recent_calls.fault),
            (log.gauges() | refusals.gauges() if log else {})
            | (backups.gauges() if backups else {})
            | regions.gauges(),
            (*(_limitations(settings, database, writer) if log else ()), *((backups.fault,) if backups else ())),
        )
        stack.callback(health.close)
        certificate = await reloading.certificate(settings, stack)
        mails = mailer(settings, stack)
        exports = _exports(settings, accounts, jobs, database, retention=retention, source=measured)
        usage = _usage(settings, stack)
        kinds: dict[str, Kind] = {EXPORT: exports.kind} | ({backups.name: backups} if backups else {})
        deletions = DeletionServices(None, Receipts(accounts.database))
        if isinstance(database, EmbeddedDatabase) and log is not None:
            held = (HeldExports(jobs, exports.files), UsageRecords(usage))
            store = ServerStore(database, writer, log=log, receiver=receiver, data_dir=settings.data_dir, more=held)
            deletions, deletion_kinds = _deletions(settings, accounts, jobs, refusals, store, mails=mails)
            _start_expiry(database, retention, settings, receiver)
            kinds |= deletion_kinds
        _run_jobs(settings, jobs, kinds, stack)
        port = listening.getsockname()[1]
        base_url = _base_url(settings, port)
        logins, pool = _logins(accounts, base_url, mails, stack)
        listeners = _Listeners(settings.limits, certificate)
        stack.push_async_callback(listeners.stop)
        grpc_port = await listeners.start_grpc(settings, receiver)
        services = Services(
            accounts,
            database,
            receiver,
            queries,
            health,
            settings.limits,
            logins,
            pool,
            measured,
            node.receiver_of(writer),
            retention,
            jobs,
            kinds,
            exports=exports,
            deletions=deletions,
            base_url=base_url,
            usage=usage,
            client_addresses=ClientAddresses(settings.client_address_header, settings.trusted_proxies),
            billing=await asyncio.to_thread(billing, settings, accounts),  # its package takes a second to import
            regions=regions,
        )
        await listeners.start_http(services, listening)
        host = _in_url(settings.host)
        scheme = "http" if certificate is None else "https"
        addresses = f"OTLP/HTTP and REST on {scheme}://{host}:{port}, OTLP/gRPC on {host}:{grpc_port}"

        async def writer_ended() -> None:
            ends = (writer.ended, log.ended) if log else (writer.ended,)
            await asyncio.wait([asyncio.ensure_future(end()) for end in ends], return_when=asyncio.FIRST_COMPLETED)

        yield Serving(addresses, writer_ended, base_url)


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _base_url(settings: Settings, port: int) -> str:
    """Where browsers reach the server."""
    host = "localhost" if settings.host in _ANY_HOST else _in_url(settings.host)
    return settings.public_url or f"{'http' if settings.tls_cert is None else 'https'}://{host}:{port}"


def _logins(accounts: Accounts, base_url: str, mails: Mailer, stack: AsyncExitStack) -> tuple[Logins, LoginPool]:
    accounts.uses.start()
    pool = LoginPool()
    stack.callback(pool.close)  # before the mailer: what it still does may send a mail
    return Logins(accounts, base_url=base_url, mailer=mails, later=pool.later), pool


def _run_jobs(settings: Settings, jobs: Jobs, kinds: Mapping[str, Kind], stack: AsyncExitStack) -> None:
    """Run jobs until the stack ends."""
    if settings.accounts is None:  # no other server can use the file
        jobs.release_leases()
    runner = JobRunner(jobs, kinds, settings.clock)
    runner.start()
    stack.push_async_callback(asyncio.to_thread, runner.stop)


def _prepare_process() -> None:
    raise_file_limit()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)


def _deletions(
    settings: Settings, accounts: Accounts, jobs: Jobs, refusals: Refusals, store: ServerStore, *, mails: Mailer
) -> tuple[DeletionServices, dict[str, Kind]]:
    clock, database = settings.clock, accounts.database
    deletions, kind = deletion_jobs(database, jobs, refusals, store, clock=clock)
    of_accounts = AccountDeletionKind(database, refusals, store, mails, clock=clock)
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
        retention.cutoff_ms,
        accounts=accounts.database,
        source=source,
        clock=settings.clock,
    )
    audit = AuditLog(accounts.database, settings.clock)
    key = accounts.secret("downloads")
    return ExportServices(jobs, kind, files, audit, database, key, settings.clock, settings.node_address or "")


def _log(settings: Settings, writer: BatchWriter, database: EmbeddedDatabase) -> WriteAheadLog:
    """The log of small requests. A node of a cluster has none: its disk is not replicated. Raises StartupError."""
    directory = settings.data_dir / LOG_DIRECTORY
    try:
        return WriteAheadLog(Segments(directory), writer, lambda: database.status().can_store and not writer.is_loading)
    except OSError as error:
        raise StartupError(f"{directory} cannot be used ({error.strerror}): check the disk") from None


def _embedded(
    settings: Settings, stack: AsyncExitStack, cutoff_ms: Cutoff, refusals: Refusals, zones: AccountZones
) -> tuple[EmbeddedDatabase, BatchWriter]:
    """The store in the data directory, and its writer. Raises StartupError."""
    try:
        database = EmbeddedDatabase(settings.data_dir / "store", settings.reserve_bytes, zone_of=zones.of)
    except StoreError as error:
        cause = write_fault(settings.data_dir)
        raise StartupError(
            f"the database in {settings.data_dir} cannot be opened"
            + (
                f" ({cause}): free space, or raise the quota"
                if cause
                else f" (engine code {error.code}): check the disk"
            )
            + ", or choose another --data-dir"
        ) from None
    stack.callback(database.close)
    before_insert = database.aggregates.before_insert
    return database, BatchWriter(database, before_insert=before_insert, cutoff_ms=cutoff_ms, refusals=refusals)


def _usage(settings: Settings, stack: AsyncExitStack) -> UsageData:
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


def _start_expiry(database: EmbeddedDatabase, retention: Retention, settings: Settings, receiver: Receiver) -> None:
    """Delete expired events in the background. Raises StartupError."""
    kept = KeptRequests(settings.data_dir / LOG_DIRECTORY / ASIDE)

    def forget(account_id: str, before_ms: int) -> None:
        kept.delete_before(account_id, before_ms)
        try:
            receiver.forget_expired(account_id)
        except sqlite3.Error as error:
            raise OSError(str(error)) from None

    expiry = Expiry(database, retention, should_stop=database.is_closing, clock=time.monotonic, forget=forget)
    try:
        expiry.check()
    except LostSumsError:
        raise StartupError(
            f"{settings.data_dir / FINALISED_FILE} does not have the days whose events were deleted: restore it from"
            " a backup. Without it their sums cannot be read"
        ) from None
    database.maintain("retention", expiry.work)


def _limitations(
    settings: Settings, database: EmbeddedDatabase | ClusterDatabase, writer: BatchWriter
) -> Sequence[Callable[[], str | None]]:
    """What returns why events are stored with limitations, or None."""

    def log() -> str | None:
        cause = write_fault(settings.data_dir / LOG_DIRECTORY)
        return cause and f"the log cannot be written ({cause}): small requests are stored without it"

    def index() -> str | None:
        directory = database.derived_directory
        cause = write_fault(directory) if directory.exists() else None  # it is created in the background
        return (
            cause and f"the index of stored ids cannot be written ({cause}): it is kept in memory as long as possible"
        )

    def loading() -> str | None:
        if not writer.is_loading:
            return None
        return "the index of stored ids is being read from the events: events are rejected with 503 until then"

    return log, index, loading


class _Listeners:
    """The gRPC and the HTTP listener. They stop at the same time."""

    def __init__(self, limits: Limits, certificate: Certificate | None) -> None:
        self._limits = limits
        self._certificate = certificate
        self._stops: list[Callable[[], Awaitable[None]]] = []

    async def start_grpc(self, settings: Settings, receiver: Receiver) -> int:
        """Returns the port. Raises StartupError."""
        server = over_grpc.server(receiver, self._limits)
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        try:
            address = f"{host}:{settings.grpc_port}"
            port: int = (
                server.add_insecure_port(address)
                if self._certificate is None
                else server.add_secure_port(address, self._certificate.grpc_credentials())
            )
        except RuntimeError:
            raise StartupError(
                f"port {settings.grpc_port} of {settings.host} is in use: choose another --grpc-port"
            ) from None
        await server.start()
        self._stops.append(lambda: server.stop(self._limits.stop_timeout_s))
        return port

    async def start_http(self, services: Services, listening: socket.socket) -> None:
        """Returns when requests are accepted."""
        connections = Connections(self._limits)
        plain = protocol(connections)
        made = plain if self._certificate is None else behind_handshakes(connections, self._certificate.context, plain)
        server = _HttpServer(
            uvicorn.Config(
                application(services),
                http=cast("type[asyncio.Protocol]", made),
                ws="none",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                lifespan="off",
                backlog=_ACCEPTED_AT_ONCE,
                timeout_keep_alive=self._limits.idle_timeout_s,
                h11_max_incomplete_event_size=self._limits.header_bytes,
                timeout_graceful_shutdown=self._limits.stop_timeout_s,
            )
        )
        task = asyncio.create_task(server.serve(sockets=[listening]))

        async def stop() -> None:
            connections.end_handshakes()
            server.should_exit = True
            await task
            connections.end_all()

        self._stops.append(stop)
        await server.accepting.wait()
        listening.listen(_BACKLOG)  # asyncio has set it to the number of connections that it accepts at once

    async def stop(self) -> None:
        """Accept no more requests, and wait for the open ones, at most `stop_timeout_s`."""
        await asyncio.gather(*(stop() for stop in self._stops))
