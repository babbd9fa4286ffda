"""A damaged file of any part is found, reported with rows and time range, and repaired as far as it can be read."""

from __future__ import annotations

import itertools
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
from tests.kit.backend import Backend, span
from tests.kit.command import infraprism
from tests.kit.damage import PART_FILES, flip_a_bit, part_directories, truncate
from tests.kit.events import event
from tests.kit.fault_cases import selected
from tests.kit.full_disk import Filler, available, tmpfs
from tests.kit.stored_data import copied, store_two_parts


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with two parts of 20 events each, of a server that was killed."""
    data = tmp_path_factory.mktemp("damage") / "data"
    store_two_parts(data)
    return data


@pytest.fixture
def data(stored: Path, tmp_path: Path) -> Path:
    return copied(stored, tmp_path / "data")


def wait_for(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 30
    while not (found := condition()) and time.monotonic() < deadline:
        threading.Event().wait(0.05)
    return found


def ready(backend: Backend) -> Any:
    return backend.http("/readyz", None, {}).json


_DAMAGES: Final = selected(
    list(itertools.product(PART_FILES, (flip_a_bit, truncate))),
    [
        ("checksums.txt", flip_a_bit),
        ("columns.txt", truncate),
        ("columns_substreams.txt", flip_a_bit),
        ("data.bin", flip_a_bit),
        ("data.bin", truncate),
        ("minmax_timestamp.idx", flip_a_bit),
        ("primary.cidx", truncate),
    ],
)


@pytest.mark.parametrize(("name", "damage"), _DAMAGES)
def test_damage_of_any_file_is_found_and_repaired_exactly_once(
    data: Path, name: str, damage: Callable[[Path], None]
) -> None:
    damage(part_directories(data)[0] / name)
    shown = infraprism("store", "repair", "--json", "--data-dir", str(data))
    assert shown.returncode == 1, shown.stderr
    (found,) = [json.loads(line) for line in shown.stdout.splitlines()]
    assert (found["rows"] == 20) or (found["rows"] is None and found["unknown"])
    assert found["first"] is None or found["first"].startswith("20")
    ran = infraprism("store", "repair", "--yes", "--json", "--data-dir", str(data))
    (repaired,) = [json.loads(line) for line in ran.stdout.splitlines()]
    assert ran.returncode == (0 if repaired["rows"] == 0 else 1)
    assert repaired["readable_rows"] == repaired["restored_rows"] == 20 - (repaired["rows"] or 0)
    if damage is flip_a_bit:
        assert repaired["rows"] == 0
    assert Path(repaired["files"]).is_dir()
    with Backend(data) as backend:
        assert len(backend.events()) == 20 + repaired["readable_rows"]
        assert [part["rows"] for part in ready(backend)["damaged_parts"]] == [repaired["rows"]] * bool(repaired["rows"])


@pytest.mark.parametrize("seed", range(int(os.environ.get("FAULT_SEEDS", "1"))))
def test_a_repair_that_is_killed_at_any_time_can_be_repeated(data: Path, seed: int) -> None:
    chance = random.Random(seed)
    flip_a_bit(part_directories(data)[0] / "columns.txt")
    command = [sys.executable, "-m", "infraprism.cli", "store", "repair", "--yes", "--data-dir", str(data)]
    for _ in range(4):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            process.wait(chance.uniform(0.3, 3))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    infraprism("store", "repair", "--yes", "--data-dir", str(data))
    with Backend(data) as backend:
        ids = [one["id"] for one in backend.events()]
        assert (len(ids), len(set(ids))) == (40, 40)
        assert ready(backend)["damaged_parts"] == []


@pytest.mark.parametrize("left_bytes", selected([0, 20_000, 60_000, 200_000], [0, 60_000]))
def test_a_repair_on_a_full_disk_loses_nothing_and_can_be_repeated(
    stored: Path, tmp_path: Path, left_bytes: int
) -> None:
    with available(tmpfs(tmp_path / "disk")) as disk:
        data = copied(stored, disk / "data")
        flip_a_bit(part_directories(data)[0] / "columns.txt")
        filler = Filler(disk, random.Random(0))
        filler.fill(left_bytes)
        full = infraprism("store", "repair", "--yes", "--data-dir", str(data))
        filler.free()
        if full.returncode:
            assert "check the disk" in full.stderr
            assert "Traceback" not in full.stderr
            assert infraprism("store", "repair", "--yes", "--data-dir", str(data)).returncode == 0
        with Backend(data) as backend:
            ids = [one["id"] for one in backend.events()]
            assert (len(ids), len(set(ids))) == (40, 40)
            assert ready(backend)["damaged_parts"] == []


def test_a_bit_flipped_before_the_start_is_found_by_the_scrub_and_reported_at_each_start(data: Path) -> None:
    flip_a_bit(part_directories(data)[0] / "data.bin")
    for _ in range(2):
        with Backend(data) as backend:
            (part,) = wait_for(lambda running=backend: ready(running)["damaged_parts"])
            assert (part["rows"], part["unknown"]) == (20, None)
            assert part["first"] <= part["last"]
            assert backend.http("/readyz", None, {}).status == 200
            assert ready(backend)["status"] == "damaged_data"
            assert len(backend.events()) == 20
            assert "infraprism_store_damaged_parts 1.0" in backend.http("/metrics", None, {}).body.decode()
            assert part["name"] in backend.http("/metrics", None, {}).body.decode()
            assert backend.http("/healthz", None, {}).json["damaged_parts"] == [part]
            assert part["name"] in backend.stop()[1]


def test_a_part_that_is_damaged_while_the_server_runs_does_not_fail_queries_for_ever(data: Path) -> None:
    with Backend(data) as backend:
        assert wait_for(lambda: ready(backend)["last_scrub"])
        flip_a_bit(part_directories(data)[0] / "data.bin")
        assert len(backend.events()) == 20
        assert [part["rows"] for part in ready(backend)["damaged_parts"]] == [20]
        assert backend.export(span(event(500))).rejected == 0
        assert len(backend.events()) == 21


def test_a_row_that_was_sent_again_with_another_start_time_is_not_restored(data: Path) -> None:
    flip_a_bit(part_directories(data)[0] / "columns.txt")
    moved = [event(number)._replace(timestamp_ns=event(number).timestamp_ns - 10**12) for number in range(1, 121)]
    with Backend(data) as backend:
        assert len(backend.events()) == 20
        assert backend.export(*map(span, moved)).rejected == 0
        assert len(backend.events()) == 120
    assert infraprism("store", "repair", "--yes", "--data-dir", str(data)).returncode == 0
    with Backend(data) as backend:
        ids = [one["id"] for one in backend.events()]
        assert (len(ids), len(set(ids))) == (120, 120)
        assert backend.export(*map(span, moved)).rejected == 0
        assert len(backend.events()) == 120


def test_an_intact_store_has_no_findings_and_a_running_server_is_named(data: Path) -> None:
    checked = infraprism("store", "check", "--data-dir", str(data))
    assert (checked.returncode, checked.stdout) == (0, "All data is intact.\n")
    with Backend(data) as backend:
        assert wait_for(lambda: ready(backend)["last_scrub"])
        refused = infraprism(
            "store", "check", "--data-dir", str(data), environment={"INFRAPRISM_ENDPOINT": backend.url}
        )
        assert (refused.returncode, refused.stdout) == (1, "")
        assert "stop it first" in refused.stderr
        assert "damaged parts: 0" in refused.stderr


def test_rows_that_cannot_be_restored_are_reported_until_the_files_are_deleted(data: Path) -> None:
    truncate(part_directories(data)[0] / "data.bin")
    assert infraprism("store", "repair", "--yes", "--data-dir", str(data)).returncode == 1
    assert infraprism("store", "check", "--data-dir", str(data)).returncode == 1
    assert infraprism("store", "repair", "--delete", "--data-dir", str(data)).returncode == 0
    assert infraprism("store", "check", "--data-dir", str(data)).returncode == 0


@pytest.mark.parametrize("name", ["accounts.sqlite", "calls.sqlite"])
def test_a_damaged_sqlite_file_is_one_line_that_says_what_to_do(data: Path, name: str) -> None:
    for path in data.glob(f"{name}*"):
        path.unlink()
    (data / name).write_bytes(b"not a database" * 1000)
    ran = infraprism("serve", "--data-dir", str(data), "--port", "0", "--grpc-port", "0")
    assert (ran.returncode, ran.stderr.count("\n")) == (1, 1)
    assert name in ran.stderr
    assert "Traceback" not in ran.stderr


def test_data_files_are_readable_by_the_user_only(data: Path) -> None:
    data.chmod(0o755)
    with Backend(data) as backend:
        assert any("it has mode 0700 now" in line for line in backend.lines)
        assert backend.export(span(event(900))).rejected == 0
        assert {path.stat().st_mode & 0o077 for path in (data, *data.rglob("*"))} == {0}
