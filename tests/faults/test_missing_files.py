"""Files of the store that are missing are restored or reported; never does a store become empty without a word."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.kit.backend import Backend, span
from tests.kit.command import infraprism
from tests.kit.damage import flip_a_bit, part_directories, truncate
from tests.kit.events import event
from tests.kit.fault_cases import selected
from tests.kit.stored_data import copied, merge_parts, store_two_parts


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("missing") / "data"
    store_two_parts(data)
    return data


@pytest.fixture
def data(stored: Path, tmp_path: Path) -> Path:
    return copied(stored, tmp_path / "data")


def _ready(backend: Backend) -> Any:
    return backend.http("/readyz", None, {}).json


def _definition(data: Path) -> Path:
    return data / "store" / "metadata" / "default" / "events.sql"


def _format_version(data: Path) -> Path:
    return part_directories(data)[0].parent / "format_version.txt"


def _empty(file: Path) -> None:
    file.write_bytes(b"")


@pytest.mark.parametrize(
    ("find", "damage"),
    selected(
        list(itertools.product((_definition, _format_version), (Path.unlink, _empty, truncate, flip_a_bit))),
        [(_definition, Path.unlink), (_definition, flip_a_bit), (_format_version, truncate)],
    ),
)
def test_a_damaged_definition_of_the_table_is_restored(
    data: Path, find: Callable[[Path], Path], damage: Callable[[Path], object]
) -> None:
    damage(find(data).resolve())
    with Backend(data) as backend:
        assert len(backend.events()) == 40
        assert _ready(backend)["status"] == "ok"
        assert "was damaged and is restored" in backend.stop()[1]


def test_a_store_without_its_metadata_is_read_as_before(data: Path) -> None:
    shutil.rmtree(data / "store" / "metadata")
    with Backend(data) as backend:
        assert len(backend.events()) == 40
        assert "was missing and is restored" in backend.stop()[1]


def test_a_part_without_its_directory_is_reported_until_that_is_confirmed(data: Path) -> None:
    part = part_directories(data)[0]
    shutil.rmtree(part)
    for stored in (20, 21):
        with Backend(data) as backend:
            assert len(backend.events()) == stored
            (found,) = _ready(backend)["damaged_parts"]
            assert (found["name"], found["rows"]) == (part.name, 20)
            assert found["unknown"] == "its directory is missing; its name says 2026-09"
            assert backend.export(span(event(500))).rejected == 0
            assert part.name in backend.stop()[1]
    assert infraprism("store", "check", "--data-dir", str(data)).returncode == 1
    assert infraprism("store", "repair", "--delete", "--data-dir", str(data)).returncode == 0
    assert infraprism("store", "check", "--data-dir", str(data)).returncode == 0


def _as_file(part: Path) -> None:
    shutil.rmtree(part)
    part.write_bytes(b"not a part")


def _as_link(part: Path) -> None:
    shutil.rmtree(part)
    part.symlink_to("nothing")


@pytest.mark.parametrize("replace", [_as_file, _as_link])
def test_a_file_with_the_name_of_a_part_is_moved_aside_and_the_part_is_reported(
    data: Path, replace: Callable[[Path], None]
) -> None:
    part = part_directories(data)[0]
    replace(part)
    other = part.with_name("202609_99_99_0")
    other.write_bytes(b"of no part")
    with Backend(data) as backend:
        assert len(backend.events()) == 20
        found = {one["name"]: one for one in _ready(backend)["damaged_parts"]}
        assert {name: one["rows"] for name, one in found.items()} == {part.name: 20, other.name: None}
        assert found[part.name]["unknown"] == "a file has its name; its name says 2026-09"
        assert backend.export(span(event(500))).rejected == 0
        errors = backend.stop()[1]
    assert f"{part.name} is no directory: it is moved to" in errors
    assert "Exception" not in errors
    assert (data / "quarantine" / other.name / other.name).read_bytes() == b"of no part"
    assert infraprism("store", "repair", "--delete", "--data-dir", str(data)).returncode == 0
    assert infraprism("store", "check", "--data-dir", str(data)).returncode == 0


def test_a_file_in_place_of_the_directory_of_detached_parts_is_moved_aside(data: Path) -> None:
    detached = part_directories(data)[0].parent / "detached"
    shutil.rmtree(detached)
    detached.write_bytes(b"a file")
    with Backend(data) as backend:
        assert len(backend.events()) == 40
        assert "detached is no directory: it is moved to" in backend.stop()[1]


def test_a_store_without_its_files_is_not_taken_for_an_empty_one(data: Path) -> None:
    shutil.rmtree(data / "store")
    with Backend(data) as backend:
        assert backend.events() == []
        assert [found["rows"] for found in _ready(backend)["damaged_parts"]] == [20, 20]


def test_a_merged_part_whose_sources_are_still_there_is_not_missing(data: Path) -> None:
    merged = merge_parts(data)
    with Backend(data) as backend:
        assert len(backend.events()) == 40
    assert merged.name in (data / "inventory.json").read_text()
    shutil.rmtree(merged)
    with Backend(data) as backend:
        assert len(backend.events()) == 40
        assert _ready(backend)["damaged_parts"] == []


@pytest.mark.parametrize("damage", [Path.unlink, _empty])
def test_events_without_their_accounts_are_not_served_with_a_new_one(
    data: Path, damage: Callable[[Path], object]
) -> None:
    damage(data / "accounts.sqlite")
    ran = infraprism("serve", "--data-dir", str(data), "--port", "0", "--grpc-port", "0")
    assert (ran.returncode, ran.stdout, ran.stderr.count("\n")) == (1, "", 1)
    assert "has no account, but events are stored: restore it from a backup" in ran.stderr


def test_a_damaged_inventory_is_written_anew(data: Path) -> None:
    truncate(data / "inventory.json")
    for expected in ("inventory.json is damaged", ""):
        with Backend(data) as backend:
            assert len(backend.events()) == 40
            errors = backend.stop()[1]
            assert (expected in errors) if expected else errors == ""
