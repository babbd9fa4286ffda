"""Time, CPU time and memory of exports of all events of a large account.

    python benchmarks/exports.py [--events 10] [--store DIR] [--only parquet]

Generates the store of `benchmarks/queries.py` (events in millions), or uses the one that is in DIR, and runs one export
job per format in this process, as the server does. The memory is the largest resident set during the job, and the one
before it: the engine and its caches.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Self

import clickhouse_connect
import query_events

from infraprism.backend.api.export_request import ExportRequest
from infraprism.backend.api.filters import conditions_of
from infraprism.backend.exports import EXPORT, ExportFiles, ExportKind
from infraprism.backend.exports.formats import FORMATS
from infraprism.backend.jobs import JobRunner, Jobs
from infraprism.backend.relational.database import RelationalDatabase
from infraprism.backend.store.embedded import EmbeddedDatabase

ACCOUNT = "acc_large"
_PAGE = os.sysconf("SC_PAGE_SIZE")
_LEASE_S = 600.0


class Memory:
    """The largest resident set of this process within the block, in bytes."""

    def __enter__(self) -> Self:
        self.before = self.peak = _resident()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def _run(self) -> None:
        while not self._ended.wait(0.02):
            self.peak = max(self.peak, _resident())

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * _PAGE


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _open(directory: Path, millions: float) -> EmbeddedDatabase:
    is_new = not (directory / "store").exists()
    (directory / "store").mkdir(parents=True, exist_ok=True)
    database = EmbeddedDatabase(directory / "store", computes_aggregates=False)
    if is_new:
        client = clickhouse_connect.get_client(interface="chdb", path=str(directory / "store"))
        query_events.generate(client.command, ACCOUNT, int(millions * 1e6), 2_000_000, query_events.now_ms())
        client.command("OPTIMIZE TABLE events FINAL")
        client.close()
    return database


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=float, default=10.0, help="millions of events")
    parser.add_argument("--store", type=Path)
    parser.add_argument("--only", nargs="+", default=[form for form, _ in FORMATS])
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.store and args.store.parent) as temporary:
        directory = args.store or Path(temporary) / "store"
        files = ExportFiles(Path(temporary))
        with (
            closing(_open(directory, args.events)) as database,
            closing(RelationalDatabase(Path(temporary) / "accounts.sqlite")) as accounts,
        ):
            jobs = Jobs(accounts)
            runner = JobRunner(
                jobs,
                {EXPORT: ExportKind(jobs, database, files, conditions_of, lambda _: None, accounts=accounts)},
                lease_s=_LEASE_S,
            )
            print(
                f"{'format':18} {'events':>12} {'s':>7} {'CPU s':>7} {'MB':>8} {'MB memory before':>17} {'largest':>8}"
            )
            for form, compression in FORMATS:
                if form not in args.only:
                    continue
                request = ExportRequest.model_validate(
                    {
                        "format": form,
                        "compression": compression,
                        "start_date": "2020-01-01",
                        "end_date": "2100-01-01",
                    }
                )
                added = jobs.add(ACCOUNT, EXPORT, request.parameters(usage_detail=True), actor="key_1")
                started_s, started_cpu_s = time.perf_counter(), _cpu_s()
                with Memory() as memory:
                    runner.run_next()
                job = jobs.find(ACCOUNT, added.id)
                assert job is not None
                assert job.result is not None, job.error_message
                print(
                    f"{form + (' ' + compression if compression != 'none' else ''):18} {job.progress_done:>12,}"
                    f" {time.perf_counter() - started_s:7.0f} {_cpu_s() - started_cpu_s:7.0f}"
                    f" {job.result['bytes'] / 1e6:8.0f} {memory.before / 1e6:17.0f} {memory.peak / 1e6:8.0f}",
                    flush=True,
                )
                files.remove(ACCOUNT, added.id)


if __name__ == "__main__":
    sys.exit(main())
