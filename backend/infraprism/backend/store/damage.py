"""The damaged parts of the store: what is in the directory of detached parts, and what a repair could not restore.

A damaged part is never read by queries. It is reported until `infraprism store repair` has restored its rows. Rows that
could not be restored are reported until the damaged files are deleted (`infraprism store repair --delete`).
"""

from __future__ import annotations

import itertools
import json
import logging
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from infraprism.backend.store.part_files import Contents, PartName, contents, parsed_name

DAMAGED_PREFIX: Final = "damaged_"
"""Of the name of a part that was moved to the directory of detached parts because it is damaged."""
REPLACED_PREFIX: Final = "replaced_"
"""Of a damaged part while the table is loaded without it: its sources may have all its rows."""
DISCARDED_PREFIX: Final = "discarded_"
"""Of a damaged part of which no row is missing, until all its files are deleted."""
QUARANTINE: Final = "quarantine"
"""The directory, next to the store, of the damaged files whose readable rows were restored."""
REPORT: Final = "repair.json"
"""The result of the repair of a part, next to its files."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DamagedPart:
    """A part that queries do not read. `first` and `last`: its time range, in UTC; None if unknown, with the reason.

    `rows` are missing from queries, or None if their number is unknown. `is_repaired`: its readable rows were restored,
    and these rows were not readable.
    """

    name: str
    files: str
    rows: int | None
    first: str | None
    last: str | None
    unknown: str | None
    is_repaired: bool = False

    def as_json(self) -> dict[str, Any]:
        """Its fields, with JSON types."""
        return asdict(self)

    def __str__(self) -> str:
        rows = "an unknown number of rows" if self.rows is None else f"{self.rows} rows"
        times = "unknown times" if self.first is None else f"{self.first} to {self.last}"
        reason = f" ({self.unknown})" if self.unknown else ""
        state = "could not be restored" if self.is_repaired else "are not read"
        return f"part {self.name}: {rows} of {times} {state}{reason}"


@dataclass(frozen=True, slots=True)
class ScrubResult:
    """The result of the last complete scrub: when it ended (UTC), and how much it verified."""

    ended: str
    parts: int
    rows: int


class DamageReport:
    """The damaged parts of one table. Its methods may be called from any thread.

    `detached` is its directory of detached parts. `is_covered` tells whether all rows of a damaged part are in parts
    that are read: then the part is deleted.
    """

    def __init__(self, detached: Path, quarantine: Path, is_covered: Callable[[PartName, int], bool]) -> None:
        self._detached = detached
        self._quarantine = quarantine
        self._is_covered = is_covered
        self._lock = threading.Lock()
        self._state: object = None
        self._logged: set[str] = set()
        self.parts: tuple[DamagedPart, ...] = ()
        """As of the last `refresh`."""

    def has_changed(self) -> bool:
        """Whether the directories have changed since the last `refresh`."""
        return self._state != self._read_state()

    def refresh(self) -> None:
        """Read the directories again. New damage is logged.

        Called while the table is attached, and before further rows are inserted after it was loaded: the engine reuses
        the numbers of parts.
        """
        with self._lock:
            self._judge_moved_parts()
            self.parts = (*damaged_parts(self._detached), *unrestored(self._quarantine))
            self._state = self._read_state()
            for part in self.parts:
                if part.files not in self._logged:
                    self._logged.add(part.files)
                    _log.error("damaged data: %s: run `infraprism store repair`", part)

    def _judge_moved_parts(self) -> None:
        """Delete the moved parts whose rows are all in other parts, or were never acknowledged. Others are damage."""
        for files in sorted(self._detached.iterdir()) if self._detached.is_dir() else ():
            name = parsed_name(files.name)
            if name is None or name.prefix in ("", DAMAGED_PREFIX.rstrip("_")):
                continue
            if name.prefix == DISCARDED_PREFIX.rstrip("_"):
                discard(files)
                continue
            rows = contents(files, name).rows
            if name.level and rows and self._is_covered(name, rows):
                discard(files)
                _log.warning("the disk did not store a merged part with %d rows: its sources were restored", rows)
            else:
                files.rename(unused(self._detached, DAMAGED_PREFIX + name.name))

    def _read_state(self) -> object:
        return [_modified(folder) for folder in (self._detached, self._quarantine)]


def discard(files: Path) -> None:
    """Delete a part of which no row is missing. If the process is killed in between, a start deletes the rest."""
    if not files.name.startswith(DISCARDED_PREFIX):
        name = parsed_name(files.name)
        files = files.rename(unused(files.parent, f"{DISCARDED_PREFIX}{name.name if name else files.name}"))
    shutil.rmtree(files)


def unused(folder: Path, name: str) -> Path:
    """A path of this name in a folder, with a suffix if it exists."""
    candidates = (folder / (name if number == 0 else f"{name}_try{number}") for number in itertools.count())
    return next(path for path in candidates if not path.exists())


def damaged_parts(detached: Path) -> Iterator[DamagedPart]:
    """The parts in a directory of detached parts."""
    for files in sorted(detached.iterdir()) if detached.is_dir() else ():
        name = parsed_name(files.name)
        if name is None:
            yield DamagedPart(files.name, str(files), None, None, None, "it has not the name of a part")
        else:
            yield described(name, files, contents(files, name))


def described(name: PartName, files: Path, found: Contents) -> DamagedPart:
    """The report of a part."""
    return DamagedPart(name.name, str(files), found.rows, found.first, found.last, found.unknown)


def unrestored(quarantine: Path) -> Iterator[DamagedPart]:
    """The repaired parts of which rows could not be restored."""
    for report in sorted(quarantine.glob(f"*/{REPORT}")):
        try:
            part = DamagedPart(**json.loads(report.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            unknown = f"{REPORT} cannot be read"
            yield DamagedPart(report.parent.name, str(report.parent), None, None, None, unknown, is_repaired=True)
            continue
        if part.rows != 0:
            yield part


def discard_restored(quarantine: Path) -> int:
    """Delete the damaged files of parts of which all rows were restored. Returns their number. Raises OSError."""
    restored = []
    for report in sorted(quarantine.glob(f"*/{REPORT}")):
        try:
            is_restored = json.loads(report.read_text(encoding="utf-8"))["rows"] == 0
        except (OSError, ValueError, TypeError, KeyError):
            continue
        if is_restored:
            restored.append(report.parent)
    for files in restored:
        shutil.rmtree(files)
    return len(restored)


def _modified(folder: Path) -> object:
    try:
        return folder.stat().st_mtime_ns, sorted(found.name for found in folder.iterdir())
    except OSError:
        return None
