"""Writes Parquet files with the engine."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Final

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from infraprism.backend.store.quoting import literal

_SETTINGS: Final = (
    # One thread keeps the order of the rows. The row groups bound the memory.
    "max_threads = 1, max_insert_threads = 1, output_format_parquet_row_group_size = 100000,"
    " output_format_parquet_parallel_encoding = 0, engine_file_truncate_on_insert = 1,"
    " min_insert_block_size_rows = 100000, min_insert_block_size_bytes = 33554432,"
    # Not mmap, the default of the embedded engine: the pages of the file would count as memory of the process.
    " storage_file_read_method = 'pread'"
)
_POLL_S: Final = 0.2


def to_parquet(
    connect: Callable[[], Client], source: Path, structure: str, target: Path, should_stop: Callable[[], bool]
) -> bool:
    """See Database.convert. Raises ClickHouseError.

    The engine writes the file itself: its results are complete in memory before they can be read.
    """
    client = connect()
    sql = (
        f"INSERT INTO FUNCTION file({literal(str(target))}, Parquet, {literal(structure)})"
        f" SELECT * FROM file({literal(str(source))}, RowBinary, {literal(structure)}, 'zstd') SETTINGS {_SETTINGS}"
    )
    with ThreadPoolExecutor(1, thread_name_prefix="infraprism-parquet") as thread:
        try:
            running = thread.submit(client.command, sql)
            is_stopped = False
            while not wait((running,), _POLL_S).done:
                if should_stop():
                    is_stopped = True
                    _kill(connect, target)
            try:
                running.result()
            except ClickHouseError:
                if not is_stopped:
                    raise
                return False
        finally:
            client.close()
    return True


def _kill(connect: Callable[[], Client], target: Path) -> None:
    client = connect()
    try:
        client.command(
            f"KILL QUERY WHERE query LIKE 'INSERT INTO FUNCTION%' AND position(query, {literal(str(target))}) > 0 ASYNC"
        )
    finally:
        client.close()
