"""Whether events can be stored and read now."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from infraprism.backend.store.damage import DamagedPart, ScrubResult

_MAX_RESERVE_BYTES: Final = 2**30
_PROBE_BYTES: Final = 4096
_RESERVED_SHARE: Final = 0.05
_RESUME_FACTOR: Final = 1.1
"""Events are accepted again above this multiple of the reserve, so that it does not change with every request."""


@dataclass(frozen=True, slots=True)
class StoreStatus:
    """The state of the store. `reason` says why events cannot be stored, or is None if they can.

    `merges_stopped`: no parts are merged now, because space is short or the disk refused writes.
    `damaged`: the parts that queries do not read. `scrub`: the result of the last complete verification of all parts.
    """

    can_store: bool
    reason: str | None
    free_bytes: int
    reserve_bytes: int
    merges_stopped: bool
    damaged: tuple[DamagedPart, ...] = ()
    scrub: ScrubResult | None = None


class FreeSpace:
    """The free space of the file system of a directory, and the part of it that stays free.

    The reserve is 1 GiB, or 5 % of a small file system. Below it no events are accepted and no parts are merged.
    """

    def __init__(self, directory: Path, reserve_bytes: int | None = None) -> None:
        self._directory = directory
        self._is_low = False
        found = os.statvfs(directory)
        capacity = found.f_blocks * found.f_frsize
        self.reserve_bytes: Final = (
            min(_MAX_RESERVE_BYTES, int(capacity * _RESERVED_SHARE)) if reserve_bytes is None else reserve_bytes
        )

    def free_bytes(self) -> int:
        """The bytes that this user can still write."""
        found = os.statvfs(self._directory)
        return found.f_bavail * found.f_frsize

    def is_low(self) -> bool:
        """Whether less than the reserve is free. Once low, it stays low until a tenth more than the reserve is free."""
        return self.measure()[1]

    def measure(self) -> tuple[int, bool]:
        """`free_bytes` and `is_low` of the same moment."""
        free_bytes = self.free_bytes()
        factor = _RESUME_FACTOR if self._is_low else 1
        self._is_low = free_bytes < self.reserve_bytes * factor
        return free_bytes, self._is_low


def write_fault(directory: Path) -> str | None:
    """Why no file can be written to a directory now, or None. It is not synchronised, since that can take seconds."""
    try:
        with tempfile.TemporaryFile(dir=directory, buffering=0) as file:
            file.write(bytes(_PROBE_BYTES))
    except OSError as error:
        return error.strerror
    return None
