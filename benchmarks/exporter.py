"""Events encoded and sent per CPU second, compared with the stock OTLP exporter sending the same spans.

    python benchmarks/exporter.py [rounds]

The endpoint runs in another process, accepts every request and stores nothing. The CPU time is that of all threads of
the sending process. The spans are events with 12 attributes. Every path is measured once per round, alternating, and
the medians are printed.
"""

from __future__ import annotations

import gc
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as StockGrpc
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as StockHttp
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from infraprism.exporter import InfraPrismSpanExporter
from infraprism.processor import event_span
from infraprism.schema import Event
from infraprism.schema.otlp_encoder import request_bytes, span_bytes
from infraprism.schema.wire import attributes

STOCK_BATCH = 512  # the default of the stock batch processor
OUR_BATCH = 2048  # the default
STOCK_EVENTS = STOCK_BATCH * 8
OUR_EVENTS = OUR_BATCH * 8
MODELS = ("gpt-4o", "gpt-4o-mini", "claude-sonnet-4-5", "gemini-2.5-flash", "mistral-large-latest")


def generated_events(count: int) -> list[Event]:
    """Calls of 200 customers to five models."""
    source = random.Random(1)
    return [
        Event(
            trace_id=source.getrandbits(128),
            span_id=source.getrandbits(64),
            timestamp_ns=1_790_000_000_000_000_000 + number * 1_234_567,
            model=source.choice(MODELS),
            provider="openai",
            operation="chat",
            latency_ms=source.randrange(200, 30_000),
            success=True,
            input_tokens=source.randrange(10, 20_000),
            output_tokens=source.randrange(1, 4_000),
            cost_usd=Decimal(source.randrange(1, 10**6)).scaleb(-7),
            cost_status="priced",
            entity_type="customer",
            entity_id=f"customer-{source.randrange(200)}",
        )
        for number in range(count)
    ]


@dataclass(frozen=True, eq=False)
class Path:
    """An exporter and its input, under one connection setting."""

    setting: str
    name: str
    send: Callable[[Any], None]
    load: Sequence[Any]

    def per_cpu_second(self) -> float:
        """Events per CPU second of this process."""
        before = time.process_time()
        self.send(self.load)
        return len(self.load) / (time.process_time() - before)


def stock(exporter: SpanExporter) -> Callable[[Sequence[ReadableSpan]], None]:
    """The stock exporter with batches of the stock batch processor."""

    def send(spans: Sequence[ReadableSpan]) -> None:
        for first in range(0, len(spans), STOCK_BATCH):
            assert exporter.export(spans[first : first + STOCK_BATCH]) is SpanExportResult.SUCCESS

    return send


def ours(exporter: InfraPrismSpanExporter) -> Callable[[Sequence[Event]], None]:
    """The InfraPrism exporter with events."""

    def send(events: Sequence[Event]) -> None:
        for first in range(0, len(events), STOCK_BATCH):
            exporter.export_events(events[first : first + STOCK_BATCH])
        assert exporter.force_flush(60_000)

    return send


def ours_from_spans(exporter: InfraPrismSpanExporter) -> Callable[[Sequence[ReadableSpan]], None]:
    """The InfraPrism exporter with spans of a batch processor, which it converts to events first."""

    def send(spans: Sequence[ReadableSpan]) -> None:
        for first in range(0, len(spans), STOCK_BATCH):
            exporter.export(spans[first : first + STOCK_BATCH])
        assert exporter.force_flush(60_000)

    return send


def encode(events: Sequence[Event]) -> None:
    """Encoding without sending."""
    for first in range(0, len(events), OUR_BATCH):
        request_bytes([span_bytes(event) for event in events[first : first + OUR_BATCH]])


def encode_stock(spans: Sequence[ReadableSpan]) -> None:
    """Encoding with the stock encoder."""
    for first in range(0, len(spans), STOCK_BATCH):
        encode_spans(spans[first : first + STOCK_BATCH]).SerializeToString()


def our_exporter(url: str, protocol: str, compression: str, batch: int) -> InfraPrismSpanExporter:
    """An InfraPrism exporter that sends only full batches, or on flush."""
    return InfraPrismSpanExporter(
        url,
        "ip-benchmark",
        protocol,
        compression=compression,
        max_batch_events=batch,
        max_delay_s=600,
        max_queue_events=10**6,
        max_queue_bytes=1 << 30,
    )


def paths_over(protocol: str, url: str, events: Sequence[Event], spans: Sequence[ReadableSpan]) -> list[Path]:
    """Both exporters over one protocol, with and without compression."""
    found = []
    for compression in ("gzip", "none"):
        setting = f"{protocol}, {compression}"
        stock_exporter: SpanExporter
        if protocol == "grpc":
            stock_exporter = StockGrpc(
                url,
                insecure=True,
                compression=grpc.Compression.Gzip if compression == "gzip" else grpc.Compression.NoCompression,
            )
        else:
            stock_exporter = StockHttp(
                f"{url}/v1/traces", compression=Compression.Gzip if compression == "gzip" else Compression.NoCompression
            )
        default = our_exporter(url, protocol, compression, OUR_BATCH)
        found += [
            Path(setting, "stock", stock(stock_exporter), spans),
            Path(setting, "ours", ours(default), events),
            Path(
                setting, "ours, batches as stock", ours(our_exporter(url, protocol, compression, STOCK_BATCH)), events
            ),
            Path(setting, "ours, given spans", ours_from_spans(default), spans),
        ]
    return found


def main(rounds: int) -> None:
    """Measure and print."""
    events = generated_events(OUR_EVENTS)
    spans = [event_span(event) for event in events[:STOCK_EVENTS]]
    assert len(attributes(events[0])) == 12
    with subprocess.Popen([sys.executable, __file__, "serve"], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        http, rpc = (f"http://localhost:{port}" for port in server.stdout.readline().split())
        paths = [
            *paths_over("http/protobuf", http, events, spans),
            *paths_over("grpc", rpc, events, spans),
            Path("encoding only", "stock", encode_stock, spans),
            Path("encoding only", "ours", encode, events),
        ]
        for path in paths:
            path.send(path.load[:STOCK_BATCH])
        rates: dict[Path, list[float]] = {path: [] for path in paths}
        for _ in range(rounds):
            for path in paths:
                gc.collect()
                rates[path].append(path.per_cpu_second())
        server.terminate()
    report(rates)


def report(rates: dict[Path, list[float]]) -> None:
    """One line per path: events per CPU second, the range of the rounds, and the ratio to stock."""
    print(f"{'':22}{'':24}{'events / CPU s':>16}{'lowest':>10}{'highest':>10}{'to stock':>10}")
    base = 1.0
    for path, found in rates.items():
        median = statistics.median(found)
        base = median if path.name == "stock" else base
        figures = f"{median:>16,.0f}{min(found):>10,.0f}{max(found):>10,.0f}{median / base:>9.1f}x"
        print(f"{path.setting:22}{path.name:24}{figures}")


class Taker(BaseHTTPRequestHandler):
    """Accepts every request."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Disable the request log."""


class GrpcTaker(grpc.GenericRpcHandler):  # type: ignore[misc]  # the package has no types
    """Accepts every call."""

    def service(self, _details: Any) -> Any:
        return grpc.unary_unary_rpc_method_handler(lambda _message, _context: b"")


def serve() -> None:
    """The process of the endpoint: prints its two ports and runs until it is terminated."""
    http = ThreadingHTTPServer(("localhost", 0), Taker)
    rpc = grpc.server(ThreadPoolExecutor(2), handlers=(GrpcTaker(),))
    port = rpc.add_insecure_port("localhost:0")
    rpc.start()
    print(http.server_address[1], port, flush=True)
    http.serve_forever()


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        serve()
    else:
        main(int(sys.argv[1]) if sys.argv[1:] else 5)
