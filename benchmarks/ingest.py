"""Cost of the OTLP receiver: events per second, and CPU time per event or per cleaned span of another instrumentation.

    python benchmarks/ingest.py [events] [--rounds 3] [--requests 200] [--spans 512] [--connections 64]
    python benchmarks/ingest.py third-party [...]

`events` measures the exporter's requests: without HTTP (everything after decompression, in one process), and over HTTP
with gzip against a server in its own process. `third-party` measures the requests that the collector forwards: cleaned
spans, a third of them parent spans that report the same call, which the server converts, deduplicates and prices. The
server and the client share the cores; an event counts when it is acknowledged. Wall time depends on the load of the
machine, CPU time per span does not.
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
from tests.kit.backend import (
    CALL,
    KEY,
    LANGCHAIN,
    LLM,
    PROTOBUF,
    SEMCONV,
    Backend,
    cleaned_span,
    nested_span,
    request,
    span,
)
from tests.kit.events import event
from tests.kit.otlp_canaries import export_request

from infraprism.backend.ingest.batch_writer import BatchWriter
from infraprism.backend.ingest.otlp_requests import parse_protobuf
from infraprism.backend.store.embedded import EmbeddedDatabase

ROUND_ID = b"ROUND-%03d"
"""The start of the trace ids of a round."""


def event_requests(requests: int, events: int) -> list[bytes]:
    """Requests of events of the last minutes, all with different ids."""
    return [
        request(event_span(place, number, events) for number in range(events)).SerializeToString()
        for place in range(requests)
    ]


def event_span(place: int, number: int, events: int) -> Span:
    made = span(
        event(
            timestamp_ns=time.time_ns() - (place * events + number) * 1_000_000,
            input_tokens=1000 + number % 700,
            entity_id=f"customer-{number % 500}",
            session_id=f"session-{(place * 7 + number) % 1000}",
            tags={"feature": "chatbot"},
        )
    )
    made.trace_id = ROUND_ID % 0 + os.urandom(7)
    made.span_id = os.urandom(8)
    return made


def third_party_requests(requests: int, spans: int) -> list[bytes]:
    """Requests of cleaned spans: of three spans two are calls, and one is the parent span of the second call."""
    now_ns = time.time_ns()
    return [third_party_request(now_ns - place * spans * 2_000_000, spans) for place in range(requests)]


def third_party_request(end_ns: int, spans: int) -> bytes:
    calls, parents = [], []
    for number in range(spans // 3):
        start_ns = end_ns - number * 6_000_000
        tokens = 1000 + number % 700
        attributes = {
            **CALL,
            "gen_ai.usage.input_tokens": tokens,
            "server.address": "api.openai.com",
            "infraprism.entity_type": "customer",
            "infraprism.entity_id": f"customer-{number % 500}",
            "infraprism.tags.feature": "chatbot",
        }
        lone = cleaned_span(attributes)
        parent = cleaned_span({**LLM, "llm.token_count.prompt": tokens})
        for made, offset_ns in ((lone, 0), (parent, 3_000_000)):
            made.trace_id, made.span_id = ROUND_ID % 0 + os.urandom(7), os.urandom(8)
            made.start_time_unix_nano = start_ns - offset_ns
            made.end_time_unix_nano = start_ns - offset_ns + 900_000_000 + number * 1000
        child = nested_span(parent, attributes)
        child.span_id = os.urandom(8)
        calls += [lone, child]
        parents.append(parent)
    merged = export_request(calls, SEMCONV)
    merged.MergeFrom(export_request(parents, LANGCHAIN))
    return merged.SerializeToString()


def of_round(number: int, made: Sequence[bytes]) -> list[bytes]:
    """The same requests with other trace ids."""
    return [body.replace(ROUND_ID % 0, ROUND_ID % number) for body in made]


def cpu_s(who: int = resource.RUSAGE_SELF) -> float:
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime


def without_http(rounds: int, encoded: Sequence[bytes], events: int) -> None:
    requests = len(encoded)

    async def run(directory: Path) -> None:
        database = EmbeddedDatabase(directory)
        writer = BatchWriter(database)
        wall, cpu = [], []
        for number in range(rounds + 1):
            made = of_round(number, encoded)
            start, start_cpu = time.perf_counter(), cpu_s()
            responses = await asyncio.gather(
                *[writer.store("acc_1", parse_protobuf(body).events, usage_detail=False) for body in made]
            )
            wall.append(requests * events / (time.perf_counter() - start))
            cpu.append((cpu_s() - start_cpu) / requests / events * 1e6)
            assert not any(responses)
        stored = database.read("SELECT count() AS n FROM events", {})[0]
        assert stored == b'{"n":%d}' % ((rounds + 1) * requests * events), stored
        await writer.close()
        database.close()
        row("events, without HTTP", wall[1:], cpu[1:])

    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(run(Path(directory)))


def sender(url: str, made: Sequence[bytes], connections: int, go: Callable[[], object], results: object) -> None:
    """Send every body once over `connections`; puts the duration and the latency of each request into `results`."""
    latencies: list[float] = []
    unsent = list(made)
    host = urlsplit(url).netloc
    headers = {"content-type": PROTOBUF, "content-encoding": "gzip", "authorization": f"Bearer {KEY}"}

    def work() -> None:
        connection = http.client.HTTPConnection(host, timeout=60)
        while True:
            try:
                body = unsent.pop()
            except IndexError:
                return
            start = time.perf_counter()
            connection.request("POST", "/v1/traces", body, headers)
            response = connection.getresponse()
            content = response.read()
            latencies.append(time.perf_counter() - start)
            assert (response.status, content) == (200, b""), (response.status, content)

    go()
    start = time.perf_counter()
    threads = [threading.Thread(target=work) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    results.put((time.perf_counter() - start, latencies))  # type: ignore[attr-defined]  # a queue


def over_http(  # noqa: PLR0917  # one row of the table
    name: str, rounds: int, encoded: Sequence[bytes], spans: int, connections: int, stored_of_three: int = 3
) -> None:
    """Measure a server. Of three spans `stored_of_three` become events."""
    requests = len(encoded)
    context = multiprocessing.get_context("spawn")
    wall, cpu, latencies = [], [], []
    with tempfile.TemporaryDirectory() as directory, Backend(Path(directory) / "data") as backend:
        for number in range(rounds + 1):
            made = [gzip.compress(body, 6) for body in of_round(number, encoded)]
            results, ready = context.Queue(), context.Barrier(2)
            process = context.Process(target=sender, args=(backend.url, made, connections, ready.wait, results))
            process.start()
            ready.wait()
            start_cpu = server_cpu_s(backend.process.pid)
            duration_s, latencies_s = results.get(timeout=600)
            cpu.append((server_cpu_s(backend.process.pid) - start_cpu) / requests / spans * 1e6)
            process.join()
            wall.append(requests * spans / duration_s)
            latencies.append(latencies_s)
        total = backend.get("/v1/events", limit=1).json["pagination"]["total"]
        assert total == (rounds + 1) * requests * spans * stored_of_three // 3, total
    latencies_ms = sorted(latency * 1000 for found in latencies[1:] for latency in found)
    row(f"{name}, HTTP, gzip, {connections} connections", wall[1:], cpu[1:], latencies_ms)


def server_cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def row(name: str, wall: Sequence[float], cpu: Sequence[float], latencies_ms: Sequence[float] = ()) -> None:
    p99 = latencies_ms[int(len(latencies_ms) * 0.99)] if latencies_ms else 0
    latency = f"{statistics.median(latencies_ms):9.0f} {p99:9.0f}" if latencies_ms else ""
    print(
        f"{name:44} {statistics.median(wall):10,.0f} {min(wall):10,.0f} {max(wall):10,.0f}"
        f" {statistics.median(cpu):8.2f} {latency}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("spans_of", nargs="?", choices=("events", "third-party"), default="events")
    for name, default in (("rounds", 3), ("requests", 200), ("spans", 512), ("connections", 64)):
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    load = os.getloadavg()[0]
    print(f"{os.cpu_count()} cores, load before {load:.1f}; {args.requests} requests of {args.spans} spans a round")
    print(f"{'':44} {'spans/s':>10} {'worst':>10} {'best':>10} {'CPU us':>8} {'p50 ms':>9} {'p99 ms':>9}")
    if args.spans_of == "third-party":
        spans = args.spans // 3 * 3
        encoded = third_party_requests(args.requests, spans)
        over_http("third-party spans", args.rounds, encoded, spans, args.connections, stored_of_three=2)
        return
    encoded = event_requests(args.requests, args.spans)
    without_http(args.rounds, encoded, args.spans)
    over_http("events", args.rounds, encoded, args.spans, args.connections)
    over_http("events", args.rounds, encoded[:10], args.spans, 1)


if __name__ == "__main__":
    main()
