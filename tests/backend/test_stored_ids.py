"""The index of stored ids finds every id that the table has, whatever happens to its files."""

from __future__ import annotations

import contextlib
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infraprism.backend.ingest.stored_ids import DamagedRunError, StoredIds, bloom_filter, manifest, run
from infraprism.backend.store.database import StoredPart
from infraprism.backend.store.identities import NONE, Identities, joined, matching

START_MS = 1_790_000_000_000
RUN_NUMBER = 8
FILTER_BYTES = 2**20
_numbers = st.integers(0, 2**64 - 1)


def identities(hashes: list[int]) -> Identities:
    """Identities of these hashes. Their start times follow from the hashes."""
    array = np.array(hashes, np.uint64)
    return Identities(array, (array % np.uint64(2**37)).astype(np.int64) + START_MS - 2**37)


def hashes_of(found: Identities) -> set[int]:
    return set(found.hashes.tolist())


class FakeTable:
    """A table of events in memory: its parts with the hashes of their events, and the next number of a block."""

    def __init__(self) -> None:
        self.parts: dict[StoredPart, list[int]] = {}
        self.next_block = 1
        self.id = "a table"
        self.read_rows = 0

    def insert(self, hashes: list[int]) -> None:
        part = StoredPart(f"p_{self.next_block}", "p", self.next_block, self.next_block, len(hashes))
        self.parts[part] = hashes
        self.next_block += 1

    def merge(self, parts: list[StoredPart]) -> None:
        hashes = [one for part in parts for one in self.parts.pop(part)]
        first, last = parts[0].first_block, parts[-1].last_block
        self.parts[StoredPart(f"p_{first}_{last}", "p", first, last, len(hashes))] = hashes

    def lose(self, part: StoredPart) -> None:
        """A part is damaged: the table is loaded without it, and numbers of blocks are given out again."""
        del self.parts[part]
        self.next_block = 1 + max((one.last_block for one in self.parts), default=0)

    def table_id(self) -> str:
        return self.id

    def stored_parts(self) -> list[StoredPart]:
        return list(self.parts)

    def identities_of(self, part: StoredPart) -> Iterator[Identities]:
        self.read_rows += part.rows
        hashes = self.parts[part]
        for start in range(0, len(hashes), 3):
            yield identities(hashes[start : start + 3])


class IndexedTable:
    """A table and its index: inserts, merges, damage of both, restarts and crashes, in an order by chance."""

    def __init__(self, folder: Path, chance: random.Random) -> None:
        self._folder, self._chance = folder, chance
        self._directory = folder / "ids"
        self._table = FakeTable()
        self._killed: list[StoredIds] = []
        self._open()

    def step(self) -> None:
        steps = [self._insert] * 6 + [self._merge, self._lose, self._restart, self._kill, self._damage_a_file]
        self._chance.choice(steps)()
        self._check()

    def close(self) -> None:
        for ids in (*self._killed, self._ids):
            ids.close()

    def _open(self) -> None:
        self._ids = StoredIds(self._directory, self._table, RUN_NUMBER)
        self._ids.load()

    def _insert(self) -> None:
        hashes = [self._chance.getrandbits(64) for _ in range(self._chance.randint(1, 12))]
        self._ids.add(identities(hashes))
        if self._chance.random() < 0.7:  # else the insert fails
            self._table.insert(hashes)
            self._ids.on_inserted()

    def _merge(self) -> None:
        parts = sorted(self._table.parts, key=lambda part: part.first_block)
        first = self._chance.randint(0, len(parts))
        if len(sources := parts[first : first + self._chance.randint(2, 6)]) > 1:
            self._table.merge(sources)

    def _lose(self) -> None:
        if self._table.parts:
            self._ids.forget_parts()
            self._table.lose(self._chance.choice(list(self._table.parts)))

    def _restart(self) -> None:
        self._ids.close()
        self._restarted()

    def _kill(self) -> None:
        # The files of a killed process. Its threads run on, in another directory.
        copy = self._folder / f"ids{len(self._killed)}"
        copy.mkdir()
        with self._ids._manifest_lock:
            for path in sorted(self._directory.iterdir()):
                with contextlib.suppress(FileNotFoundError):
                    (copy / path.name).write_bytes(path.read_bytes())
        self._killed.append(self._ids)
        self._directory = copy
        self._restarted()

    def _restarted(self) -> None:
        if self._table.parts and self._chance.random() < 0.3:
            self._table.lose(self._chance.choice(list(self._table.parts)))
        self._open()

    def _damage_a_file(self) -> None:
        self._ids.close()
        if files := sorted(self._directory.iterdir()):
            path = self._chance.choice(files)
            content = bytearray(path.read_bytes())
            match self._chance.choice(["remove", "cut", "flip"]):
                case "remove":
                    path.unlink()
                case "cut":
                    path.write_bytes(content[: self._chance.randrange(len(content))])
                case _:
                    content[self._chance.randrange(len(content))] ^= 1 << self._chance.randrange(8)
                    path.write_bytes(content)
        self._open()

    def _check(self) -> None:
        stored = identities([one for hashes in self._table.parts.values() for one in hashes]).ordered()
        try:
            found = self._ids.matching(stored.hashes)
        except DamagedRunError:
            self._ids.discard()
            self._ids.load()
            found = self._ids.matching(stored.hashes)
        assert pairs(stored) <= pairs(found)


def pairs(found: Identities) -> set[tuple[int, int]]:
    return set(zip(found.hashes.tolist(), found.starts_ms.tolist(), strict=True))


@pytest.mark.parametrize("seed", range(12))
def test_every_stored_event_is_found_after_crashes_and_damage(tmp_path: Path, seed: int) -> None:
    indexed = IndexedTable(tmp_path, random.Random(seed))
    for _ in range(60):
        indexed.step()
    indexed.close()


def test_a_start_reads_only_the_parts_that_the_index_does_not_have(tmp_path: Path) -> None:
    table, chance = FakeTable(), random.Random(1)
    ids = StoredIds(tmp_path, table, 100)
    ids.load()
    for _ in range(20):
        hashes = [chance.getrandbits(64) for _ in range(30)]
        ids.add(identities(hashes))
        table.insert(hashes)
        ids.on_inserted()
    ids.close()
    table.merge(list(table.parts))
    table.insert([1, 2, 3])
    again = StoredIds(tmp_path, table, 100)
    again.load()
    assert table.read_rows == 3
    assert hashes_of(again.matching(np.array([1, 2, 3, 4], np.uint64))) == {1, 2, 3}
    again.close()


def test_a_stop_does_not_wait_until_many_events_are_read(tmp_path: Path) -> None:
    table = FakeTable()
    table.insert(list(range(1000)))
    ids = StoredIds(tmp_path, table, 100)
    ids.cancel_load()
    with pytest.raises(OSError, match="stops"):
        ids.load()
    ids.close()
    few = StoredIds(tmp_path, table, 10_000)
    few.cancel_load()
    few.load()
    assert few.matching(np.array([999], np.uint64)).number
    few.close()


def test_the_index_of_another_table_is_not_used(tmp_path: Path) -> None:
    table = FakeTable()
    for name in ("a table", "another"):
        table.id = name
        ids = StoredIds(tmp_path, table, 100)
        ids.load()
        assert not ids.matching(np.array([7], np.uint64)).number
        if name == "a table":
            table.insert([7])
            ids.add(identities([7]))
        ids.close()
        table.parts.clear()


@given(st.lists(_numbers, max_size=2000), st.lists(_numbers, max_size=50))
def test_a_filter_finds_every_hash_that_was_added(hashes: list[int], others: list[int]) -> None:
    ordered = np.sort(np.array(hashes, np.uint64))
    words = bloom_filter.empty(len(hashes), FILTER_BYTES)
    bloom_filter.add(words, ordered)
    asked = np.sort(np.array([*hashes, *others], np.uint64))
    assert set(hashes) <= set(bloom_filter.found(words, asked, bloom_filter.masks(asked)).tolist())


def test_a_filter_finds_few_hashes_that_were_not_added() -> None:
    chance = np.random.default_rng(1)
    words = bloom_filter.empty(200_000, FILTER_BYTES)
    bloom_filter.add(words, np.sort(chance.integers(0, 2**64 - 1, 200_000, np.uint64)))
    others = chance.integers(0, 2**64 - 1, 200_000, np.uint64)
    assert len(bloom_filter.found(words, others, bloom_filter.masks(others))) < 600


def test_a_filter_beyond_its_size_finds_more_hashes_by_mistake_and_all_that_were_added() -> None:
    chance = np.random.default_rng(1)
    hashes = np.sort(chance.integers(0, 2**64 - 1, 100_000, np.uint64))
    words = bloom_filter.empty(100_000, 0)
    assert words.nbytes <= 100_000
    bloom_filter.add(words, hashes)
    assert len(bloom_filter.found(words, hashes, bloom_filter.masks(hashes))) == 100_000
    others = chance.integers(0, 2**64 - 1, 10_000, np.uint64)
    assert len(bloom_filter.found(words, others, bloom_filter.masks(others))) < 5_000


@given(st.lists(st.lists(_numbers, max_size=700), min_size=1, max_size=4), st.lists(_numbers, max_size=20))
def test_a_merged_run_has_the_identities_of_its_runs(lists: list[list[int]], others: list[int]) -> None:
    everything = joined([NONE, *map(identities, lists)]).ordered()
    with tempfile.TemporaryDirectory() as folder:
        runs = []
        for number, hashes in enumerate(lists):
            run.write(Path(folder) / str(number), len(hashes), [identities(hashes).ordered()], FILTER_BYTES)
            runs.append(run.Run(Path(folder) / str(number)))
        run.write(Path(folder) / "merged", everything.number, run.merged(runs, everything.number), FILTER_BYTES)
        runs.append(run.Run(Path(folder) / "merged"))
        found = joined([NONE, *runs[-1]])
        assert found.hashes.tolist() == everything.hashes.tolist()
        assert pairs(found) == pairs(everything)
        asked = np.unique(np.array([*others, *everything.hashes.tolist()[::3]], np.uint64))
        expected = matching(everything, asked)
        wanted = runs[-1].matching(asked, bloom_filter.masks(asked))
        assert sorted(wanted.hashes.tolist()) == sorted(expected.hashes.tolist())
        for one in runs:
            one.close()


def test_equal_hashes_are_found_with_all_their_start_times(tmp_path: Path) -> None:
    times = np.arange(1000, dtype=np.int64) + START_MS
    same = Identities(np.full(1000, 5, np.uint64), times)
    run.write(tmp_path / "run", 1002, [joined([identities([3]), same, identities([9])])], FILTER_BYTES)
    opened = run.Run(tmp_path / "run")
    asked = np.array([4, 5, 6], np.uint64)
    assert set(opened.matching(asked, bloom_filter.masks(asked)).starts_ms.tolist()) == set(times.tolist())
    opened.close()


def read_all(path: Path) -> None:
    opened = run.Run(path)
    try:
        list(opened)
    finally:
        opened.close()


def test_a_flipped_bit_of_a_run_is_found_when_it_is_opened_or_read(tmp_path: Path) -> None:
    ordered = identities([random.Random(2).getrandbits(64) for _ in range(500)]).ordered()
    run.write(tmp_path / "run", 500, [ordered], FILTER_BYTES)
    content = (tmp_path / "run").read_bytes()
    # The rest of the header's page is not used.
    for place in (*range(0, 40, 3), *range(4096, len(content), 97)):
        changed = bytearray(content)
        changed[place] ^= 4
        (tmp_path / "run").write_bytes(changed)
        with pytest.raises(DamagedRunError):
            read_all(tmp_path / "run")


def test_a_manifest_of_another_version_is_not_read(tmp_path: Path) -> None:
    part = StoredPart("p", "p", 1, 1, 1)
    manifest.write(tmp_path, manifest.Manifest("t", ["a"], [part]))
    assert manifest.read(tmp_path) == manifest.Manifest("t", ["a"], [part])
    text = (tmp_path / manifest.NAME).read_text()
    (tmp_path / manifest.NAME).write_text(text.replace('"version": 1', '"version": 0'))
    assert manifest.read(tmp_path) is None
