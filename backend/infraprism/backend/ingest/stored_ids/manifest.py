"""The manifest of the index: its runs, and the parts of the table of events that they contain.

It is replaced as a whole. Without a readable manifest of this version the index is built again from the table.
"""

from __future__ import annotations

import json
import os
import zlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from infraprism.backend.store.database import StoredPart

NAME: Final = "manifest.json"
_VERSION: Final = 1


class Manifest(NamedTuple):
    """The names of the runs, and the parts of the table whose ids are in them."""

    table: str
    runs: Sequence[str]
    parts: Sequence[StoredPart]


def read(directory: Path) -> Manifest | None:
    """The manifest of an index. None if there is none, or if it is damaged or of another version."""
    try:
        text, checksum = (directory / NAME).read_text(encoding="utf-8").splitlines()
        if int(checksum) != zlib.crc32(text.encode()):
            return None
        found = json.loads(text)
        if found["version"] != _VERSION:
            return None
        return Manifest(found["table"], found["runs"], [StoredPart(*part) for part in found["parts"]])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write(directory: Path, manifest: Manifest) -> None:
    """Replace the manifest of an index durably. Raises OSError."""
    text = json.dumps({"version": _VERSION, **manifest._asdict()})
    temporary = directory / f"{NAME}.tmp"
    with temporary.open("w", encoding="utf-8") as file:
        file.write(f"{text}\n{zlib.crc32(text.encode())}\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(directory / NAME)
    sync_directory(directory)


def remove(directory: Path) -> None:
    """Remove the manifest of an index durably. Raises OSError."""
    (directory / NAME).unlink(missing_ok=True)
    if directory.exists():
        sync_directory(directory)


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable. Raises OSError."""
    opened = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def not_covered(parts: Iterable[StoredPart], covered: Iterable[StoredPart]) -> list[StoredPart]:
    """The parts that may have rows that are not in `covered`.

    A merged part has the blocks of its sources. It is covered if the covered parts within its blocks have as many rows.
    """
    by_partition: dict[str, list[StoredPart]] = defaultdict(list)
    for part in covered:
        by_partition[part.partition_id].append(part)
    return [
        part
        for part in parts
        if part.rows > sum(one.rows for one in by_partition[part.partition_id] if part.contains(one))
    ]


def all_exist(covered: Iterable[StoredPart], parts: Iterable[StoredPart]) -> bool:
    """Whether all covered parts are still parts, or in a merged part."""
    return all(any(part.contains(one) for part in parts) for one in covered)
