"""A process that is killed at any step of a write path loses nothing, and the next start does not fail.

`make faults` cuts at every step; the short version leaves out those of opening the store and of single files, and every
second one of the first start.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from tests.kit.backend import KEY, Backend
from tests.kit.command import infraprism
from tests.kit.cuts import Run, each_cut
from tests.kit.damage import flip_a_bit, part_directories
from tests.kit.fault_cases import ALL_CASES
from tests.kit.stored_data import copied, merge_parts, store_two_parts

from infraprism.backend.accounts import Accounts

_SHOWN: Final = re.compile(r"INFRAPRISM_API_KEY=(ip-\S+)")


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("cuts") / "data"
    store_two_parts(data)
    return data


def _cuts(original: Path, copy: Path, *command: str, first: str = "", stride: int = 1) -> Iterator[Run]:
    def prepare() -> tuple[str, ...]:
        return (*command, "--data-dir", str(copied(original, copy)))

    return each_cut(prepare) if ALL_CASES else each_cut(prepare, first, stride)


def _assert_complete(data: Path, step: str | None) -> None:
    with Backend(data) as backend:
        ids = [one["id"] for one in backend.events()]
        assert (len(ids), len(set(ids))) == (40, 40), step
        assert backend.http("/readyz", None, {}).json["damaged_parts"] == [], step


def test_a_damaged_merged_part_is_replaced_by_its_sources_if_the_process_is_killed_in_between(
    stored: Path, tmp_path: Path
) -> None:
    original = copied(stored, tmp_path / "original")
    flip_a_bit(merge_parts(original) / "data.bin")
    steps = []
    for ran in _cuts(original, tmp_path / "data", "store", "check", first="DETACH"):
        steps.append(ran.step)
        _assert_complete(tmp_path / "data", ran.step)
    names = " ".join(map(str, steps))
    assert "DETACH TABLE events" in names
    assert "os.rename" in names
    assert "ATTACH TABLE events" in names.replace("DETACH TABLE events", "")
    assert "os.rmdir" in names


def test_a_repair_that_is_killed_at_any_step_can_be_repeated(stored: Path, tmp_path: Path) -> None:
    original = copied(stored, tmp_path / "original")
    flip_a_bit(part_directories(original)[0] / "columns.txt")
    steps = []
    for ran in _cuts(
        original, tmp_path / "data", "store", "repair", "--yes", first="DROP TABLE IF EXISTS salvaged_part"
    ):
        steps.append(ran.step)
        repeated = infraprism("store", "repair", "--yes", "--data-dir", str(tmp_path / "data"))
        assert repeated.returncode == 0, (ran.step, repeated)
        _assert_complete(tmp_path / "data", ran.step)
    names = " ".join(map(str, steps))
    assert "ATTACH PART" in names
    assert "INSERT INTO events" in names
    assert "os.rename" in names


def test_a_first_start_and_its_end_can_be_killed_at_any_step(tmp_path: Path) -> None:
    """Also the steps of the end: the process stops when it is ready."""
    empty = tmp_path / "empty"
    empty.mkdir()
    command = ("serve", "--port", "0", "--grpc-port", "0")
    count = 0
    for ran in _cuts(empty, tmp_path / "data", *command, first="first-key", stride=2):
        count += 1
        with Backend(tmp_path / "data", key=None) as backend:
            shown = set(_SHOWN.findall(ran.output + "".join(backend.lines)))
            assert len(shown) == 1, ran.step
            assert [backend.get("/v1/me", key).status for key in shown] == [200], ran.step
    assert count >= 3


def _keys(data: Path) -> dict[str, str | None]:
    listed = infraprism("keys", "list", "--json", "--data-dir", str(data))
    assert listed.returncode == 0, listed.stderr
    return {key["id"]: key["revoked_at"] for key in map(json.loads, listed.stdout.splitlines())}


def _is_valid(data: Path, key: str) -> bool:
    accounts = Accounts(data / "accounts.sqlite")
    try:
        return accounts.find_by_key(key) is not None
    finally:
        accounts.close()


def test_a_created_key_is_valid_if_it_was_shown_and_others_stay_valid_at_any_step(stored: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    before = _keys(stored)
    count = 0
    for ran in _cuts(stored, data, "keys", "create"):
        count += 1
        assert _is_valid(data, KEY), ran.step
        assert len(_keys(data)) in {len(before), len(before) + 1}, ran.step
        assert all(_is_valid(data, key) for key in _SHOWN.findall(ran.output)), ran.step
    assert count > 1


def test_a_key_is_revoked_or_valid_at_any_step_of_its_revocation(stored: Path, tmp_path: Path) -> None:
    data, original = tmp_path / "data", copied(stored, tmp_path / "original")
    accounts = Accounts(original / "accounts.sqlite")
    key = accounts.add_key(accounts.all()[0].id)
    accounts.close()
    before = _keys(original)
    count = 0
    for ran in _cuts(original, data, "keys", "revoke", key):
        count += 1
        assert _is_valid(data, KEY), ran.step
        assert _keys(data).keys() == before.keys(), ran.step
        if "is revoked" in ran.output:
            assert not _is_valid(data, key), ran.step
    assert count > 1
