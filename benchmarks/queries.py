"""Time of analytics queries and of event pages over 90 days, from aggregates and indexes and without them.

    python benchmarks/queries.py [--events 10 100] [--runs 20] [--store DIR] [--time-zone UTC] [--only TEXT]

For each number of events (in millions), generates a store with one large account and 2 million events of 200 others,
computes the aggregates, and prints the CPU time and the disk space that they need. Then each query is measured: `new`
reads aggregates where the days have them, `events` reads every event; both are the same SQL over measured rows, in
turns in one run, and their results are compared. Lists are responses of the REST API. The query condition cache is off:
it makes the second run of the same query fast.

`--store` keeps the generated stores in a directory and uses those that are there.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import clickhouse_connect
import query_events

from infraprism.backend.accounts import Account
from infraprism.backend.analytics.source import Source, measured_rows
from infraprism.backend.api import costs, distributions, events, listings
from infraprism.backend.api.periods import Reader
from infraprism.backend.store.database import Parameter
from infraprism.backend.store.embedded import EmbeddedDatabase
from infraprism.backend.store.measured_rows import MeasuredRows, Relation

ACCOUNT = Account("acc_large", None, "free", usage_detail=True, created_at="")
_DAY_MS = 86_400_000
_SUMS = (
    "sum(calls) AS calls, sum(failed_calls) AS failed_calls, sum(unpriced_calls) AS unpriced_calls, sum(total_cost) AS"
    " total_cost, sum(input_tokens) AS input_tokens, sum(output_tokens) AS output_tokens, sum(latency_ms) AS latency_ms"
)
_LATENCY = "sum(calls) AS calls, mapSort(mapFilter((bucket, number) -> number > 0, sumMap(latency))) AS latency"
_UNCACHED = "use_query_condition_cache = 0"


class _Uncached:
    """The database without its query condition cache."""

    def __init__(self, database: EmbeddedDatabase) -> None:
        self._database = database

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)

    def read(self, sql: str, parameters: Mapping[str, Parameter]) -> list[bytes]:
        return self._database.read(f"{sql} SETTINGS {_UNCACHED}", parameters)


class Measured:
    """One store, opened."""

    def __init__(self, directory: Path, millions: float, runs: int, *, time_zone: str, only: str) -> None:
        self.directory = directory
        self.runs = runs
        self.only = only
        is_new = not (directory / "store").exists()
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "store").mkdir(exist_ok=True)
        self.database = EmbeddedDatabase(directory / "store", computes_aggregates=False, zone_of=lambda _: time_zone)
        self.end_ms = query_events.now_ms()
        if is_new:
            client = clickhouse_connect.get_client(interface="chdb", path=str(directory / "store"))
            query_events.generate(client.command, ACCOUNT.id, int(millions * 1e6), 2_000_000, self.end_ms)
            client.command("OPTIMIZE TABLE events FINAL")
            client.close()
        (row,) = self.read("SELECT toUnixTimestamp64Milli(max(timestamp)) AS last FROM events", {})
        self.end_ms = json.loads(row)["last"] + 1

    def read(self, sql: str, parameters: Mapping[str, Parameter]) -> list[bytes]:
        """The rows of a query."""
        return self.database.read(sql, parameters)

    def compute(self) -> None:
        """Compute the aggregates, and print what they cost."""
        started_s, started_cpu_s = time.perf_counter(), _cpu_s()
        self.database.aggregates.compute_all()
        elapsed_s, cpu_s = time.perf_counter() - started_s, _cpu_s() - started_cpu_s
        rows = [
            json.loads(row)
            for row in self.read(
                "SELECT table, sum(rows) AS rows, sum(bytes_on_disk) AS bytes FROM system.parts WHERE active"
                " AND database = currentDatabase() GROUP BY table ORDER BY table",
                {},
            )
        ]
        events = next(row for row in rows if row["table"] == "events")
        for row in rows:
            print(f"{row['table']:40} {row['rows']:>12,} rows {row['bytes'] / 1e6:8.1f} MB", flush=True)
        print(
            f"computed in {elapsed_s:.0f} s, {cpu_s / events['rows'] * 1e6:.2f} us of CPU per event,"
            f" {sum(row['bytes'] for row in rows if row is not events) / events['rows']:.1f} bytes per event",
            flush=True,
        )

    def compare(self, name: str, request: MeasuredRows, sums: str = _SUMS) -> None:
        """Measure one query over measured rows."""
        keys = ", ".join((*(["time"] if request.time_unit != "none" else []), *request.dimensions))
        if request.tag_key is not None:
            keys = ", ".join(filter(None, (keys, "tag_value")))

        def run(rows: Callable[[], Relation]) -> list[bytes]:
            relation = rows()
            grouped = f" GROUP BY {keys} ORDER BY {keys}" if keys else ""
            selected = f"{keys}, {sums}" if keys else sums
            return self.read(
                f"SELECT {selected} FROM {relation.sql}{grouped} SETTINGS {_UNCACHED}", relation.parameters
            )

        aggregates = self.database.aggregates
        self._print(
            name,
            lambda: run(lambda: aggregates.relation(request, measured_rows)),
            lambda: run(lambda: measured_rows(request)),
        )

    def compare_list(self, name: str, answer: Callable[[Reader], bytes]) -> None:
        """Measure a response of the REST API."""
        sources: tuple[Source, ...] = (
            partial(self.database.aggregates.relation, event_rows=measured_rows),
            measured_rows,
        )
        new, old = (Reader(_Uncached(self.database), source, ACCOUNT.id) for source in sources)
        self._print(name, lambda: [answer(new)], lambda: [answer(old)])

    def _print(self, name: str, new: Callable[[], list[bytes]], old: Callable[[], list[bytes]]) -> None:
        if self.only not in name:
            return
        times: dict[str, list[float]] = {"new": [], "old": []}
        cpu: dict[str, float] = {"new": 0.0, "old": 0.0}
        runs = {"new": self.runs, "old": max(2, self.runs // 5)}
        results: dict[str, Any] = {}
        for number in range(self.runs):
            for side, query in (("new", new), ("old", old)):
                if number < runs[side]:
                    started_s, started_cpu_s = time.perf_counter(), _cpu_s()
                    results[side] = query()
                    times[side].append((time.perf_counter() - started_s) * 1000)
                    cpu[side] += (_cpu_s() - started_cpu_s) * 1000 / runs[side]
        equal = "" if results["new"] == results["old"] else "   THE RESULTS DIFFER"
        print(
            f"{name:44} {_share(times['new'], 0.5):8.1f} {_share(times['new'], 0.95):8.1f} {cpu['new']:8.1f}"
            f" {_share(times['old'], 0.5):10.1f} {cpu['old']:8.1f}   {len(results['new'])} rows{equal}",
            flush=True,
        )


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _share(times: list[float], share: float) -> float:
    return sorted(times)[min(len(times) - 1, int(len(times) * share))]


def _measure(measured: Measured) -> None:
    print(f"{'':44} {'new p50':>8} {'p95':>8} {'CPU':>8} {'events p50':>10} {'CPU':>8}   ms")
    end_ms = -(-measured.end_ms // _DAY_MS) * _DAY_MS
    whole = MeasuredRows(ACCOUNT.id, end_ms - 90 * _DAY_MS, end_ms)
    entity = ("entity_type", "entity_id")
    one = {"wanted": "entity-7"}
    requests = {
        "total": whole,
        "by day": replace(whole, time_unit="day"),
        "by day, Europe/Berlin": replace(whole, time_unit="day", time_zone="Europe/Berlin"),
        "by model": replace(whole, dimensions=("model",)),
        "by model and day": replace(whole, dimensions=("model",), time_unit="day"),
        "by provider, operation, cost status": replace(whole, dimensions=("provider", "operation", "cost_status")),
        "by error type and model": replace(whole, dimensions=("error_type", "model")),
        "by entity": replace(whole, dimensions=entity),
        "by entity and day": replace(whole, dimensions=entity, time_unit="day"),
        "by entity and day, Asia/Kolkata": replace(whole, dimensions=entity, time_unit="day", time_zone="Asia/Kolkata"),
        "by entity and model": replace(whole, dimensions=(*entity, "model")),
        "one entity, by model and day": replace(
            whole,
            dimensions=("entity_id", "model"),
            time_unit="day",
            conditions=("entity_id = {wanted:String}",),
            parameters=one,
        ),
        "by tag of 20 values": replace(whole, tag_key="feature"),
        "by tag of 1,000 values": replace(whole, tag_key="release"),
        "two days by quarter-hour and model": replace(
            whole, first_ms=end_ms - 2 * _DAY_MS, dimensions=("model",), time_unit="quarter_hour"
        ),
    }
    for name, request in requests.items():
        measured.compare(name, request)
    for name in ("by model", "by entity", "by tag of 20 values"):
        measured.compare(f"latency {name}", requests[name], _LATENCY)
    (row,) = measured.read(
        "SELECT session_id, tags['release'] AS release FROM events WHERE account = {account:String} LIMIT 1",
        {"account": ACCOUNT.id},
    )
    session = json.loads(row)["session_id"]
    dates = {"start_date": _text(whole.first_ms), "end_date": _text(end_ms - 1)}
    for name, filters in {
        "all events": {},
        "a session": {"session_id": [session]},
        "a tag that no event has": {"tags": ["feature:none"]},
        "a tag": {"tags": ["feature:feature-3"]},
        "two tags": {"tags": ["feature:feature-3,env:dev"]},
        "an entity": {"entity_type": ["team"], "entity_id": ["entity-7"]},
        "an entity without events": {"entity_id": ["none"]},
        "a model, failed": {"model": ["gpt-4o"], "success": False},
    }.items():
        page = events.EventQuery.model_validate({**dates, **filters})
        measured.compare_list(
            f"first page of {name}", lambda reader, page=page: events.page(reader, ACCOUNT, page, b"key")
        )
    measured.compare_list("/v1/entities", lambda reader: events.entities(reader, events.EntityQuery()))
    models = listings.ModelQuery.model_validate(dates)
    measured.compare_list("/v1/models", lambda reader: listings.list_models(reader, models))
    values = listings.ValueQuery.model_validate({**dates, "field": "entity_id"})
    measured.compare_list("/v1/values of entities", lambda reader: listings.list_values(reader, values))
    tags = listings.TagQuery.model_validate(dates)
    measured.compare_list("/v1/tags", lambda reader: listings.list_tags(reader, tags))
    for group_by in ([], ["day"], ["entity"], ["model"]):
        counted = costs.CostQuery.model_validate({**dates, "group_by": group_by, "total_sessions": True})
        measured.compare_list(
            f"total_sessions by {group_by}", lambda reader, counted=counted: costs.summary(reader, counted)
        )
    for of in ("cost_usd", "latency_ms"):
        spread = distributions.DistributionQuery.model_validate({**dates, "of": of})
        measured.compare_list(
            f"distribution of {of} per event", lambda reader, spread=spread: distributions.values(reader, spread)
        )
    for sort in ("last_event", "total_cost"):
        found = listings.SessionQuery.model_validate({**dates, "sort": sort})
        measured.compare_list(
            f"/v1/sessions by {sort}", lambda reader, found=found: listings.list_sessions(reader, found)
        )


def _text(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat()


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=float, nargs="+", default=[10.0], help="millions of events")
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--store", type=Path)
    parser.add_argument("--time-zone", default="UTC", help="the reporting time zone of the accounts")
    parser.add_argument("--only", default="", help="measure only the queries with this text in their names")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        for millions in args.events:
            print(f"\n{millions:g} million events, load {os.getloadavg()[0]:.1f}", flush=True)
            measured = Measured(
                (args.store or Path(temporary)) / f"{millions:g}m",
                millions,
                args.runs,
                time_zone=args.time_zone,
                only=args.only,
            )
            measured.compute()
            _measure(measured)
            measured.database.close()


if __name__ == "__main__":
    sys.exit(main())
