"""The vendors' test suites, as data: version, dependencies, tests, and minimum counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Suite:
    """The tests of one client package, in its source distribution.

    `extras` and `groups` are the package's names for the dependencies of its tests; `extra_packages` are needed by some
    tests, which are skipped without them. `variables` are environment variables. `tests` need no mock server of the
    vendor's API; `excluded` are files and tests among them that do, or that are not meaningful. `fewest_passing` and
    `fewest_spans` are minimum counts: with less, too few tests ran or too few calls were recorded.
    """

    package: str
    version: str
    extras: tuple[str, ...]
    groups: tuple[str, ...]
    extra_packages: tuple[str, ...]
    variables: Mapping[str, str]
    tests: tuple[str, ...]
    excluded: tuple[str, ...]
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
        extra_packages=("httpx==0.28.1",),  # openai also accepts its clients: 85 tests of redirects
        variables={"OPENAI_TEST_LEGACY_HTTPX": "1"},  # tests of streams
        tests=(
            "tests/lib",
            "tests/test_streaming.py",
            "tests/test_client.py",
            "tests/test_response.py",
            "tests/test_legacy_response.py",
        ),
        # Both use the mock server.
        excluded=(
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
        extra_packages=(),
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
        # This test asserts that nothing in the process calls OpenTelemetry while the package's own spans are disabled.
        excluded=(
            "tests/test_open_telemetry.py::TestTracingFailures::test_disabled_spans_call_nothing_of_opentelemetry",
        ),
        fewest_passing=5_300,
        fewest_spans=3_000,
    ),
)
