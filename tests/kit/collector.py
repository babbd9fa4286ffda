"""The real OpenTelemetry Collector with our configuration, on free ports of loopback.

    with OtlpSink() as sink, Collector(folder, sink.endpoint) as collector:
        collector.send(request)                    # an ExportTraceServiceRequest; also over gRPC and as JSON
        sink.wait_for(1)
        collector.kill()                           # as kill -9 does
        collector.log()

The binary is built by `make collector` (collector/build.py), once per manifest.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from base64 import b64decode
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import grpc
import pytest
import requests
import yaml
from collector import build
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from tests.kit.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "collector-config.yaml"
SIGNALS = {
    "Trace": ("/v1/traces", "/opentelemetry.proto.collector.trace.v1.TraceService/Export"),
    "Logs": ("/v1/logs", "/opentelemetry.proto.collector.logs.v1.LogsService/Export"),
    "Metrics": ("/v1/metrics", "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"),
}
PROTOCOLS = ("grpc", "http/protobuf", "http/json")
_IDS = frozenset({"traceId", "spanId", "parentSpanId"})
START_TIMEOUT_S = 300.0
"""Long enough for many pipelines on a busy machine; a collector that cannot start ends at once."""
_PORT_ATTEMPTS = 3
_PORT_IN_USE = "address already in use"
_END_OF_LOG = 3000
Config = dict[str, Any]


def binary() -> Path:
    """The collector: the one that OTELCOL names, else our own build of the manifest.

    Where it cannot be built the test is skipped with a message; in CI it fails.
    """
    if named := os.environ.get("OTELCOL"):
        return Path(named)
    made = subprocess.run([sys.executable, build.__file__], check=False, stdout=subprocess.PIPE, text=True)
    if made.returncode == build.NO_GO and not os.environ.get("CI"):
        pytest.skip(
            "NOT TESTED: the collector's tests need Go 1.26 or newer to build the collector (https://go.dev/dl)"
        )
    assert made.returncode == 0, "the collector could not be built: see the output of collector/build.py above"
    return Path(made.stdout.strip())


def load(path: Path = CONFIG) -> Config:
    """A configuration as data."""
    loaded: Config = yaml.safe_load(path.read_text(encoding="utf-8"))
    return loaded


class Collector:
    """One collector process. `folder` keeps its queue, its log and its configuration from one start to the next."""

    def __init__(
        self, folder: Path, endpoint: str, config: Config | None = None, overlay: Config | None = None
    ) -> None:
        self.folder = folder
        self.queue = folder / "queue"
        self._choose_ports()
        self._log = folder / "collector.log"
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        files = [CONFIG] if config is None else [self._write("config.yaml", config)]
        files += [folder / "ports.yaml"]
        if overlay is not None:
            files += [self._write("overlay.yaml", overlay)]
        self._command = [str(binary()), *(f"--config={file}" for file in files)]
        self._was_ready = False
        self.environment = {
            **os.environ,
            "INFRAPRISM_ENDPOINT": endpoint,
            "INFRAPRISM_API_KEY": "ip-test",
            "INFRAPRISM_QUEUE_DIRECTORY": str(self.queue),
        }

    def _choose_ports(self) -> None:
        self.grpc_port, self.http_port, self.health_port, self.metrics_port = (free_port() for _ in range(4))

    def _write(self, name: str, config: Config) -> Path:
        path = self.folder / name
        path.write_text(yaml.safe_dump(config), encoding="utf-8")
        return path

    def _ports(self) -> Config:
        metrics = {"pull": {"exporter": {"prometheus": {"host": "127.0.0.1", "port": self.metrics_port}}}}
        protocols = {
            "grpc": {"endpoint": f"127.0.0.1:{self.grpc_port}"},
            "http": {"endpoint": f"127.0.0.1:{self.http_port}"},
        }
        return {
            "receivers": {"otlp": {"protocols": protocols}},
            "service": {"telemetry": {"metrics": {"readers": [metrics]}}},
        }

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start the process and wait until it is ready. The first start chooses other ports if one was taken."""
        for _ in range(_PORT_ATTEMPTS):
            if self._starts():
                self._was_ready = True
                return
            if self._was_ready or _PORT_IN_USE not in self.log()[-_END_OF_LOG:]:
                break
            self._choose_ports()
        raise AssertionError(f"the collector did not start:\n{self.log()[-_END_OF_LOG:]}")

    def _starts(self) -> bool:
        self._write("ports.yaml", self._ports())
        self.environment["INFRAPRISM_HEALTH_ENDPOINT"] = f"127.0.0.1:{self.health_port}"
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, env=self.environment, stdout=log, stderr=log)
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline and self._process.poll() is None:
            with suppress(requests.ConnectionError):
                if requests.get(f"http://127.0.0.1:{self.health_port}", timeout=5).ok:
                    return True
            time.sleep(0.05)
        self.kill()
        return False

    def stop(self) -> None:
        """End it in an orderly way; what is in the queue stays there."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a crash does."""
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(how)
            process.wait(30)

    @property
    def pid(self) -> int:
        """The process that runs."""
        assert self._process is not None, "the collector does not run"
        return self._process.pid

    def log(self) -> str:
        """All that it has written so far."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def send(
        self, request: Message, protocol: str = "http/protobuf", headers: Mapping[str, str] | None = None
    ) -> tuple[bool, bytes]:
        """Send one export request of any signal; whether it was taken, and the answer."""
        signal_name = type(request).__name__.removeprefix("Export").removesuffix("ServiceRequest")
        path, method = SIGNALS[signal_name]
        if protocol == "grpc":
            return self._send_grpc(method, request.SerializeToString(), headers or {})
        if protocol == "http/json":
            return self.post(path, json.dumps(otlp_json(request)).encode(), "application/json", headers)
        return self.post(path, request.SerializeToString(), "application/x-protobuf", headers)

    def post(
        self, path: str, body: bytes, content_type: str, headers: Mapping[str, str] | None = None
    ) -> tuple[bool, bytes]:
        """Send any bytes to its HTTP receiver; whether they were taken, and the answer."""
        url = f"http://127.0.0.1:{self.http_port}{path}"
        answer = requests.post(url, data=body, headers={"content-type": content_type, **(headers or {})}, timeout=60)
        return answer.ok, answer.content

    def _send_grpc(self, method: str, message: bytes, headers: Mapping[str, str]) -> tuple[bool, bytes]:
        options = [("grpc.max_send_message_length", -1)]
        with grpc.insecure_channel(f"127.0.0.1:{self.grpc_port}", options) as channel:
            export = channel.unary_unary(method)
            try:
                answer = export(message, metadata=tuple(headers.items()), timeout=60)
            except grpc.RpcError as error:
                return False, str(error).encode()
            return True, bytes(answer)

    def metrics(self) -> set[str]:
        """The names of all its own metrics that have a value."""
        lines = self._metrics().splitlines()
        return {line.partition("{")[0] for line in lines if line and not line.startswith("#")}

    def _metrics(self) -> str:
        return requests.get(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=10).text

    def metric(self, name: str, **labels: str) -> float:
        """The value of a counter or gauge of its own, summed over all label sets that fit."""
        lines = [line for line in self._metrics().splitlines() if line.startswith(name + "{")]
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        return sum(float(line.rpartition(" ")[2]) for line in lines if all(label in line for label in wanted))


def otlp_json(message: Message) -> Any:
    """A message in OTLP's JSON: as protobuf's, but trace and span ids are hexadecimal."""
    return _hex_ids(MessageToDict(message))


def _hex_ids(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _to_hex(v) if k in _IDS else _hex_ids(v) for k, v in value.items()}
    return [_hex_ids(item) for item in value] if isinstance(value, list) else value


def _to_hex(text: str) -> str:
    return b64decode(text).hex()


def eventually(condition: Callable[[], bool], timeout_s: float = 20.0) -> bool:
    """Whether a condition comes true in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
