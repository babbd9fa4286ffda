"""A scope is left out of permanent sums exactly, or it is stated that it is not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from tests.kit.raw_files import files_with
from tests.kit.summed_store import ACCOUNTS, DAY_MS, DAYS, FIRST_MS, SummedStore, every_cube

from infraprism.backend.store.aggregates.cubes import CUBES
from infraprism.backend.store.aggregates.permanent_removal import SumScope
from infraprism.backend.store.measured_rows import MeasuredRows

END = datetime.fromtimestamp((FIRST_MS + DAYS * DAY_MS) / 1000, UTC).date()
ENTITY = ("customer", "entity 1")
OTHERS = "NOT (entity_type = 'customer' AND entity_id = 'entity 1')"
KEPT_CUBES = [
    replace(request, with_times=not request.tag_key and not request.every_tag)
    for request in every_cube()
    if request.time_zone == "UTC" and "session_id" not in request.dimensions
]
PLAIN = [request for request in KEPT_CUBES if request.tag_key is None and not request.every_tag]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SummedStore]:
    """Finalised days of two accounts. The events are still in the table, to compare the sums with them."""
    with SummedStore(tmp_path) as made:
        for seed, account in enumerate(ACCOUNTS):
            made.insert(seed, 400, account)
            made.aggregates.finalise(account, END)
        yield made


def remove(store: SummedStore, scope: SumScope) -> None:
    assert store.aggregates.deletion.remove_finalised(scope)
    store.aggregates.deletion.remove_unread_rows(scope.account)


def within(store: SummedStore, request: MeasuredRows) -> MeasuredRows:
    return replace(request, first_ms=FIRST_MS, end_ms=FIRST_MS + DAYS * DAY_MS)


def test_the_fixture_covers_every_kept_cube_without_a_tag() -> None:
    kept = [cube for cube in CUBES if cube.is_kept and not cube.is_by_tag]
    assert sorted(request.dimensions for request in PLAIN) == sorted(cube.dimensions for cube in kept)


def test_the_calls_of_an_entity_are_left_out_of_all_sums_without_a_tag_to_the_last_digit(store: SummedStore) -> None:
    other = [store.rows(replace(within(store, request), account_id=ACCOUNTS[1])) for request in KEPT_CUBES]
    remove(store, SumScope(ACCOUNTS[0], None, None, entity=ENTITY))
    for request in PLAIN:
        expected = store.event_rows(replace(within(store, request), event_conditions=(OTHERS,)))
        assert store.rows(within(store, request)) == expected
        assert expected
    assert other == [store.rows(replace(within(store, request), account_id=ACCOUNTS[1])) for request in KEPT_CUBES]
    assert not store.aggregates.deletion.remove_finalised(SumScope(ACCOUNTS[0], None, None, entity=ENTITY))
    store.aggregates.verify_finalised()
    assert store.rows(within(store, PLAIN[0]))


def test_the_sums_of_a_tag_value_are_deleted(store: SummedStore) -> None:
    request = within(store, MeasuredRows(ACCOUNTS[0], time_unit="day", every_tag=True))
    expected = [row for row in store.rows(request) if (row["tag_key"], row["tag_value"]) != ("feature", "f1")]
    remove(store, SumScope(ACCOUNTS[0], None, None, tag=("feature", "f1")))
    assert store.rows(request) == expected
    for plain in PLAIN:
        assert store.rows(within(store, plain)) == store.event_rows(within(store, plain))


def test_whole_days_and_everything_are_deleted_with_all_their_bytes(store: SummedStore, tmp_path: Path) -> None:
    request = within(store, MeasuredRows(ACCOUNTS[0], time_unit="day"))
    second = date.fromordinal(END.toordinal() - DAYS + 1)
    before = store.rows(request)
    remove(store, SumScope(ACCOUNTS[0], second, date.fromordinal(second.toordinal() + 1)))
    assert store.rows(request) == [row for row in before if not row["time"].startswith(str(second))]
    remove(store, SumScope(ACCOUNTS[0], None, None))
    assert store.rows(request) == []
    sums = [name for name in files_with(tmp_path, ACCOUNTS[0]) if "sums_by" in name or "finalised" in name]
    assert sums in ([], ["finalised.sqlite"])
