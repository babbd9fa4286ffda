"""Writes an archive: a ZIP file with everything that an account holds, or with what it holds of one entity."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from infraprism.backend.analytics import sums
from infraprism.backend.analytics.source import Source
from infraprism.backend.exports import archive_tables
from infraprism.backend.exports.chunks import Totals
from infraprism.backend.jobs import Job
from infraprism.backend.relational.database import RelationalDatabase
from infraprism.backend.store import Database
from infraprism.backend.store.database import Parameter
from infraprism.backend.store.measured_rows import MeasuredRows
from infraprism.schema import exact_json

EVENTS: Final = "events.ndjson.gz"
DAILY_SUMS: Final = "daily_sums.ndjson"
MANIFEST: Final = "manifest.json"
_DIMENSIONS: Final = ("entity_type", "entity_id", "model", "provider", "operation")
_WINDOW_MS: Final = 30 * 86_400_000
_BLOCK_BYTES: Final = 2**20


class Archive:
    """The ZIP file of one job. `check` is called often, and may raise.

    Each entry of the manifest has the name of a file, its rows, bytes and SHA-256.
    """

    def __init__(self, path: Path, job: Job, check: Callable[[], None]) -> None:
        self._check = check
        self._time = datetime.fromtimestamp(job.created_ms / 1000, UTC)
        self._zip = zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED)
        self._entries: list[dict[str, Any]] = []

    def add(self, name: str, lines: Iterable[bytes], rows: int | None = None) -> None:
        """Add a file of lines, or of any pieces if the number of its rows is given."""
        info = zipfile.ZipInfo(name, self._time.timetuple()[:6])
        # A compressed file is only copied.
        info.compress_type = zipfile.ZIP_STORED if name.endswith(".gz") else zipfile.ZIP_DEFLATED
        info.external_attr = 0o600 << 16
        found, size, pieces = hashlib.sha256(), 0, 0
        with self._zip.open(info, "w", force_zip64=True) as file:
            for piece in lines:
                self._check()
                file.write(piece)
                found.update(piece)
                size += len(piece)
                pieces += 1
        number = pieces if rows is None else rows
        self._entries.append({"name": name, "rows": number, "bytes": size, "sha256": found.hexdigest()})

    def finish(self, **described: Any) -> None:
        """Add the manifest and close the file."""
        manifest = {**described, "created_at": self._time.isoformat(), "files": self._entries}
        self._zip.writestr(MANIFEST, json.dumps(manifest, indent=1))
        self._zip.close()

    def close(self) -> None:
        """Close the file, also one that is not complete."""
        self._zip.close()


def write(
    path: Path,
    events: Path,
    job: Job,
    totals: Totals,
    check: Callable[[], None],
    *,
    accounts: RelationalDatabase,
    database: Database,
    source: Source,
) -> None:
    """Write the archive of a job from the file of its events. Raises the errors of the databases and the disk."""
    with closing(Archive(path, job, check)) as archive:
        entity = job.parameters["filters"]
        archive.add(EVENTS, _blocks(events), totals.values["total_events"])
        archive.add(DAILY_SUMS, daily_sums(database, source, job.account_id, entity))
        if not entity:
            for name in archive_tables.present():
                archive.add(f"tables/{name}.ndjson", archive_tables.rows(accounts, name, job.account_id))
        archive.finish(
            account_id=job.account_id,
            scope={name: values[0] for name, values in entity.items()} or "account",
            not_included={} if entity else dict(archive_tables.NOT_ARCHIVED),
        )


def daily_sums(database: Database, source: Source, account_id: str, entity: dict[str, list[str]]) -> Iterator[bytes]:
    """The sums of each UTC day by entity, model, provider and operation, also of days without events, as JSON lines."""
    conditions = tuple(f"{name} = {{archived_{name}:String}}" for name in entity)
    parameters: dict[str, Parameter] = {f"archived_{name}": values[0] for name, values in entity.items()}
    whole = MeasuredRows(
        account_id, dimensions=_DIMENSIONS, conditions=conditions, parameters=parameters, time_unit="day"
    )
    relation = source(whole)
    (row,) = database.read(
        "SELECT count() AS rows, toUnixTimestamp(min(m.time)) * 1000 AS first, toUnixTimestamp(max(m.time)) * 1000 AS"
        f" last FROM {relation.sql} AS m",
        relation.parameters,
    )
    found = exact_json.loads(row)
    if not found["rows"]:
        return
    for first_ms in range(found["first"], found["last"] + 1, _WINDOW_MS):
        relation = source(
            MeasuredRows(
                account_id,
                first_ms,
                first_ms + _WINDOW_MS,
                dimensions=_DIMENSIONS,
                conditions=conditions,
                parameters=parameters,
                time_unit="day",
            )
        )
        keys = ", ".join(f"nullIf(toString(m.{name}), '') AS {name}" for name in _DIMENSIONS)
        rows = database.read(
            f"SELECT toDate(m.time) AS day, {keys}, {sums.select(sums.sums())} FROM {relation.sql} AS m"
            f" GROUP BY ALL ORDER BY day, {', '.join(_DIMENSIONS)}",
            relation.parameters,
        )
        yield from (line + b"\n" for line in rows)


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            yield block
