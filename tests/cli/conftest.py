from __future__ import annotations

import time
from collections.abc import Iterator
from decimal import Decimal

import pytest
from tests.kit.backend import Backend, span
from tests.kit.events import event

from infraprism.schema import Event

COUNT = 1203
"""More events than one page has."""


@pytest.fixture(scope="package")
def stored() -> list[Event]:
    """Events of the last minutes. Every third has no price, every fifth failed."""
    now = time.time_ns() // 1_000_000 * 1_000_000
    return [
        event(
            number,
            timestamp_ns=now - number * 1_000_000,
            entity_id=f"customer-{number % 4}",
            session_id=f"session-{number % 2}" if number % 7 else None,
            model="gpt-4o" if number % 2 else "claude-haiku-4-5",
            cost_usd=None if number % 3 == 0 else Decimal(number).scaleb(-18),
            cost_status="unknown_model" if number % 3 == 0 else "priced",
            success=bool(number % 5),
            error_type=None if number % 5 else "rate_limit",
            error_code=None if number % 5 else "429",
            tags={"feature": "search, deep" if number % 2 else "chat"},
        )
        for number in range(1, COUNT + 1)
    ]


@pytest.fixture(scope="package")
def backend(tmp_path_factory: pytest.TempPathFactory, stored: list[Event]) -> Iterator[Backend]:
    with Backend(tmp_path_factory.mktemp("cli") / "data") as running:
        assert running.export(*map(span, stored)).rejected == 0
        yield running


@pytest.fixture(scope="package")
def environment(backend: Backend) -> dict[str, str]:
    """The variables that configure the command for that backend."""
    return {"INFRAPRISM_ENDPOINT": backend.url, "INFRAPRISM_API_KEY": backend.key}
