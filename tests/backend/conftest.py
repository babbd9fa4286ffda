from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.kit.backend import Backend
from tests.kit.events import START_NS, event

from infraprism.schema import Event

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    with Backend(tmp_path_factory.mktemp("backend") / "data") as running:
        yield running


@pytest.fixture
def account(backend: Backend) -> str:
    """The key of a new account without events."""
    return backend.add_account()


@pytest.fixture(scope="session")
def new_event() -> Callable[..., Event]:
    """Makes events with different ids, each a millisecond later than the previous one."""

    def make(**changes: Any) -> Event:
        number = next(_numbers)
        return event(number, **{"timestamp_ns": START_NS + number * 1_000_000, **changes})

    return make
