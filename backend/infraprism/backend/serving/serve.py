"""Starts and stops the parts of the server in order: the store, its writer, the jobs, the listeners."""

from __future__ import annotations

import asyncio
import gc
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final, NamedTuple

from infraprism.backend import reloading
from infraprism.backend.accounts import Accounts
from infraprism.backend.api.client_address import ClientAddresses
from infraprism.backend.api.health import Health
from infraprism.backend.api.query_pool import QueryPool
from infraprism.backend.billing.configured import billing
from infraprism.backend.cluster import node
from infraprism.backend.deletions import Refusals
from infraprism.backend.http_app import Services
from infraprism.backend.ingest.receiver import Receiver
from infraprism.backend.jobs import Jobs
from infraprism.backend.limits import raise_file_limit
from infraprism.backend.mail.configured import mailer
from infraprism.backend.regions import Regions
from infraprism.backend.retention import Retention
from infraprism.backend.serving.account_data import account_data, run_jobs, start_logins, start_usage_data
from infraprism.backend.serving.event_store import limitations, open_recent_calls, open_store, start_expiry
from infraprism.backend.serving.listeners import Listeners, addresses, base_url
from infraprism.backend.settings import Settings
from infraprism.backend.store.embedded import EmbeddedDatabase

_GC_THRESHOLDS: Final = (20_000, 20, 50)
"""The calls in memory are up to a million tuples without cycles. With Python's default thresholds the garbage collector
takes a quarter of the CPU time of converting spans."""


class Serving(NamedTuple):
    """A running server: its addresses as text, and the wait for its writer, which ends only by a fault.

    `base_url` is where browsers reach it.
    """

    addresses: str
    writer_ended: Callable[[], Awaitable[None]]
    base_url: str


@asynccontextmanager
async def serve(settings: Settings, accounts: Accounts, listening: socket.socket) -> AsyncIterator[Serving]:
    """Serve inside the block. At its end all accepted requests are stored. Raises StartupError."""
    _prepare_process()
    async with AsyncExitStack() as stack:
        port = listening.getsockname()[1]
        retention = Retention(accounts.database, settings.clock, region=settings.region)
        regions = Regions(settings.region, settings.regions)
        refusals = Refusals(accounts.database, accounts.secret("deletions"))
        store = open_store(settings, accounts, stack, cutoff_ms=retention.cutoff_ms, refusals=refusals, port=port)
        recent_calls = open_recent_calls(settings, store.database)
        if store.log is not None:
            await store.log.start()
            stack.push_async_callback(store.log.close)
        receiver = Receiver(
            accounts,
            store.writer,
            recent_calls,
            settings.max_waiting_bytes,
            store.log,
            cutoff_ms=retention.cutoff_ms,
            regions=regions,
            deleted_before_ms=refusals.end_ms,
        )
        stack.push_async_callback(receiver.close)
        queries = QueryPool(is_complete=store.log.is_applied if store.log else None)
        stack.push_async_callback(queries.close, store.database.cancel_long_reads)
        certificate = await reloading.certificate(settings, stack)
        mails = mailer(settings, stack)
        usage = start_usage_data(settings, stack)
        url = base_url(settings, port)
        jobs = Jobs(accounts.database, settings.clock, region=settings.region)
        data = account_data(
            settings,
            accounts,
            store,
            jobs=jobs,
            receiver=receiver,
            retention=retention,
            refusals=refusals,
            usage=usage,
            mails=mails,
            base_url=url,
        )
        health = Health(
            store.database,
            lambda: store.is_alive,
            (accounts.fault, recent_calls.fault),
            (store.log.gauges() | refusals.gauges() if store.log else {})
            | (data.backups.gauges() if data.backups else {})
            | regions.gauges(),
            (*limitations(settings, store), *((data.backups.fault,) if data.backups else ())),
        )
        stack.callback(health.close)
        if isinstance(store.database, EmbeddedDatabase):
            start_expiry(store.database, retention, settings, receiver)
        run_jobs(settings, jobs, data.kinds, stack)
        logins, pool = start_logins(accounts, url, mails, stack)
        listeners = Listeners(settings.limits, certificate)
        stack.push_async_callback(listeners.stop)
        grpc_port = await listeners.start_grpc(settings, receiver)
        services = Services(
            accounts,
            store.database,
            receiver,
            queries,
            health,
            settings.limits,
            logins,
            pool,
            store.measured,
            node.receiver_of(store.writer),
            retention,
            jobs,
            data.kinds,
            exports=data.exports,
            deletions=data.deletions,
            base_url=url,
            usage=usage,
            client_addresses=ClientAddresses(settings.client_address_header, settings.trusted_proxies),
            billing=await asyncio.to_thread(billing, settings, accounts),  # its package takes a second to import
            regions=regions,
            from_region=data.from_region,
        )
        await listeners.start_http(services, listening)
        yield Serving(addresses(settings, port, grpc_port), store.ended, url)


def _prepare_process() -> None:
    raise_file_limit()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)
