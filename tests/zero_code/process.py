"""Real processes of the apps, in an environment that holds all but InfraPrism, which a path brings in or leaves out.

So both runs are the same but for what is tested: with and without InfraPrism installed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
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
OTHERS: Final = "openai"
"""The entry point of the official instrumentation, which the environment has as well."""
_PROJECT: Final = tomllib.loads((ROOT / "pyproject.toml").read_text())
_PARTS: Final = _PROJECT["tool"]["hatch"]["build"]["dev-mode-dirs"]


class Ran(NamedTuple):
    """What a process left behind: its output, and what arrived at the user's own OTLP endpoint."""

    out: str
    errors: str
    telemetry: list[bytes]


def command(name: str) -> str:
    """A command of the environment."""
    found = ENVIRONMENT / "bin" / name
    if not found.exists():
        raise AssertionError(f"{found} is missing: run `make zero-code-environment`")
    return str(found)


def install(folder: Path) -> list[str]:
    """The path entries that InfraPrism is installed by: its parts, and what a package manager says of it."""
    about = folder / "infraprism_opentelemetry-0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: infraprism-opentelemetry\nVersion: 0\n")
    groups = _PROJECT["project"]["entry-points"].items()
    lines = [line for name, points in groups for line in (f"[{name}]", *(f"{k} = {v}" for k, v in points.items()))]
    (about / "entry_points.txt").write_text("\n".join(lines) + "\n")
    return [*(str(ROOT / part) for part in _PARTS), str(folder)]


class Place:
    """Where the apps run: the providers of LLMs, our backend's sink, the user's own sink, and InfraPrism or not."""

    def __init__(self, provider: LocalProvider, ours: OtlpSink, theirs: OtlpSink, installed: Sequence[str]) -> None:
        self.provider = provider
        self.ours = ours
        self._theirs = theirs
        self._installed = installed

    @property
    def user_endpoint(self) -> str:
        """Where the user has an OTLP endpoint."""
        return self._theirs.endpoint

    def told(self) -> list[bytes]:
        """What the user's endpoint was told so far, as `said` gives it."""
        return said([request.body for request in self._theirs.requests])

    def wait_until_told(self, spans: int, timeout_s: float = 30.0) -> None:
        """Wait until the user's endpoint was told of so many spans, or the time is over."""
        until = time.monotonic() + timeout_s
        while len(self.told()) < spans and time.monotonic() < until:
            time.sleep(0.1)

    def forget(self) -> None:
        """Begin anew, with the user's endpoint and the providers."""
        self._theirs.requests.clear()
        self.provider.clear()

    def run(self, *arguments: str, infraprism: bool, distro: bool = False, **variables: str) -> Ran:
        """Run this command to its end, which must be a good one."""
        before = len(self._theirs.requests)
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
        return Ran(done.stdout, done.stderr, [request.body for request in self._theirs.requests[before:]])

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
        """Run this command meanwhile; at the end it is asked to stop, and must do so."""
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
        """The variables of a process."""
        path = [*([str(ENVIRONMENT / "distro")] if distro else []), *(self._installed if infraprism else [])]
        return {
            "PATH": f"{ENVIRONMENT / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "HOME": os.environ.get("HOME", "/"),
            "PYTHONPATH": os.pathsep.join(path),
            "OPENAI_BASE_URL": self.provider.openai_base_url,
            "OPENAI_API_KEY": OPENAI_KEY,
            "ANTHROPIC_BASE_URL": self.provider.anthropic_base_url,
            "ANTHROPIC_API_KEY": ANTHROPIC_KEY,
            "INFRAPRISM_ENDPOINT": self.ours.endpoint,
            "INFRAPRISM_API_KEY": "ip-test",
            "OTEL_EXPORTER_OTLP_ENDPOINT": self._theirs.endpoint,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_RESOURCE_ATTRIBUTES": "service.name=shop,service.instance.id=1",
            "OTEL_METRICS_EXPORTER": "none",
            "OTEL_LOGS_EXPORTER": "none",
            "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": OTHERS,
            **variables,
        }

    def events(self) -> list[tuple[Any, ...]]:
        """Model, input and output tokens of every event that arrived."""
        found = []
        for span in self.ours.spans():
            values = {pair.key: pair.value for pair in span.attributes}
            found.append(
                (
                    values["infraprism.model"].string_value,
                    values["infraprism.input_tokens"].int_value,
                    values["infraprism.output_tokens"].int_value,
                )
            )
        return sorted(found)

    def all_arrived(self, timeout_s: float = 15.0) -> bool:
        """Wait until as many events have arrived as calls were answered; whether they are the same."""
        until = time.monotonic() + timeout_s
        while len(self.events()) < len(self.provider.calls) and time.monotonic() < until:
            time.sleep(0.05)
        return self.events() == self.billed()

    def billed(self) -> list[tuple[Any, ...]]:
        """The same of every call that the provider answered."""
        found = []
        for call in self.provider.calls:
            assert call.reported is not None
            found.append((call.response_model, call.reported.input_tokens, call.reported.output_tokens))
        return sorted(found)


def said(telemetry: Sequence[bytes]) -> list[bytes]:
    """What the user's endpoint was told, without chance: ids and times, and how spans were batched.

    Each span comes with its resource and scope; ids become their numbers in the order of the spans' ends.
    """
    spans = []
    for body in telemetry:
        for of_resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            for of_scope in of_resource.scope_spans:
                spans += [(span, of_resource, of_scope) for span in of_scope.spans]
    numbers: dict[bytes, int] = {b"": 0}
    found = []
    for span, of_resource, of_scope in sorted(spans, key=lambda entry: entry[0].end_time_unix_nano):
        for name in ("trace_id", "span_id", "parent_span_id"):
            number = numbers.setdefault(getattr(span, name), len(numbers))
            setattr(span, name, number.to_bytes(8, "big"))
        for pair in span.attributes:
            if pair.key in _CHANCE:
                pair.value.Clear()
        span.start_time_unix_nano = span.end_time_unix_nano = 0
        whole = ExportTraceServiceRequest()
        one = whole.resource_spans.add(resource=of_resource.resource, schema_url=of_resource.schema_url)
        for pair in one.resource.attributes:
            if pair.key == "service.instance.id":
                # The SDK draws one anew in a forked process, in the place of the user's too, if it can within 5 s.
                pair.value.Clear()
        one.scope_spans.add(scope=of_scope.scope, schema_url=of_scope.schema_url, spans=[span])
        found.append(whole.SerializeToString(deterministic=True))
    return found


_CHANCE: Final = frozenset(
    {"gen_ai.response.id", "gen_ai.response.time_to_first_chunk", "server.port", "process.pid", "anthropic.request.id"}
)
"""Attributes of others that differ from run to run."""
