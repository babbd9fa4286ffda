"""UTC days of accounts, and the errors of statements on the tables of aggregates."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from typing import Final

from clickhouse_connect.driver.exceptions import ClickHouseError

from infraprism.backend.store.aggregates.published import Day
from infraprism.backend.store.aggregates.tables import BrokenTableError
from infraprism.backend.store.database import StoreError
from infraprism.backend.store.parts import parts_in

_DAY_MS: Final = 86_400_000
_EPOCH: Final = date(1970, 1, 1)


def days_of(account: str, first_ms: int, last_ms: int) -> Iterator[Day]:
    """The days of an account that a time range touches, in milliseconds since 1970 (inclusive)."""
    for number in range(first_ms // _DAY_MS, last_ms // _DAY_MS + 1):
        yield Day(account, _EPOCH + timedelta(days=number))


def milliseconds_of(day: date) -> int:
    """The start of a UTC day."""
    return (day - _EPOCH).days * _DAY_MS


def date_of(time_ms: int) -> date:
    """The UTC day of a time."""
    return _EPOCH + timedelta(days=time_ms // _DAY_MS)


@contextmanager
def store_errors() -> Iterator[None]:
    """Raise the errors of statements as StoreError."""
    try:
        yield
    except BrokenTableError:
        raise StoreError from None
    except ClickHouseError as error:
        raise StoreError(getattr(error, "code", None) or 0, parts_in(str(error))) from None
