"""A store with aggregates in this process, and the comparison of its answers with the events."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import clickhouse_connect
from clickhouse_connect.driver.client import Client

from infraprism.backend.analytics.source import measured_rows
from infraprism.backend.analytics.time_zones import milliseconds, start_of_day, zone
from infraprism.backend.store import schema
from infraprism.backend.store.aggregates import Aggregates
from infraprism.backend.store.aggregates.cubes import CUBES, DIMENSIONS, UNITS
from infraprism.backend.store.measured_rows import TOKEN_FIELDS, MeasuredRows, Relation

DAY_MS = 86_400_000
FIRST_MS = int(datetime(2026, 3, 27, tzinfo=UTC).timestamp()) * 1000
"""Two days before the clocks change in Europe."""
DAYS = 4
ACCOUNTS = ("acc_a", "acc_b")
ZONES = ("UTC", "Europe/Berlin", "Asia/Kathmandu", "America/St_Johns", "Pacific/Apia")
_SUMS = (
    *("calls", "failed_calls", "unpriced_calls", "unpriced_failed_calls", *TOKEN_FIELDS),
    *(f"calls_without_{name}" for name in TOKEN_FIELDS),
    *("total_cost", "latency_ms"),
)


class SummedStore:
    """The tables of a store, its aggregates without their thread, and a clock that `now_s` sets.

    `wrapped` makes the client of the aggregates from that of the events. `zones` are the reporting time zones of
    accounts; UTC for others. The events begin on the days from `first_ms`.
    """

    def __init__(
        self,
        directory: Path,
        rows_share: float = 10.0,
        wrapped: Callable[[Client], Any] = lambda client: client,
        *,
        zones: Mapping[str, str] | None = None,
        first_ms: int = FIRST_MS,
    ) -> None:
        self.directory = directory
        self.zones = dict(zones or {})
        self.first_ms = first_ms
        self.now_s = 0.0
        self.is_short = False
        self.events = connect(directory)
        schema.create(self.events.command)
        self.aggregates = Aggregates(
            directory / "aggregates.sqlite",
            wrapped(self.events),
            computing=threading.Lock(),
            find_damage=lambda _: False,
            is_short=lambda: self.is_short,
            min_calls=1,
            rows_share=rows_share,
            clock=lambda: self.now_s,
            today=lambda: datetime.fromtimestamp((first_ms + DAYS * DAY_MS) / 1000, UTC).date(),
            zone_of=lambda account: self.zones.get(account, "UTC"),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the store."""
        self.aggregates.close()
        self.events.close()

    def insert(self, seed: int, number: int, account: str = "acc_a", first_ms: int = 0, length_ms: int = 0) -> None:
        """Insert events with random values that depend on the seed, or insert nothing if they are stored.

        They begin within `length_ms` (all days) from `first_ms` (that of the first day).
        """
        first_ms, length_ms = first_ms or self.first_ms, length_ms or DAYS * DAY_MS
        self.aggregates.before_insert([(account, {0: (first_ms, first_ms + length_ms - 1)})])
        try:
            self.events.command(_insert(seed, number, account, first_ms, length_ms))
        finally:
            self.aggregates.after_insert()

    def delete(self, account: str, first_ms: int, end_ms: int) -> None:
        """Delete a third of the events of a time range."""
        with self.aggregates.changing(account, first_ms, end_ms - 1):
            ms = "toUnixTimestamp64Milli(timestamp)"
            self.events.command(
                f"ALTER TABLE events DELETE WHERE account = '{account}' AND {ms} >= {first_ms} AND {ms} < {end_ms}"
                " AND cityHash64(id) % 3 = 0 SETTINGS mutations_sync = 1"
            )

    def wait(self, seconds: float = 61) -> None:
        """Let time pass, and compute what is due."""
        self.now_s += seconds
        while self.aggregates.work() is not None:
            pass

    def rows(self, request: MeasuredRows, relation: Relation | None = None) -> list[dict[str, Any]]:
        """The sums of a request, by its dimensions, from the aggregates."""
        return self._sums(request, relation or self.aggregates.relation(request, measured_rows))

    def event_rows(self, request: MeasuredRows) -> list[dict[str, Any]]:
        """The same, from the events."""
        return self._sums(request, measured_rows(request))

    def check(self, seed: int = 0, *, every: bool = True) -> None:
        """Compare the answers of the cubes (of one of them without `every`) and of random requests with the events."""
        cubes = every_cube(self.zones.get(ACCOUNTS[0], "UTC"))
        chosen = cubes if every else [cubes[seed % len(cubes)]]
        for request in (*chosen, *random_requests(seed, 3, self.first_ms)):
            assert self.rows(request) == self.event_rows(request), request

    def uses_aggregates(self, request: MeasuredRows) -> bool:
        """Whether an answer is read from aggregates, at least in part."""
        return "sums_by_" in self.aggregates.relation(request, measured_rows).sql

    def tables(self, request: MeasuredRows) -> set[str]:
        """The tables that an answer is read from, without their epoch."""
        sql = self.aggregates.relation(request, measured_rows).sql
        return {name for name in (*(f"sums_by_{unit}" for unit in UNITS), "events") if f"FROM {name}" in sql}

    def _sums(self, request: MeasuredRows, relation: Relation) -> list[dict[str, Any]]:
        keys = ["time", *request.dimensions, *(["tag_value"] if request.tag_key is not None else [])]
        keys += ["tag_key", "tag_value"] if request.every_tag else []
        sums = [f"sum(rows.{name}) AS {name}" for name in _SUMS]
        if request.with_times:
            sums += ["min(rows.first_time) AS first_time", "max(rows.last_time) AS last_time"]
        sums.append("toString(mapSort(mapFilter((bucket, number) -> number > 0, sumMap(rows.latency)))) AS latency")
        sql = f"SELECT {', '.join((*keys, *sums))} FROM {relation.sql} AS rows GROUP BY {', '.join(keys)} ORDER BY ALL"
        found = self.events.raw_query(
            sql,
            parameters=dict(relation.parameters),
            fmt="JSONEachRow",
            settings={"output_format_json_quote_decimals": "1", "output_format_json_quote_64bit_integers": "1"},
        )
        return [json.loads(row) for row in found.splitlines()]


def connect(directory: Path) -> Client:
    """A client of the store in a directory."""
    client: Client = clickhouse_connect.get_client(interface="chdb", path=str(directory / "store"))
    return client


def every_cube(zone: str = "UTC") -> list[MeasuredRows]:
    """Requests that each cube answers, by day of the account's zone and by day of another one."""
    found = []
    other = "Europe/Berlin" if zone != "Europe/Berlin" else "Asia/Tokyo"
    for cube in CUBES:
        key = "feature" if cube.is_by_tag else None
        found.append(
            MeasuredRows(
                ACCOUNTS[0],
                dimensions=cube.dimensions,
                tag_key=key,
                time_unit="day",
                time_zone=zone if cube.unit == "day" else other,
                with_times=key is None,
            )
        )
    tags = MeasuredRows(ACCOUNTS[0], time_unit="day", time_zone=zone, every_tag=True)
    return [*found, tags, replace(tags, time_zone=other)]


def random_requests(seed: int, number: int, first_ms: int = FIRST_MS) -> list[MeasuredRows]:
    """Requests with random dimensions, periods, time zones and filters."""
    chooser = random.Random(seed)
    return [_random_request(chooser, first_ms) for _ in range(number)]


def _random_request(chooser: random.Random, first_ms: int) -> MeasuredRows:
    names: Sequence[str] = [*DIMENSIONS, "session_id"]
    bounds = sorted(chooser.choice(_moments(chooser, first_ms)) for _ in range(2))
    dimensions = tuple(chooser.sample(list(names), chooser.randint(0, 3)))
    tag_key = chooser.choice((None, None, "feature", "rare", "never"))
    conditions = []
    if "model" in dimensions and chooser.random() < 0.5:
        conditions.append("model = {wanted:String}")
    if tag_key is not None and chooser.random() < 0.5:
        conditions.append(chooser.choice(("tag_value IS NULL", "tag_value = 'f1'")))
    return MeasuredRows(
        chooser.choice(ACCOUNTS),
        first_ms=chooser.choice((None, bounds[0])),
        end_ms=chooser.choice((None, bounds[1] + 1)),
        dimensions=dimensions,
        tag_key=tag_key,
        conditions=tuple(conditions),
        parameters={"wanted": "gpt-4o"},
        time_unit=chooser.choice(("none", "quarter_hour", "day")),
        time_zone=chooser.choice(ZONES),
        with_times=chooser.random() < 0.5,
        every_tag=tag_key is None and chooser.random() < 0.3,
    )


def _moments(chooser: random.Random, first_ms: int) -> list[int]:
    """A UTC midnight, a midnight of a zone, a quarter-hour and a millisecond of one day."""
    day = first_ms + chooser.randint(-1, DAYS) * DAY_MS
    date = datetime.fromtimestamp(day / 1000, UTC).date()
    midnight = milliseconds(start_of_day(date, zone(chooser.choice(ZONES))))
    return [day, midnight, day + 15 * 60_000 * chooser.randint(0, 96), day + chooser.randint(0, DAY_MS)]


def _insert(seed: int, number: int, account: str, first_ms: int, length_ms: int) -> str:
    # The costs have 18 digits after the point, and a sum that a float cannot hold.
    return f"""INSERT INTO events (account, id, timestamp, model, provider, operation, input_tokens, output_tokens,
    latency_ms, cost_usd, cost_status, success, entity_type, entity_id, session_id, tags, error_type, error_code,
    cache_read_tokens, service_tier)
WITH cityHash64(number, {seed}) AS h, cityHash64(h, 1) AS a, cityHash64(h, 2) AS b,
    a % 5 = 0 AS failed, b % 4 = 0 AS free
SELECT '{account}', CAST(substring(SHA256(toString((number, {seed}))), 1, 16), 'FixedString(16)') AS id,
    fromUnixTimestamp64Milli({first_ms} + toInt64(h % {length_ms}), 'UTC'),
    ['gpt-4o', 'claude-sonnet-4-5'][1 + a % 2], ['openai', 'anthropic'][1 + a % 2], ['chat', 'other'][1 + b % 2],
    if(a % 7 = 0, NULL, a % 100000), if(failed, NULL, b % 1000), if(a % 9 = 0, 0, a % 70000),
    if(free, NULL, toDecimal128(b % 1000000007, 18) / 1000000007 + b % 123456789),
    if(free, ['unknown_model', 'no_usage'][1 + a % 2], 'priced'), NOT failed,
    if(a % 3 = 0, '', 'customer'), if(a % 3 = 0, '', concat('entity ', toString(b % 3))), concat('s', toString(h % 50)),
    mapFilter((key, value) -> value != '', map('feature', if(b % 6 = 0, '', concat('f', toString(a % 3))),
        'rare', if(b % 97 = 0, toString(a), ''), 'env', if(a % 2 = 0, '', 'prod'))),
    if(failed, ['timeout', 'rate_limit'][1 + b % 2], ''), if(failed, '429', ''), if(a % 4 = 0, b % 50, NULL),
    if(b % 5 = 0, 'batch', '')
FROM numbers({number}) WHERE id NOT IN (SELECT id FROM events WHERE account = '{account}')"""
