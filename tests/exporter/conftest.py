"""Fixtures: an OTLP sink and exporters of either protocol, shut down after the test."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.kit.otlp_sink import OtlpSink

from infraprism.exporter import InfraPrismSpanExporter, retry_backoff
from infraprism.schema import settings

Make = Callable[..., InfraPrismSpanExporter]


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove all settings of this environment, and forget which lines were logged."""
    for name in tuple(os.environ):
        if name.startswith(("INFRAPRISM_", "OTEL_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    settings.logged.clear()


@pytest.fixture
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retry within milliseconds."""
    monkeypatch.setattr(retry_backoff, "FIRST_WAIT_S", 0.01)
    monkeypatch.setattr(retry_backoff, "LONGEST_WAIT_S", 0.05)


@pytest.fixture(params=["http/protobuf", "grpc"])
def protocol(request: pytest.FixtureRequest) -> str:
    """Either protocol."""
    return str(request.param)


@pytest.fixture
def sink(protocol: str) -> Iterator[OtlpSink]:
    """An endpoint of the protocol."""
    with OtlpSink(protocol) as opened:
        yield opened


@pytest.fixture
def make(protocol: str) -> Iterator[Make]:
    """Creates exporters of the protocol, with a key."""
    created: list[InfraPrismSpanExporter] = []

    def build(endpoint: str, **settings: Any) -> InfraPrismSpanExporter:
        exporter = InfraPrismSpanExporter(endpoint, "ip-secret-key", protocol, **settings)
        created.append(exporter)
        return exporter

    yield build
    for exporter in created:
        exporter.shutdown(timeout_millis=0)
