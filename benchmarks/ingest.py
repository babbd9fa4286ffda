"""Cost of the OTLP receiver: events per second, latency of the acknowledgement, CPU time per event, and memory.

    python benchmarks/ingest.py [events] [--seconds 10] [--rounds 2] [--connections 64] [--only HTTP] [--against PATH]
    python benchmarks/ingest.py --only bytes --stored 0 10000000 100000000
    python benchmarks/ingest.py third-party [...]

`events` measures the exporter's requests: from bytes (everything after decompression, in one process), and over HTTP
and gRPC with gzip against a server in its own process, with large requests and with requests of one event.
`third-party` measures the requests that the collector forwards: cleaned spans, a third of them parent spans that report
the same call, which the server converts, deduplicates and prices.

Each case sends for `--seconds`, to a new server in each round; `--seconds 45` shows what a server sustains. `--against`
names another checkout with its environment in `.venv`: each round of a case measures it and this one in turn.

`--stored` fills the store with as many other events of the last day, before the measurement from bytes. The start that
reads their ids is not part of the figures; it is printed.

The server and the client share the cores; an event counts when it is acknowledged, and at the end the server must have
as many events. Wall time depends on the load of the machine, CPU time per event less so.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parent.parent))

import clickhouse_connect
import ingest_load
from ingest_load import Load, Sent
from ingest_requests import event_requests, renewed, third_party_requests
from tests.kit.backend import Backend

from infraprism.backend.ingest.batch_writer import BatchWriter
from infraprism.backend.ingest.otlp_requests import parse_protobuf
from infraprism.backend.store.embedded import EmbeddedDatabase

_BATCH = 200
"""Requests that the measurement from bytes stores at a time."""
_HANGS_S = 120
_FILL_ROWS = 1_000_000


class Side(NamedTuple):
    """A checkout: how its rows are named, and the interpreter that runs it."""

    name: str
    python: str


class Case(NamedTuple):
    """A row of the table. Of three spans `stored_of_three` become events.

    `from_bytes` needs no server; its store has `stored` other events at the start.
    """

    name: str
    load: Load
    spans: int
    stored_of_three: int = 3
    from_bytes: bool = False
    stored: int = 0


class Figures(NamedTuple):
    """What one round measured. There is one latency per request."""

    spans_per_s: float
    cpu_us: float
    peak_mb: float
    latencies_ms: Sequence[float] = ()
    failures: Mapping[str, int] = MappingProxyType({})


def from_bytes(python: str, case: Case) -> Figures:
    """Measure in a new process of the checkout that `python` belongs to."""
    arguments = {"--seconds": case.load.seconds, "--spans": case.spans, "--stored": case.stored}
    command = [python, __file__, "from-bytes", *(str(one) for pair in arguments.items() for one in pair)]
    return Figures(*json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=3600).stdout))


def fill(database: EmbeddedDatabase, directory: Path, rows: int) -> None:
    """Store events of the last day, and wait for the merges."""
    client = clickhouse_connect.get_client(interface="chdb", path=str(directory.resolve()))
    columns = "account, id, timestamp, model, provider, operation, input_tokens, output_tokens, entity_type, entity_id"
    for first in range(0, rows, _FILL_ROWS):
        client.command(
            f"INSERT INTO events ({columns}) SELECT 'acc_1', randomString(16),"
            " now64(3, 'UTC') - toIntervalMillisecond(rand32() % 86400000), 'gpt-4o', 'openai', 'chat', number % 700,"
            f" number % 300, 'customer', concat('customer-', toString(number % 500))"
            f" FROM numbers({min(_FILL_ROWS, rows - first)})"
        )
    while database.read("SELECT 1 FROM system.merges", {}):
        time.sleep(1)
    client.close()


async def store_bytes(directory: Path, seconds: float, spans: int, stored: int) -> Figures:
    """Parse and store requests in batches for some seconds, in this process."""
    encoded = event_requests(_BATCH, spans)
    database = EmbeddedDatabase(directory)
    fill(database, directory, stored)
    start_s = time.perf_counter()
    aggregates = getattr(database, "aggregates", None)  # an earlier version has none
    writer = BatchWriter(database, **({"before_insert": aggregates.before_insert} if aggregates else {}))
    async with asyncio.timeout(3600):
        await writer.store("acc_1", parse_protobuf(renewed(encoded[0])).events, usage_detail=False)
    if stored:
        print(f"{stored:,} events: start and first batch in {time.perf_counter() - start_s:.1f} s", file=sys.stderr)
    batches, used_cpu_s, used_s = 0, 0.0, 0.0
    while used_s < seconds:
        made = [renewed(body) for body in encoded]
        start_s, start_cpu_s = time.perf_counter(), cpu_s()
        # A time limit, because a writer that failed completes no request.
        async with asyncio.timeout(_HANGS_S):
            responses = await asyncio.gather(
                *[writer.store("acc_1", parse_protobuf(body).events, usage_detail=False) for body in made]
            )
        assert not any(responses)
        batches += 1
        if batches > 1:  # the first one warms up
            used_s += time.perf_counter() - start_s
            used_cpu_s += cpu_s() - start_cpu_s
    found = database.read("SELECT count() AS n FROM events", {})[0]
    assert found == b'{"n":%d}' % (stored + (batches * _BATCH + 1) * spans), found
    await writer.close()
    database.close()
    measured = (batches - 1) * _BATCH * spans
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Figures(measured / used_s, used_cpu_s / measured * 1e6, peak_mb)


def cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def from_server(python: str, case: Case) -> Figures:
    """Measure a new server of the checkout that `python` belongs to."""
    context = multiprocessing.get_context("spawn")
    with (
        tempfile.TemporaryDirectory() as directory,
        Backend(Path(directory) / "data", python=python, max_waiting_bytes=2**28) as backend,
    ):
        address = backend.grpc_address if case.load.over_grpc else ingest_load.http_address(backend.url)
        results, ready = context.Queue(), context.Barrier(2)
        process = context.Process(target=ingest_load.run, args=(address, case.load, ready.wait, results))
        process.start()
        ready.wait()
        start_cpu_s = server_cpu_s(backend.process.pid)
        sent: Sent = results.get(timeout=case.load.seconds + 2 * _HANGS_S)
        used_cpu_s = server_cpu_s(backend.process.pid) - start_cpu_s
        process.join()
        acknowledged = len(sent.latencies_s) * case.spans
        expected = acknowledged * case.stored_of_three // 3
        total = backend.get("/v1/events", limit=1).json["pagination"]["total"]
        assert total == expected or (sent.failures and total > expected), (total, expected, sent.failures)
        latencies_ms = [latency * 1000 for latency in sent.latencies_s]
        return Figures(
            acknowledged / sent.duration_s,
            used_cpu_s / max(acknowledged, 1) * 1e6,
            server_peak_mb(backend.process.pid),
            latencies_ms,
            sent.failures,
        )


def server_cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def server_peak_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def row(name: str, rounds: Sequence[Figures]) -> None:
    """The median of the rounds and their range; percentiles of all requests; the highest peak of memory."""
    rates = [one.spans_per_s for one in rounds]
    latencies_ms = sorted(latency for one in rounds for latency in one.latencies_ms)
    latency = " " * 17
    if latencies_ms:
        latency = f"{statistics.median(latencies_ms):8.0f} {latencies_ms[int(len(latencies_ms) * 0.99)]:8.0f}"
    failures = sum((Counter(one.failures) for one in rounds), Counter[str]())
    print(
        f"{name:52} {statistics.median(rates):9,.0f} {min(rates):9,.0f} {max(rates):9,.0f}"
        f" {statistics.median(one.cpu_us for one in rounds):8.1f} {latency} {max(one.peak_mb for one in rounds):8,.0f}"
        f"{f'  not acknowledged: {dict(failures)}' if failures else ''}",
        flush=True,
    )


def cases(args: argparse.Namespace) -> list[Case]:
    if args.what == "third-party":
        spans = args.spans // 3 * 3
        load = Load(third_party_requests(args.requests, spans), args.connections, args.seconds)
        return [Case(f"third-party spans, HTTP, {args.connections} connections", load, spans, stored_of_three=2)]
    large, small = event_requests(args.requests, args.spans), event_requests(args.requests, 1)
    connections, seconds = args.connections, args.seconds
    return [
        *(
            Case(f"from bytes, {stored:,} stored", Load((), 0, seconds), args.spans, from_bytes=True, stored=stored)
            for stored in args.stored
        ),
        Case(f"HTTP, {connections} connections", Load(large, connections, seconds), args.spans),
        Case(f"gRPC, {connections} connections", Load(large, connections, seconds, over_grpc=True), args.spans),
        Case("HTTP, 1 connection", Load(large, 1, seconds), args.spans),
        Case("HTTP, 50 connections, 1 event", Load(small, 50, seconds), 1),
        Case("gRPC, 50 connections, 1 event", Load(small, 50, seconds, over_grpc=True), 1),
        Case("HTTP, 1 connection, 1 event", Load(small, 1, seconds), 1),
        # The largest requests that the write-ahead log takes.
        Case("HTTP, 50 connections, 32 events", Load(event_requests(args.requests, 32), 50, seconds), 32),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=("events", "third-party", "from-bytes"), default="events")
    for name, default in (("rounds", 2), ("requests", 60), ("spans", 512), ("connections", 64)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--stored", type=int, nargs="+", default=[0], help="measure from bytes with as many events")
    parser.add_argument("--only", default="", help="measure the cases that contain this text")
    parser.add_argument("--against", type=Path, metavar="PATH", help="another checkout")
    args = parser.parse_args()
    if args.what == "from-bytes":
        with tempfile.TemporaryDirectory() as directory:
            print(
                json.dumps(
                    asyncio.run(store_bytes(Path(directory) / "store", args.seconds, args.spans, args.stored[0]))[:3]
                )
            )
        return
    sides = [Side("", sys.executable)]
    if args.against:
        sides = [Side("before: ", str(args.against / ".venv/bin/python")), Side("this: ", sys.executable)]
    print(f"{os.cpu_count()} cores, load before {os.getloadavg()[0]:.1f}; {args.rounds} rounds of {args.seconds:.0f} s")
    print(
        f"{'':52} {'spans/s':>9} {'worst':>9} {'best':>9} {'CPU us':>8} {'p50 ms':>8} {'p99 ms':>8} {'peak MB':>8}",
        flush=True,
    )
    for case in cases(args):
        if args.only not in case.name:
            continue
        measured: dict[Side, list[Figures]] = {side: [] for side in sides}
        for _ in range(args.rounds):
            for side in sides:
                found = from_bytes(side.python, case) if case.from_bytes else from_server(side.python, case)
                measured[side].append(found)
        for side, rounds in measured.items():
            row(side.name + case.name, rounds)


if __name__ == "__main__":
    main()
