"""The vendors' test suites, as data: which version, what is installed, which tests, and how much must be seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Suite:
    """The tests of one client package, as its source distribution on the package registry carries them.

    `extras` and `groups` are the package's own names for what its tests need; `also` is what some of them need beside,
    and are skipped without. `variables` switch on what is off by default. `tests` need no server that mocks the
    vendor's API; `without` are files and tests among them that do, or that cannot say anything. `fewest_passing` and
    `fewest_spans` are bounds below which a run proves nothing: too little ran, or too little of it was observed.
    """

    package: str
    version: str
    extras: tuple[str, ...]
    groups: tuple[str, ...]
    also: tuple[str, ...]
    variables: Mapping[str, str]
    tests: tuple[str, ...]
    without: tuple[str, ...]
    fewest_passing: int
    fewest_spans: int

    @property
    def name(self) -> str:
        """The name of its source distribution."""
        return f"{self.package}-{self.version}"


SUITES: Final = (
    Suite(
        package="openai",
        version="3.54.0",
        extras=("aiohttp", "realtime", "datalib", "voice_helpers", "bedrock", "vertex"),
        groups=("dev", "provider-browser"),
        also=("httpx==0.28.1",),  # clients of it are accepted as well: 85 tests of redirects
        variables={"OPENAI_TEST_LEGACY_HTTPX": "1"},  # and of streams
        tests=(
            "tests/lib",
            "tests/test_streaming.py",
            "tests/test_client.py",
            "tests/test_response.py",
            "tests/test_legacy_response.py",
        ),
        # Both talk to the mock server.
        without=(
            "tests/lib/test_fine_tuning_positional_arguments.py",
            "tests/lib/test_vector_store_polling.py",
        ),
        fewest_passing=8_590,
        fewest_spans=3_000,
    ),
    Suite(
        package="anthropic",
        version="2.12.0",
        extras=("aiohttp", "vertex", "google_cloud", "aws", "bedrock", "mcp", "webhooks"),
        groups=("dev",),
        also=(),
        variables={},
        tests=(
            "tests/lib",
            "tests/test_streaming.py",
            "tests/test_client.py",
            "tests/test_response.py",
            "tests/test_middleware.py",
            "tests/test_open_telemetry.py",
            "tests/test_tracing.py",
        ),
        # Beside the files that openai's suite has, three more that need no server and are about what we touch.
        # This one holds that nothing at all in the process calls OpenTelemetry while the package's own spans are off.
        without=(
            "tests/test_open_telemetry.py::TestTracingFailures::test_disabled_spans_call_nothing_of_opentelemetry",
        ),
        fewest_passing=5_300,
        fewest_spans=3_000,
    ),
)
