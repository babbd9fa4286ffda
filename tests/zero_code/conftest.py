from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.kit.otlp_sink import OtlpSink
from tests.kit.provider import CANARY
from tests.zero_code.process import Runtime, install

from infraprism.local_provider import LocalProvider


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return install(tmp_path_factory.mktemp("installed"))


@pytest.fixture
def runtime(installed: list[str]) -> Iterator[Runtime]:
    with LocalProvider(canary=CANARY) as provider, OtlpSink() as infraprism_sink, OtlpSink() as user_sink:
        yield Runtime(provider, infraprism_sink, user_sink, installed)
        assert CANARY.encode() not in infraprism_sink.seen()
