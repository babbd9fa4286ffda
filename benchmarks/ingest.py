"""Events taken in per second: from bytes, and over HTTP with gzip; checked, deduplicated and on the disk when counted.

    python benchmarks/ingest.py [--rounds 3] [--requests 200] [--events 512] [--senders 64]

From bytes: everything that the server does with a request's inflated body, in one process. Over HTTP: a server in a
process of its own, senders in another, bodies encoded beforehand; senders take their share of the same cores. Wall time
is what users see and what a busy machine distorts; CPU time per event is the steadier figure.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import http.client
import multiprocessing
import os
import resource
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).parent.parent))

from opentelemetry.proto.trace.v1.trace_pb2 import Span
from tests.kit.backend import KEY, PROTOBUF, Backend, request, span
from tests.kit.events import event

from infraprism.backend.ingest.batch_writer import BatchWriter
from infraprism.backend.ingest.otlp_requests import parse_protobuf
from infraprism.backend.store.embedded import EmbeddedDatabase

MARK = b"ROUND-%03d"


def bodies(requests: int, events: int) -> list[bytes]:
    """Requests of events of the last minutes, of which no two are the same call."""
    return [
        request(one(place, number, events) for number in range(events)).SerializeToString() for place in range(requests)
    ]


def one(place: int, number: int, events: int) -> Span:
    made = span(
        event(
            timestamp_ns=time.time_ns() - (place * events + number) * 1_000_000,
            input_tokens=1000 + number % 700,
            entity_id=f"customer-{number % 500}",
            session_id=f"session-{(place * 7 + number) % 1000}",
            tags={"feature": "chatbot"},
        )
    )
    made.trace_id = MARK % 0 + os.urandom(7)
    made.span_id = os.urandom(8)
    return made


def of_round(number: int, made: Sequence[bytes]) -> list[bytes]:
    """The same requests with other identities."""
    return [body.replace(MARK % 0, MARK % number) for body in made]


def cpu_s(who: int = resource.RUSAGE_SELF) -> float:
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime


def from_bytes(rounds: int, encoded: Sequence[bytes], events: int) -> None:
    requests = len(encoded)

    async def run(directory: Path) -> None:
        database = EmbeddedDatabase(directory)
        batches = BatchWriter(database)
        wall, cpu = [], []
        for number in range(rounds + 1):
            made = of_round(number, encoded)
            start, start_cpu = time.perf_counter(), cpu_s()
            answers = await asyncio.gather(
                *[batches.store("acc_1", parse_protobuf(body).events, usage_detail=False) for body in made]
            )
            wall.append(requests * events / (time.perf_counter() - start))
            cpu.append((cpu_s() - start_cpu) / requests / events * 1e6)
            assert not any(answers)
        stored = database.read("SELECT count() AS n FROM events", {})[0]
        assert stored == b'{"n":%d}' % ((rounds + 1) * requests * events), stored
        await batches.close()
        database.close()
        row("from bytes", wall[1:], cpu[1:])

    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(run(Path(directory)))


def sender(url: str, made: Sequence[bytes], connections: int, go: Callable[[], object], told: object) -> None:
    """Send every body once, over so many connections; tells when it began and ended, and how long each answer took."""
    waits: list[float] = []
    left = list(made)
    host = urlsplit(url).netloc
    headers = {"content-type": PROTOBUF, "content-encoding": "gzip", "authorization": f"Bearer {KEY}"}

    def work() -> None:
        connection = http.client.HTTPConnection(host, timeout=60)
        while True:
            try:
                body = left.pop()
            except IndexError:
                return
            start = time.perf_counter()
            connection.request("POST", "/v1/traces", body, headers)
            answer = connection.getresponse()
            content = answer.read()
            waits.append(time.perf_counter() - start)
            assert (answer.status, content) == (200, b""), (answer.status, content)

    go()
    start = time.perf_counter()
    threads = [threading.Thread(target=work) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    told.put((time.perf_counter() - start, waits))  # type: ignore[attr-defined]  # a queue


def over_http(rounds: int, encoded: Sequence[bytes], events: int, connections: int) -> None:
    requests = len(encoded)
    context = multiprocessing.get_context("spawn")
    wall, cpu, waits = [], [], []
    with tempfile.TemporaryDirectory() as directory, Backend(Path(directory) / "data") as backend:
        for number in range(rounds + 1):
            made = [gzip.compress(body, 6) for body in of_round(number, encoded)]
            told, ready = context.Queue(), context.Barrier(2)
            process = context.Process(target=sender, args=(backend.url, made, connections, ready.wait, told))
            process.start()
            ready.wait()
            start_cpu = server_cpu_s(backend.process.pid)
            took_s, answers_s = told.get(timeout=600)
            cpu.append((server_cpu_s(backend.process.pid) - start_cpu) / requests / events * 1e6)
            process.join()
            wall.append(requests * events / took_s)
            waits.append(answers_s)
        total = backend.get("/v1/events", limit=1).json["pagination"]["total"]
        assert total == (rounds + 1) * requests * events, total
    waited = sorted(wait * 1000 for answers in waits[1:] for wait in answers)
    row(f"over HTTP, gzip, {connections} connections", wall[1:], cpu[1:], waited)


def server_cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def row(name: str, wall: Sequence[float], cpu: Sequence[float], waited: Sequence[float] = ()) -> None:
    latency = f"{statistics.median(waited):9.0f} {waited[int(len(waited) * 0.99)]:9.0f}" if waited else f"{'':19}"
    print(
        f"{name:36} {statistics.median(wall):10,.0f} {min(wall):10,.0f} {max(wall):10,.0f}"
        f" {statistics.median(cpu):8.2f} {latency}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("rounds", 3), ("requests", 200), ("events", 512), ("senders", 64)):
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    load = os.getloadavg()[0]
    print(f"{os.cpu_count()} cores, load before {load:.1f}; {args.requests} requests of {args.events} events a round")
    print(f"{'':36} {'events/s':>10} {'worst':>10} {'best':>10} {'CPU us':>8} {'p50 ms':>9} {'p99 ms':>9}")
    encoded = bodies(args.requests, args.events)
    from_bytes(args.rounds, encoded, args.events)
    over_http(args.rounds, encoded, args.events, args.senders)
    over_http(args.rounds, encoded[:10], args.events, 1)


if __name__ == "__main__":
    main()
