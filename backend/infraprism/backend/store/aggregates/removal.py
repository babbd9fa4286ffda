"""Deletes rows of aggregates physically: none of their bytes is left in the files of a table."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from datetime import date
from typing import Final

from clickhouse_connect.driver.client import Client

from infraprism.backend.store.aggregates.cubes import UNITS
from infraprism.backend.store.aggregates.cubes import table as sums_table
from infraprism.backend.store.aggregates.tables import BrokenTableError
from infraprism.backend.store.parts import active_parts, all_parts, delete_files, is_intact
from infraprism.backend.store.quoting import literal

_ACCOUNTS: Final = 500
"""In one statement."""


def remove_days(client: Client, epoch: int, before: Mapping[str, date]) -> None:
    """Delete the rows of accounts that are older than a day each, if there are some. Raises as `remove_rows`."""
    conditions = iter(f"(account = {literal(account)} AND day < toDate('{day}'))" for account, day in before.items())
    while chunk := list(itertools.islice(conditions, _ACCOUNTS)):
        where = f"({' OR '.join(chunk)})"
        for unit in UNITS:
            name = sums_table(unit, epoch)
            if int(str(client.command(f"SELECT count() FROM {name} WHERE {where}"))):
                remove_rows(client, name, where)


def remove_rows(client: Client, table: str, where: str) -> None:
    """Delete the rows of a table that meet a condition, and then the parts that had them.

    Raises BrokenTableError if the disk did not store the new parts: the old ones are kept. ClickHouseError, OSError.
    """
    if int(str(client.command(f"SELECT count() FROM {table} WHERE {where}"))):
        client.command(f"ALTER TABLE {table} DELETE WHERE {where} SETTINGS mutations_sync = 1")
    if not all(is_intact(client, table, part) for part in active_parts(client, table)):
        raise BrokenTableError
    # The file of a mutation has the values of its condition.
    client.command(f"KILL MUTATION WHERE database = currentDatabase() AND table = {literal(table)}")
    parts = all_parts(client, table, "true")
    active = {part.name for part in active_parts(client, table)}
    for old in parts:
        is_replaced = any(part.mutation > old.data_version and part.contains(old) for part in parts)
        if old.name not in active and is_replaced:
            delete_files(old)
