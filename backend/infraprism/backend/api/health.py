"""`/healthz` (the process works), `/readyz` (events can be stored and read) and `/metrics`. They need no key."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any, Final, NamedTuple

from fastapi import FastAPI, Response
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from infraprism.backend.store import Database, StoreError

_PROBE_TIMEOUT_S: Final = 0.7
_PROBE_ATTEMPTS: Final = 5
_RETRY_S: Final = 0.1
_NOT_READ: Final = "the store does not answer a query"
Gauges = Mapping[str, tuple[str, Callable[[], int]]]


class Health:
    """The state of the server. `is_writing` tells whether the task that writes events is alive.

    `faults` return why a file cannot be used, or None; `limitations` return why events are stored with limitations.
    They and the probes of the database run in a thread of its own, one at a time, so that they never wait for readers.
    `log_gauges` are gauges of the log of small requests, by name: their description, and what returns the value.
    """

    def __init__(
        self,
        database: Database,
        is_writing: Callable[[], bool],
        faults: Sequence[Callable[[], str | None]] = (),
        log_gauges: Gauges | None = None,
        limitations: Sequence[Callable[[], str | None]] = (),
    ) -> None:
        self._database = database
        self._is_writing = is_writing
        self._faults = faults
        self._log_gauges = log_gauges or {}
        self._limitations = limitations
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="infraprism-health")
        self._probe: asyncio.Future[_Probed] | None = None

    def close(self) -> None:
        """Stop the thread."""
        self._thread.shutdown()

    def live(self) -> tuple[int, dict[str, Any]]:
        """The status and body of `/healthz`."""
        if not self._is_writing():
            return 503, {"status": "writer_stopped"}
        return 200, {"status": "ok", **self._damage()}

    async def ready(self) -> tuple[int, dict[str, Any]]:
        """The status and body of `/readyz`, within a second."""
        status = self._database.status()
        reason = None if self._is_writing() else "the writer of events has stopped"
        reason = reason or status.reason
        probed = _Probed(reason) if reason else await self._probed()
        reason = probed.fault
        state = (
            "unavailable" if reason else "damaged_data" if status.damaged else "degraded" if probed.limited else "ok"
        )
        body = {
            "status": state,
            "reason": reason or probed.limited,
            "free_bytes": status.free_bytes,
            "reserve_bytes": status.reserve_bytes,
            "merges_stopped": status.merges_stopped,
            **self._damage(),
        }
        return 503 if reason else 200, body

    def metrics(self) -> bytes:
        """The text of `/metrics`."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Metrics(self._database, self._is_writing, self._log_gauges))
        return generate_latest(registry)

    def _damage(self) -> dict[str, Any]:
        status = self._database.status()
        parts = [{key: value for key, value in part.as_json().items() if key != "files"} for part in status.damaged]
        return {"damaged_parts": parts, "last_scrub": asdict(status.scrub) if status.scrub else None}

    async def _probed(self) -> _Probed:
        if self._probe is None or self._probe.done():
            self._probe = asyncio.get_running_loop().run_in_executor(self._thread, self._read_and_write)
        # A probe that has not ended is shared by the following requests.
        done, _ = await asyncio.wait({self._probe}, timeout=_PROBE_TIMEOUT_S)
        return self._probe.result() if done else _Probed(_NOT_READ)

    def _read_and_write(self) -> _Probed:
        for _ in range(_PROBE_ATTEMPTS):
            try:
                self._database.probe()
            except StoreError:
                time.sleep(_RETRY_S)  # the table may be loaded again at this moment
            else:
                return _Probed(_first((self._database.write_fault, *self._faults)), _first(self._limitations))
        return _Probed(_NOT_READ)


class _Probed(NamedTuple):
    """Why events cannot be stored or read, and why they are stored with limitations; None if they are not."""

    fault: str | None
    limited: str | None = None


def _first(found: Iterable[Callable[[], str | None]]) -> str | None:
    return next((reason for read in found if (reason := read())), None)


class _Metrics(Collector):
    """The gauges of the store."""

    def __init__(self, database: Database, is_writing: Callable[[], bool], log_gauges: Gauges) -> None:
        self._database = database
        self._is_writing = is_writing
        self._log_gauges = log_gauges

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The gauges now."""
        status = self._database.status()
        for name, text, value in (
            ("writer_alive", "1 if the task that writes events is alive.", self._is_writing()),
            ("store_can_store", "1 if events can be stored.", status.can_store),
            ("store_free_bytes", "Free bytes of the disk.", status.free_bytes),
            ("store_reserve_bytes", "Bytes of the disk that stay free.", status.reserve_bytes),
            ("store_merges_stopped", "1 if no parts are merged.", status.merges_stopped),
            ("store_damaged_parts", "Damaged parts, which queries do not read.", len(status.damaged)),
            *((name, text, read()) for name, (text, read) in self._log_gauges.items()),
        ):
            yield GaugeMetricFamily(f"infraprism_{name}", text, float(value))
        rows = GaugeMetricFamily(
            "infraprism_store_damaged_part_rows",
            "Rows of a damaged part; NaN if unknown. first and last are its time range.",
            labels=("part", "first", "last"),
        )
        for part in status.damaged:
            labels = [part.name, part.first or "unknown", part.last or "unknown"]
            rows.add_metric(labels, float("nan") if part.rows is None else float(part.rows))
        yield rows


def install(app: FastAPI, health: Health) -> None:
    """Add the paths to the application."""

    @app.get("/healthz", response_class=Response)
    async def live() -> Response:
        """Whether the process and its writer work. Needs no key."""
        return _json(*health.live())

    @app.get("/readyz", response_class=Response)
    async def ready() -> Response:
        """Whether events can be stored and read, and which data is damaged. Needs no key."""
        return _json(*await health.ready())

    @app.get(
        "/metrics", response_class=Response, responses={"200": {"description": "Gauges", "content": {"text/plain": {}}}}
    )
    async def metrics() -> Response:
        """Gauges of the store in the text format of Prometheus. Needs no key."""
        return Response(health.metrics(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _json(status: int, body: dict[str, Any]) -> Response:
    return Response(json.dumps(body), status, media_type="application/json")
