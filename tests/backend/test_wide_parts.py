"""Parts with one file per column."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from tests.kit.summed_store import SummedStore

from infraprism.backend.store.embedded import EmbeddedDatabase
from infraprism.backend.store.part_files import small_files_are_intact
from infraprism.backend.store.parts import active_parts


def test_a_wide_part_with_an_empty_column_is_intact(tmp_path: Path) -> None:
    with SummedStore(tmp_path) as store:
        # No event has a session, and its column is a file without bytes. The part has more than 64 MiB.
        store.events.command(
            "INSERT INTO events (account, id, timestamp, model, provider, operation)"
            " SELECT 'acc_a', CAST(substring(SHA256(toString(number)), 1, 16), 'FixedString(16)'),"
            " fromUnixTimestamp64Milli(1772323200000 + number, 'UTC'), 'm', 'p', 'chat' FROM numbers(800000)"
        )
        parts = active_parts(store.events, "events")
        assert any(file.stat().st_size == 0 for part in parts for file in part.files.glob("session_id*.bin"))
        assert all(small_files_are_intact(part.files) for part in parts)
    with closing(EmbeddedDatabase(tmp_path / "store", computes_aggregates=False)) as database:
        assert database.status().damaged == ()
