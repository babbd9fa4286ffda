"""The clients of benchmarks/ingest.py: connections that send requests one after the other for some seconds."""

from __future__ import annotations

import gzip
import http.client
import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

import grpc
from ingest_requests import renewed
from tests.kit.backend import KEY, PROTOBUF

_EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
_TIMEOUT_S = 120
_PAUSE_S = 0.2
"""After a request that was not acknowledged."""

Send = Callable[[bytes], str]
"""Sends a request. Returns `ok` if all of its spans are acknowledged, or what the response was."""


class Load(NamedTuple):
    """What one case sends: `bodies` in turn, over HTTP or gRPC."""

    bodies: Sequence[bytes]
    connections: int
    seconds: float
    over_grpc: bool = False


class Sent(NamedTuple):
    """The duration, the latency of each acknowledged request, and the number of other responses by kind."""

    duration_s: float
    latencies_s: list[float]
    failures: Counter[str]


def http_sender(address: str) -> Send:
    connection = http.client.HTTPConnection(address, timeout=_TIMEOUT_S)
    headers = {"content-type": PROTOBUF, "content-encoding": "gzip", "authorization": f"Bearer {KEY}"}

    def send(body: bytes) -> str:
        try:
            connection.request("POST", "/v1/traces", gzip.compress(body, 1), headers)
            response = connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            return type(error).__name__
        return "ok" if (response.status, content) == (200, b"") else f"{response.status} {content[:80]!r}"

    return send


def grpc_sender(address: str) -> Send:
    channel = grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)])
    export = channel.unary_unary(_EXPORT, request_serializer=None, response_deserializer=None)
    metadata = (("authorization", f"Bearer {KEY}"),)

    def send(body: bytes) -> str:
        try:
            content = export(body, metadata=metadata, timeout=_TIMEOUT_S, compression=grpc.Compression.Gzip)
        except grpc.RpcError as error:
            return str(error.code())  # type: ignore[attr-defined]  # an RpcError of a call has a code
        return "ok" if not content else repr(content[:80])

    return send


def run(address: str, load: Load, ready: Callable[[], object], results: object) -> None:
    """Send until the time is over, and complete what is in progress. Puts Sent into the queue `results`."""
    connect = grpc_sender if load.over_grpc else http_sender
    latencies_s: list[float] = []
    failures: Counter[str] = Counter()
    bodies = itertools.cycle(load.bodies)
    ready()
    start_s = time.perf_counter()

    def work() -> None:
        send = connect(address)
        while time.perf_counter() < start_s + load.seconds:
            body = renewed(next(bodies))
            sent_s = time.perf_counter()
            response = send(body)
            if response == "ok":
                latencies_s.append(time.perf_counter() - sent_s)
            else:
                failures[response] += 1
                time.sleep(_PAUSE_S)

    threads = [threading.Thread(target=work) for _ in range(load.connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    results.put(Sent(time.perf_counter() - start_s, latencies_s, failures))  # type: ignore[attr-defined]  # a queue


def http_address(url: str) -> str:
    return urlsplit(url).netloc
