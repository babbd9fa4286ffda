"""Time, CPU and disk that a deletion of events needs, by scope.

    python benchmarks/deletion.py [--events 10] [--directory DIR]

Generates millions of events of 90 days in one large account, and 2 million of 200 others, and deletes one entity, one
day, one session, and the large account.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

import query_events

from infraprism.backend.store.embedded import EmbeddedDatabase

ACCOUNT = "acc_large"
_DAY_MS = 86_400_000


def main() -> None:
    """Print a line per deletion."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=float, default=10, help="millions")
    parser.add_argument("--directory", type=Path, default=None)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.directory) as name:
        database = EmbeddedDatabase(Path(name) / "store", computes_aggregates=False)
        end_ms = query_events.now_ms() // _DAY_MS * _DAY_MS
        inserting = database._lanes[0]._client  # noqa: SLF001  # the benchmark writes rows that no request has sent
        query_events.generate(inserting.command, ACCOUNT, int(options.events * 1e6), 2_000_000, end_ms)
        time.sleep(10)  # merges
        _measure(database, Path(name), "one entity of 400", ("entity_id = 'entity-7'",))
        _measure(database, Path(name), "one day of 90", (), (end_ms - 40 * _DAY_MS, end_ms - 39 * _DAY_MS))
        session = (
            database.read(f"SELECT session_id FROM events WHERE account = '{ACCOUNT}' LIMIT 1", {})[0]
            .split(b'"')[3]
            .decode()
        )
        _measure(database, Path(name), "one session", (f"session_id = '{session}'",))
        _measure(database, Path(name), "nothing", ("session_id = 'x'",))
        _measure(database, Path(name), "the large account", ())
        database.close()


def _measure(
    database: EmbeddedDatabase,
    data: Path,
    name: str,
    conditions: tuple[str, ...],
    bounds: tuple[int | None, int | None] = (None, None),
) -> None:
    first_ms, end_ms = bounds
    before, highest, ended = _size(data), [0], threading.Event()

    def watch() -> None:
        while not ended.wait(0.2):
            highest[0] = max(highest[0], _size(data))

    watching = threading.Thread(target=watch)
    watching.start()
    started_s, cpu_s = time.monotonic(), _cpu_s()
    deleted = database.delete_events(ACCOUNT, conditions, first_ms=first_ms, end_ms=end_ms, should_stop=lambda: False)
    elapsed_s, cpu_s = time.monotonic() - started_s, _cpu_s() - cpu_s
    ended.set()
    watching.join()
    after = _size(data)
    sys.stdout.write(
        f"{name}: {deleted:,} events in {elapsed_s:.1f} s, {cpu_s:.1f} s of CPU; MiB before {before / 2**20:.0f},"
        f" at most {highest[0] / 2**20:.0f}, after {after / 2**20:.0f}\n"
    )
    sys.stdout.flush()


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _size(data: Path) -> int:
    """The bytes of all files, each once."""
    found = {}
    for folder, _, names in os.walk(data):  # directories that are deleted in the meantime are left out
        for name in names:
            with suppress(OSError):
                status = Path(folder, name).lstat()
                found[status.st_ino] = status.st_blocks * 512
    return sum(found.values())


if __name__ == "__main__":
    main()
