"""The backend in its own process, and the requests that tests send to it."""

from __future__ import annotations

import gzip
import json
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from tests.kit import otlp_canaries
from tests.kit.command import clean_environment

from infraprism.backend.accounts import Accounts, permissions
from infraprism.backend.accounts.members import Members
from infraprism.backend.audit.audit_log import AuditLog
from infraprism.backend.span_conversion.span_allowlist import SPAN_NAME
from infraprism.schema import Event, wire

KEY = "ip-the-key-of-the-first-account"
SEMCONV = "opentelemetry.instrumentation.openai_v2"
OPENINFERENCE = "openinference.instrumentation.openai"
GATEWAY = "litellm"
LANGCHAIN = "openinference.instrumentation.langchain"
CALL: dict[str, Any] = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o-mini",
    "gen_ai.response.model": "gpt-4o-mini-2024-07-18",
    "gen_ai.usage.input_tokens": 1000,
    "gen_ai.usage.output_tokens": 500,
    "gen_ai.usage.cache_read.input_tokens": 400,
}
"""The attributes of a client span in the GenAI semantic conventions."""
LLM: dict[str, Any] = {
    "openinference.span.kind": "LLM",
    "llm.system": "openai",
    "llm.model_name": "gpt-4o-mini-2024-07-18",
    "llm.token_count.prompt": 1000,
    "llm.token_count.completion": 500,
    "llm.token_count.prompt_details.cache_read": 400,
}
"""The attributes of a framework's span of the same call, in OpenInference."""
ATTRIBUTION: dict[str, Any] = {
    "infraprism.entity_type": "customer",
    "infraprism.entity_id": "acme-corp",
    "infraprism.session_id": "s 1",
    "infraprism.tags.feature": "chatbot",
}
PROTOBUF = "application/x-protobuf"
_RUN = """
import json, os, sys
from pathlib import Path
from infraprism.backend.server import Settings, run
options = dict(zip(("port", "grpc_port", "max_waiting_bytes"), map(int, sys.argv[3:])))
if limits := json.loads(sys.argv[2]):  # a checkout to compare with may not have them
    from infraprism.backend.limits import Limits
    options["limits"] = Limits(**limits)
options |= json.loads(os.environ.get("TEST_SETTINGS", "{}"))
if clock_file := options.pop("clock_file", None):
    options["clock"] = lambda: float(Path(clock_file).read_text())
sys.exit(run(Settings(data_dir=Path(sys.argv[1]), **options)))
"""
_READY = re.compile(r"InfraPrism is ready: OTLP/HTTP and REST on (\S+), OTLP/gRPC on (\S+), data in ")


class Answer(NamedTuple):
    """An HTTP response."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The JSON body, with numbers as Decimal."""
        return json.loads(self.body, parse_float=Decimal)

    @property
    def rejected(self) -> int:
        """The number of rejected spans of a successful export."""
        assert self.status == 200, self.body
        return ExportTraceServiceResponse.FromString(self.body).partial_success.rejected_spans

    @property
    def error_message(self) -> str:
        """The error message of the partial success of an export."""
        return ExportTraceServiceResponse.FromString(self.body).partial_success.error_message


class Backend:
    """A running backend. Port 0 selects a free HTTP port. `key` is the first key; None lets the server generate one.

    `limits` are arguments of `Limits`, `settings` of `Settings`, where `clock_file` is a file with the time in Unix
    seconds; `files` is the limit of open files of the process.
    """

    def __init__(
        self,
        data_dir: Path,
        key: str | None = KEY,
        max_waiting_bytes: int | None = None,
        port: int = 0,
        limits: Mapping[str, float] | None = None,
        files: int | None = None,
        python: str = sys.executable,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.data_dir = data_dir
        self._accounts = (settings or {}).get("accounts") or data_dir / "accounts.sqlite"
        self.key = key or ""
        self.lines: list[str] = []
        self.process = start(
            data_dir,
            port,
            key=key,
            max_waiting_bytes=max_waiting_bytes,
            limits=limits,
            files=files,
            python=python,
            settings=settings,
        )
        self._wait_until_ready()

    @classmethod
    def running(cls, process: subprocess.Popen[str], data_dir: Path, key: str = KEY) -> Self:
        """A backend in a process that the caller has started."""
        backend = cls.__new__(cls)
        backend.data_dir, backend.key, backend.lines, backend.process = data_dir, key, [], process
        backend._accounts = data_dir / "accounts.sqlite"
        backend._wait_until_ready()
        return backend

    def _wait_until_ready(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            if ready := _READY.match(line):
                self.url, self.grpc_address = ready[1], ready[2]
                return
        raise AssertionError(f"not started: {self.lines} {self.process.communicate(timeout=10)}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Stop the process with a signal. Returns its exit status and its stderr."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        output, errors = self.process.communicate(timeout=30)
        self.lines += output.splitlines()
        return self.process.returncode, errors

    def add_account(self, email: str | None = None, name: str | None = None, **values: Any) -> str:
        """Create an account, with an owner if `email` is given, and return its key."""
        accounts = Accounts(self._accounts)
        try:
            account = accounts.add(**values)
            if email is not None:
                members = Members(accounts.database, AuditLog(accounts.database))
                members.add(account.id, permissions.operator(), email=email, name=name, role="owner")
            return accounts.add_key(account.id)
        finally:
            accounts.close()

    def export(
        self, *spans: Span, key: str | None = None, body: bytes | None = None, compress: bool = False, **headers: str
    ) -> Answer:
        """Send spans, or any body, over HTTP."""
        sent = request(spans).SerializeToString() if body is None else body
        sent_headers = {"content-type": PROTOBUF, "authorization": f"Bearer {self.key if key is None else key}"}
        if compress:
            sent, sent_headers["content-encoding"] = gzip.compress(sent), "gzip"
        sent_headers |= {name.replace("_", "-"): text for name, text in headers.items()}
        return self.http("/v1/traces", sent, sent_headers)

    def export_requests(self, *requests: ExportTraceServiceRequest, key: str | None = None) -> Answer:
        """Send several requests as one."""
        merged = ExportTraceServiceRequest(resource_spans=[group for one in requests for group in one.resource_spans])
        return self.export(body=merged.SerializeToString(), key=key)

    def get(self, path: str, key: str | None = None, **parameters: Any) -> Answer:
        """Send a REST request."""
        target = f"{path}?{urllib.parse.urlencode(parameters, doseq=True)}" if parameters else path
        return self.http(target, None, {"authorization": f"Bearer {self.key if key is None else key}"})

    def send(self, method: str, path: str, body: object = None, key: str | None = None, **headers: str) -> Answer:
        """Send a REST request with any method. `body` is sent as JSON; bytes are sent as they are."""
        sent = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        sent_headers = {"authorization": f"Bearer {self.key if key is None else key}"}
        if sent is not None:
            sent_headers["content-type"] = "application/json"
        sent_headers |= {name.replace("_", "-"): text for name, text in headers.items()}
        return self.http(path, sent, sent_headers, method)

    def events(self, key: str | None = None, **parameters: Any) -> list[dict[str, Any]]:
        """The events of one page."""
        answer = self.get("/v1/events", key, **{"limit": 1000, **parameters})
        assert answer.status == 200, answer.body
        found: list[dict[str, Any]] = answer.json["data"]
        return found

    def http(self, path: str, body: bytes | None, headers: Mapping[str, str], method: str | None = None) -> Answer:
        """Send an HTTP request: POST with a body, GET without, unless a method is given."""
        sent = urllib.request.Request(self.url + path, data=body, headers=dict(headers), method=method)
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(sent, timeout=30) as answer:
                return Answer(answer.status, answer.headers, answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.headers, error.read())


def start(
    data_dir: Path,
    port: int = 0,
    grpc_port: int = 0,
    *,
    key: str | None = KEY,
    max_waiting_bytes: int | None = None,
    prices: Path | None = None,
    limits: Mapping[str, float] | None = None,
    files: int | None = None,
    python: str = sys.executable,
    settings: Mapping[str, Any] | None = None,
) -> subprocess.Popen[str]:
    """Start the server process. `python` is the interpreter, and therefore the checkout, that runs it."""
    variables = {"INFRAPRISM_API_KEY": key, "INFRAPRISM_PRICES": prices and str(prices)}
    environment = clean_environment(**{name: value for name, value in variables.items() if value})
    if settings:
        environment["TEST_SETTINGS"] = json.dumps(settings)
    data_dir.parent.mkdir(parents=True, exist_ok=True)
    options = (port, grpc_port, max_waiting_bytes)
    limited = () if files is None else ("sh", "-c", f'ulimit -n {files}; exec "$@"', "sh")
    return subprocess.Popen(
        [
            *limited,
            python,
            "-c",
            _RUN,
            str(data_dir),
            json.dumps(dict(limits or {})),
            *(str(one) for one in options if one is not None),
        ],
        env=environment,
        cwd=data_dir.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def span(event: Event, *, usage_detail: bool = False, **changes: Any) -> Span:
    """The OTLP span of an event. `changes` sets attributes; None removes one."""
    made = Span(
        trace_id=event.trace_id.to_bytes(16, "big"),
        span_id=event.span_id.to_bytes(8, "big"),
        name=event.name,
        kind=Span.SPAN_KIND_CLIENT,
        start_time_unix_nano=event.timestamp_ns,
        end_time_unix_nano=event.timestamp_ns + event.latency_ms * 1_000_000,
    )
    found: dict[str, Any] = {**wire.attributes(event, usage_detail=usage_detail), **changes}
    for key, value in found.items():
        if value is not None:
            set_attribute(made, key, value)
    return made


def set_attribute(made: Span, key: str, value: object) -> None:
    """Add an attribute of any OTLP type."""
    any_value = made.attributes.add(key=key).value
    match value:
        case bool():
            any_value.bool_value = value
        case int():
            any_value.int_value = value
        case float():
            any_value.double_value = value
        case bytes():
            any_value.bytes_value = value
        case list():
            any_value.array_value.values.add().string_value = str(value)
        case _:
            any_value.string_value = str(value)


def request(spans: Iterable[Span]) -> ExportTraceServiceRequest:
    """An export request in the form that the exporter sends."""
    made = ExportTraceServiceRequest()
    scope = made.resource_spans.add().scope_spans.add()
    scope.scope.name, scope.scope.version = wire.SCOPE_NAME, "0.1.0"
    scope.spans.extend(spans)
    return made


def cleaned_span(attributes: dict[str, Any], **more: Any) -> Span:
    """A span as the collector forwards it, with new ids; it lasts one second."""
    return otlp_canaries.span(attributes, **{"name": SPAN_NAME, **more})


def gateway_span(event: Event, *, parent_id: int | None = None, start_ms: int = 10, ms: int = 1000) -> Span:
    """The span of a gateway for the call of an event, a child of the event's span by default."""
    attributes: dict[str, Any] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": event.model,
        "gen_ai.usage.input_tokens": event.input_tokens,
        "gen_ai.usage.output_tokens": event.output_tokens,
    }
    made = cleaned_span(attributes, parent_span_id=(parent_id or event.span_id).to_bytes(8, "big"))
    made.trace_id = event.trace_id.to_bytes(16, "big")
    made.span_id = (event.span_id + 2**40).to_bytes(8, "big")
    made.start_time_unix_nano = event.timestamp_ns + start_ms * 1_000_000
    made.end_time_unix_nano = made.start_time_unix_nano + ms * 1_000_000
    return made


def nested_span(outer: Span, attributes: dict[str, Any]) -> Span:
    """A cleaned child span; it starts 1 ms later and ends 1 ms earlier."""
    made = cleaned_span(attributes, parent_span_id=outer.span_id)
    made.trace_id = outer.trace_id
    made.start_time_unix_nano = outer.start_time_unix_nano + 1_000_000
    made.end_time_unix_nano = outer.end_time_unix_nano - 1_000_000
    return made
