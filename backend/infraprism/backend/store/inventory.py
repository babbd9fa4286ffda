"""What the store consists of, in a file next to it, so that deleted files do not go unnoticed.

The engine opens a store of which files are missing without an error: a part without its directory is not known, and a
table without its definition is created anew, empty. At a start, before the engine opens the store, damaged definitions
are restored from the file, and parts that are not there are reported.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from infraprism.backend.store.damage import QUARANTINE, REPORT, DamagedPart, unused
from infraprism.backend.store.part_files import PartName, contents, parsed_name
from infraprism.backend.store.parts import Deletion, Part

INVENTORY: Final = "inventory.json"
"""The name of the file in the data directory."""
_DEFINITIONS: Final = Path("metadata", "default")
_TABLES: Final = "store/*/*"
_FORMAT_VERSION: Final = "format_version.txt"
_DETACHED: Final = "detached"

_log = logging.getLogger(__name__)


class Inventory:
    """The definitions and the verified parts of the store in a directory."""

    def __init__(self, store: Path) -> None:
        self._store = store
        self._file = store.parent / INVENTORY
        self._lock = threading.Lock()
        self._definitions: dict[str, Any] = {}
        self._written: object = None
        self._parts: Mapping[str, Mapping[str, int]] = {}
        self.deletion: Deletion | None = None
        """The deletion that may not be complete."""

    def restore(self) -> None:
        """Restore damaged definitions, and report missing parts. Called before the engine opens the store.

        Raises OSError.
        """
        recorded = self._read()
        self._parts = recorded.get("parts", {})
        if found := recorded.get("deletion"):
            self.deletion = Deletion(found["after"], found["kept_rows"])
        self._move_files_aside(recorded.get("parts", {}))
        for path, target in recorded.get("links", {}).items():
            link = self._store / path
            if not os.path.lexists(link):
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(target)
                _log.warning("%s was missing and is restored", link)
        for path, text in recorded.get("files", {}).items():
            file = self._store / path
            if not file.is_file() or file.read_bytes() != text.encode():
                file.parent.mkdir(parents=True, exist_ok=True)
                _write(file, text)
                _log.warning("%s was damaged and is restored", file)
        for path, parts in recorded.get("parts", {}).items():
            for name, rows in _missing(self._store / path, self._store.parent / QUARANTINE, parts, self.deletion):
                self._report(name, rows, "its directory is missing")

    def _move_files_aside(self, parts: Mapping[str, Mapping[str, int]]) -> None:
        """Move files that have the name of a directory of the engine: with one it opens no table."""
        for table in self._store.glob(_TABLES):
            for path in table.iterdir() if table.is_dir() else ():
                if path.is_dir():
                    continue
                if path.name == _DETACHED:
                    moved = path.rename(unused(table, f"{_DETACHED}.file"))
                    _log.warning("%s is no directory: it is moved to %s", path, moved)
                elif (name := parsed_name(path.name)) and not name.prefix:
                    rows = parts.get(str(table.relative_to(self._store)), {}).get(name.name)
                    files = self._report(name, rows, "a file has its name")
                    path.rename(files / path.name)
                    _log.warning("%s is no directory: it is moved to %s", path, files)

    def read_definition(self, table: str, files_of_table: Path) -> None:
        """Read the definition of a table, after the engine has opened the store. Derived tables are not recorded."""
        link = self._store / _DEFINITIONS
        files = [link.resolve() / f"{table}.sql", files_of_table / _FORMAT_VERSION]
        root = self._store.resolve()
        self._definitions = {
            "links": {str(_DEFINITIONS): str(link.readlink())} if link.is_symlink() else {},
            "files": {str(file.resolve().relative_to(root)): file.read_text(encoding="utf-8") for file in files},
        }

    def update(self, parts: Iterable[Part]) -> None:
        """Write the verified parts, if they have changed. A disk that refuses the write keeps the earlier file."""
        found: dict[str, dict[str, int]] = {}
        root = self._store.resolve()
        for part in parts:
            found.setdefault(str(part.files.parent.resolve().relative_to(root)), {})[part.name] = part.rows
        with self._lock:
            if found == self._written:
                return
            try:
                self._write(found, self.deletion)
            except OSError:
                return
            self._written = self._parts = found

    def record_deletion(self, deletion: Deletion | None) -> None:
        """Write the deletion that begins now, or None after its end. Raises OSError."""
        with self._lock:
            self._write(self._parts, deletion)
            self.deletion = deletion

    def _write(self, parts: Mapping[str, Mapping[str, int]], deletion: Deletion | None) -> None:
        found: dict[str, Any] = {**self._definitions, "parts": parts}
        if deletion is not None:
            found["deletion"] = deletion._asdict()
        content = json.dumps(found, separators=(",", ":"))
        _write(self._file, f"{_checksum(content)}\n{content}")

    def _read(self) -> Mapping[str, Any]:
        if not self._file.exists():
            return {}
        checksum, _, content = self._file.read_text(encoding="utf-8", errors="replace").partition("\n")
        if checksum != _checksum(content):
            _log.warning("%s is damaged: missing files of the store are not recognised at this start", self._file)
            return {}
        found: dict[str, Any] = json.loads(content)
        return found

    def _report(self, name: PartName, rows: int | None, reason: str) -> Path:
        """Report a missing part like one of which no row could be restored, until that is deleted.

        Returns the directory of the report.
        """
        quarantine = self._store.parent / QUARANTINE
        quarantine.mkdir(mode=0o700, exist_ok=True)
        files = unused(quarantine, name.name)
        files.mkdir(mode=0o700)
        month = f"{name.partition_id[:4]}-{name.partition_id[4:]}"
        unknown = f"{reason}; its name says {month}"
        part = DamagedPart(name.name, str(files), rows, None, None, unknown, is_repaired=True)
        _write(files / REPORT, json.dumps(asdict(part)))
        return files


def _missing(
    table: Path, quarantine: Path, recorded: Mapping[str, int], deletion: Deletion | None
) -> Iterator[tuple[PartName, int]]:
    """The recorded parts of a table whose rows are in none of its directories."""
    found = [
        (name, path)
        for folder in (table, table / _DETACHED, quarantine)
        if folder.is_dir()
        for path in folder.iterdir()
        if (name := parsed_name(path.name))
    ]
    for text, rows in recorded.items():
        name = parsed_name(text)
        if name is None or any(_covers(other, name) for other, _ in found):
            continue
        kept = deletion.kept(*name[2:5]) if deletion else {}
        # A merged part is replaced by its sources if it is damaged, and a part that keeps no row is removed.
        expected = min(rows, sum(kept.values())) if kept else rows
        if sum(contents(path, other).rows or 0 for other, path in found if _covers(name, other)) < expected:
            yield name, rows


def _covers(one: PartName, other: PartName) -> bool:
    return (
        one.partition_id == other.partition_id
        and one.first_block <= other.first_block
        and one.last_block >= other.last_block
    )


def _checksum(content: str) -> str:
    return sha256(content.encode()).hexdigest()


def _write(file: Path, text: str) -> None:
    temporary = file.with_name(f"{file.name}.tmp")
    try:
        with temporary.open("w", encoding="utf-8") as writing:
            writing.write(text)
            writing.flush()
            os.fsync(writing.fileno())
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    temporary.replace(file)
