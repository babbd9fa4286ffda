"""Damages files of stored parts."""

from __future__ import annotations

from pathlib import Path

PART_FILES = (
    "checksums.txt",
    "columns.txt",
    "columns_substreams.txt",
    "count.txt",
    "data.bin",
    "minmax_timestamp.idx",
    "partition.dat",
    "primary.cidx",
    "serialization.json",
    "skp_idx.packed",
)
"""Files of a part in the compact format; the name of its marks file depends on the version of the engine."""


def part_directories(data_dir: Path) -> list[Path]:
    """The directories of the parts that queries read."""
    return sorted(found.parent for found in (data_dir / "store" / "store").glob("*/*/[0-9]*/checksums.txt"))


def flip_a_bit(file: Path) -> None:
    """Flip one bit in the middle of a file."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    file.write_bytes(content)


def truncate(file: Path) -> None:
    """Keep the first half of a file."""
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
