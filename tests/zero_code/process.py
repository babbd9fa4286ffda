"""Run the applications as processes, with and without InfraPrism on the path, in an otherwise equal environment."""

from __future__ import annotations

import os
import signal
import subprocess
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from tests.kit.otlp_sink import OtlpSink
from tests.kit.provider import ANTHROPIC_KEY, OPENAI_KEY

from infraprism.local_provider import LocalProvider

ROOT: Final = Path(__file__).parents[2]
ENVIRONMENT: Final = ROOT / ".venv-zero-code"
APPS: Final = Path(__file__).parent / "apps"
OFFICIAL: Final = "openai"
"""The entry point of the official instrumentation, which is installed in the environment."""
_PROJECT: Final = tomllib.loads((ROOT / "pyproject.toml").read_text())
_PARTS: Final = _PROJECT["tool"]["hatch"]["build"]["dev-mode-dirs"]


class Ran(NamedTuple):
    """The output of a process, and the request bodies that the application's own OTLP endpoint received."""

    out: str
    errors: str
    telemetry: list[bytes]


def command(name: str) -> str:
    """The path of a command of the environment."""
    path = ENVIRONMENT / "bin" / name
    if not path.exists():
        raise AssertionError(f"{path} is missing: run `make zero-code-environment`")
    return str(path)


def install(folder: Path) -> list[str]:
    """The path entries of an installed InfraPrism: its packages, and its metadata."""
    dist_info = folder / "infraprism_opentelemetry-0.dist-info"
    dist_info.mkdir()
    (dist_info / "METADATA").write_text("Metadata-Version: 2.1\nName: infraprism-opentelemetry\nVersion: 0\n")
    groups = _PROJECT["project"]["entry-points"].items()
    lines = [line for name, points in groups for line in (f"[{name}]", *(f"{k} = {v}" for k, v in points.items()))]
    (dist_info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    return [*(str(ROOT / part) for part in _PARTS), str(folder)]


class Runtime:
    """Runs the applications with a local provider, an OTLP sink for InfraPrism and one of the application."""

    def __init__(
        self, provider: LocalProvider, infraprism_sink: OtlpSink, user_sink: OtlpSink, installed: Sequence[str]
    ) -> None:
        self.provider = provider
        self.infraprism_sink = infraprism_sink
        self._user_sink = user_sink
        self._installed = installed

    @property
    def user_endpoint(self) -> str:
        """The OTLP endpoint of the application."""
        return self._user_sink.endpoint

    def telemetry(self) -> list[bytes]:
        """The spans that the application's endpoint received, as `normalized` returns them."""
        return normalized([request.body for request in self._user_sink.requests])

    def wait_for_telemetry(self, spans: int, timeout_s: float = 30.0) -> None:
        """Wait until the application's endpoint received this number of spans, or for `timeout_s`."""
        self._user_sink.wait_until(lambda: len(self.telemetry()) >= spans, timeout_s)

    def clear(self) -> None:
        """Clear the records of the application's endpoint and of the provider."""
        self._user_sink.requests.clear()
        self.provider.clear()

    def run(self, *arguments: str, infraprism: bool, distro: bool = False, **variables: str) -> Ran:
        """Run this command until it exits with status 0."""
        before = len(self._user_sink.requests)
        done = subprocess.run(
            arguments,
            env=self.environment(infraprism=infraprism, distro=distro, **variables),
            cwd=APPS,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return Ran(done.stdout, done.stderr, [request.body for request in self._user_sink.requests[before:]])

    @contextmanager
    def running(
        self,
        *arguments: str,
        log: Path,
        cwd: Path = APPS,
        infraprism: bool = True,
        distro: bool = False,
        **variables: str,
    ) -> Iterator[None]:
        """Run this command during the block, and stop it by SIGTERM at the end."""
        with (
            log.open("w") as output,
            subprocess.Popen(
                arguments,
                env=self.environment(infraprism=infraprism, distro=distro, **variables),
                cwd=cwd,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            ) as process,
        ):
            try:
                yield
                process.send_signal(signal.SIGTERM)
                process.wait(60)
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)

    def environment(self, *, infraprism: bool, distro: bool = False, **variables: str) -> dict[str, str]:
        """The environment variables of a process."""
        path = [*([str(ENVIRONMENT / "distro")] if distro else []), *(self._installed if infraprism else [])]
        return {
            "PATH": f"{ENVIRONMENT / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "HOME": os.environ.get("HOME", "/"),
            "PYTHONPATH": os.pathsep.join(path),
            "OPENAI_BASE_URL": self.provider.openai_base_url,
            "OPENAI_API_KEY": OPENAI_KEY,
            "ANTHROPIC_BASE_URL": self.provider.anthropic_base_url,
            "ANTHROPIC_API_KEY": ANTHROPIC_KEY,
            "INFRAPRISM_ENDPOINT": self.infraprism_sink.endpoint,
            "INFRAPRISM_API_KEY": "ip-test",
            "OTEL_EXPORTER_OTLP_ENDPOINT": self._user_sink.endpoint,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_RESOURCE_ATTRIBUTES": "service.name=shop,service.instance.id=1",
            "OTEL_METRICS_EXPORTER": "none",
            "OTEL_LOGS_EXPORTER": "none",
            "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": OFFICIAL,
            **variables,
        }

    def events(self) -> list[tuple[Any, ...]]:
        """Model, input and output tokens of every event received."""
        found = []
        for span in self.infraprism_sink.spans():
            values = {pair.key: pair.value for pair in span.attributes}
            found.append(
                (
                    values["infraprism.model"].string_value,
                    values["infraprism.input_tokens"].int_value,
                    values["infraprism.output_tokens"].int_value,
                )
            )
        return sorted(found)

    def all_received(self, timeout_s: float = 15.0) -> bool:
        """Wait until as many events were received as calls were made, and return whether they are equal."""
        self.infraprism_sink.wait_until(lambda: len(self.events()) >= len(self.provider.calls), timeout_s)
        return self.events() == self.billed()

    def billed(self) -> list[tuple[Any, ...]]:
        """Model, input and output tokens of every call, from the provider's records."""
        found = []
        for call in self.provider.calls:
            assert call.reported is not None
            found.append((call.response_model, call.reported.input_tokens, call.reported.output_tokens))
        return sorted(found)


def normalized(telemetry: Sequence[bytes]) -> list[bytes]:
    """The spans of these request bodies, without ids, times and other values that vary from run to run.

    Each span has its resource and scope. Ids are replaced by their numbers in the order of the spans' ends.
    """
    spans = []
    for body in telemetry:
        for resource_spans in ExportTraceServiceRequest.FromString(body).resource_spans:
            for scope_spans in resource_spans.scope_spans:
                spans += [(span, resource_spans, scope_spans) for span in scope_spans.spans]
    numbers: dict[bytes, int] = {b"": 0}
    found = []
    for span, resource_spans, scope_spans in sorted(spans, key=lambda entry: entry[0].end_time_unix_nano):
        for name in ("trace_id", "span_id", "parent_span_id"):
            number = numbers.setdefault(getattr(span, name), len(numbers))
            setattr(span, name, number.to_bytes(8, "big"))
        for pair in span.attributes:
            if pair.key in _VARYING:
                pair.value.Clear()
        span.start_time_unix_nano = span.end_time_unix_nano = 0
        request = ExportTraceServiceRequest()
        target = request.resource_spans.add(resource=resource_spans.resource, schema_url=resource_spans.schema_url)
        for pair in target.resource.attributes:
            if pair.key == "service.instance.id":
                # In a forked process the SDK replaces it by a random one, even one that the user set.
                pair.value.Clear()
        target.scope_spans.add(scope=scope_spans.scope, schema_url=scope_spans.schema_url, spans=[span])
        found.append(request.SerializeToString(deterministic=True))
    return found


_VARYING: Final = frozenset(
    {"gen_ai.response.id", "gen_ai.response.time_to_first_chunk", "server.port", "process.pid", "anthropic.request.id"}
)
"""Third-party attributes that vary from run to run."""
