from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.kit.otlp_sink import OtlpSink
from tests.kit.provider import CANARY
from tests.zero_code.process import Place, install

from infraprism.local_provider import LocalProvider


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return install(tmp_path_factory.mktemp("installed"))


@pytest.fixture
def place(installed: list[str]) -> Iterator[Place]:
    with LocalProvider(canary=CANARY) as provider, OtlpSink() as ours, OtlpSink() as theirs:
        yield Place(provider, ours, theirs, installed)
        assert CANARY.encode() not in ours.seen()
