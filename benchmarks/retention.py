"""What the daily deletion of expired events costs, by the layout of the table of events.

    python benchmarks/retention.py [--events 10] [--layouts month week day]

Generates millions of events of 365 days in accounts that keep them for 7, 90 and 365 days, as they are after a
deletion. Then a day passes: one mutation deletes what expires. Prints the rows that were written anew, the time and CPU
time, the parts, the time to insert the events of a day and of 90 days, and that of queries over 7, 90 and 365 days.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import clickhouse_connect
from clickhouse_connect.driver.client import Client

from infraprism.backend.store import schema

_LAYOUTS: Final = {
    "month": "toYYYYMM(timestamp)",
    "week": "toYYYYMMDD(toMonday(timestamp))",
    "day": "toYYYYMMDD(timestamp)",
}
_PERIODS: Final = {"acc_free": 7, "acc_growth": 90, "acc_scale": 365}
_END: Final = "toDateTime64('2026-11-30 00:00:00', 3, 'UTC')"
_RUNS: Final = 7


def _insert(account: str, events: int, days: int, salt: int, first_day: int = 0) -> str:
    return f"""INSERT INTO events (account, id, timestamp, model, provider, operation, input_tokens, output_tokens,
    latency_ms, cost_usd, cost_status, success, entity_type, entity_id, session_id, tags)
SELECT concat('{account}_', toString(number % 20)), CAST(substring(SHA256(toString((number, {salt}))), 1, 16),
    'FixedString(16)'), {_END} - toIntervalMillisecond(toInt64({first_day} * 86400000
    + intDiv(number * {days} * 86400000, {events}) + 1)),
    ['gpt-4o', 'gpt-4o-mini', 'claude-sonnet-4-5'][1 + cityHash64(number) % 3], 'openai', 'chat',
    cityHash64(number, 1) % 12000, cityHash64(number, 2) % 2000, 150 + cityHash64(number, 3) % 20000,
    toDecimal128(1 + cityHash64(number, 4) % 999983, 18) / 10000000, 'priced', true,
    'customer', concat('entity-', toString(cityHash64(number, 5) % 400)), concat('s', toString(intDiv(number, 10))),
    map('feature', concat('f', toString(cityHash64(number, 6) % 20)))
FROM numbers({events}) SETTINGS max_partitions_per_insert_block = 0, max_block_size = 1048576, max_threads = 1"""


def _timed(run: Callable[[], object]) -> tuple[float, float]:
    began, cpu = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF)
    run()
    used = resource.getrusage(resource.RUSAGE_SELF)
    cpu_s = used.ru_utime + used.ru_stime - cpu.ru_utime - cpu.ru_stime
    return time.monotonic() - began, cpu_s


def _parts(client: Client) -> dict[str, int]:
    found = client.raw_query("SELECT name, rows FROM system.parts WHERE active AND table = 'events'", fmt="TSV")
    return {line.split("\t")[0]: int(line.split("\t")[1]) for line in found.decode().splitlines()}


def _measure(layout: str, directory: Path, millions: float) -> None:
    client = clickhouse_connect.get_client(interface="chdb", path=str(directory))
    client.command(schema.statement(schema.EVENTS).replace(_LAYOUTS["month"], _LAYOUTS[layout]))
    number = int(millions * 1e6 / 3)
    for salt, (account, days) in enumerate(_PERIODS.items()):
        # A third of the events each; those of the day that expires next are there.
        client.command(_insert(account, number, days, salt))
    client.command("OPTIMIZE TABLE events")
    while int(str(client.command("SELECT count() FROM system.merges"))):
        time.sleep(0.5)
    parts = _parts(client)
    print(f"{layout}: {sum(parts.values()):,} rows in {len(parts)} parts", flush=True)
    conditions = " OR ".join(
        f"(startsWith(account, '{account}') AND timestamp < {_END} - INTERVAL {days - 1} DAY)"
        for account, days in _PERIODS.items()
    )
    wall, cpu = _timed(
        lambda: client.command(f"ALTER TABLE events DELETE WHERE {conditions} SETTINGS mutations_sync = 1")
    )
    after = _parts(client)
    changed = {name.rsplit("_", 1)[0]: rows for name, rows in after.items()}  # a mutation adds its number to the name
    rewritten = sum(rows for name, rows in changed.items() if parts.get(name) != rows)
    print(f"  daily deletion: {rewritten:,} rows written anew, {wall:.2f} s, {cpu:.2f} s CPU", flush=True)
    for days in (1, 90):
        wall, cpu = _timed(lambda days=days: client.command(_insert("acc_new", 100_000, days, 100 + days)))  # type: ignore[misc]
        print(f"  insert 100,000 events of {days} days: {wall:.2f} s, {cpu:.2f} s CPU", flush=True)
    for days in (7, 90, 365):
        where = f"account = 'acc_scale_3' AND timestamp >= {_END} - INTERVAL {days} DAY"
        for name, sql in (
            ("sums", f"SELECT model, sum(cost_usd), count() FROM events WHERE {where} GROUP BY model"),
            ("page", f"SELECT * FROM events WHERE {where} ORDER BY timestamp DESC, id DESC LIMIT 101"),
        ):
            times = [_timed(lambda sql=sql: client.raw_query(sql, fmt="JSONEachRow")) for _ in range(_RUNS)]  # type: ignore[misc]
            wall = statistics.median(one[0] for one in times) * 1000
            cpu = min(one[1] for one in times) * 1000
            print(f"  {name} over {days} days: {wall:.0f} ms, {cpu:.0f} ms CPU", flush=True)
    client.close()


def main() -> None:
    """Measure each layout."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=float, default=10, help="millions")
    parser.add_argument("--layouts", nargs="*", default=list(_LAYOUTS), choices=list(_LAYOUTS))
    options = parser.parse_args()
    for layout in options.layouts:
        with tempfile.TemporaryDirectory() as name:
            _measure(layout, Path(name), options.events)


if __name__ == "__main__":
    main()
