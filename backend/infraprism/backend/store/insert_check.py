"""Verifies that the rows of an INSERT are on the disk.

The embedded engine can return from an INSERT although a write failed (observed with RLIMIT_FSIZE). The part is then
truncated, and every query that reads it fails. Therefore each new part is checked against its checksums before its
events are acknowledged, and a broken part is dropped.
"""

from __future__ import annotations

import json
from typing import Any, Final

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from infraprism.backend.store.database import StoreError
from infraprism.backend.store.quoting import literal

_NO_SUCH_PART: Final = 232
_BROKEN: Final = 228
"""The engine's error code for a file that does not have the size recorded in its part."""


class InsertCheck:
    """Checks the parts of one table that were written since the previous check."""

    def __init__(self, client: Client, table: str) -> None:
        self._client = client
        self._table = table
        self._block = 0
        (found,) = self._rows("SELECT max(max_block_number) AS block FROM system.parts WHERE table = {table:String}")
        self._block = int(found["block"])

    def verify(self) -> None:
        """Check all new parts. Raises StoreError if one is broken; it is dropped."""
        found = self._rows(
            "SELECT name, max_block_number AS block FROM system.parts WHERE database = currentDatabase()"
            " AND table = {table:String} AND active AND level = 0 AND min_block_number > {block:Int64}"
        )
        # Only level 0: the merge has already read every row of a merged part.
        broken = [part["name"] for part in found if not self._is_intact(part["name"])]
        self._block = max((self._block, *(part["block"] for part in found)))
        for name in broken:
            self._client.command(f"ALTER TABLE {self._table} DROP PART {literal(name)}")
        if broken:
            raise StoreError(_BROKEN)

    def _is_intact(self, name: str) -> bool:
        check = f"CHECK TABLE {self._table} PART {literal(name)} SETTINGS check_query_single_value_result = 0"
        try:
            return all(one["is_passed"] for one in self._rows(check))
        except ClickHouseError as error:
            if getattr(error, "code", None) == _NO_SUCH_PART:
                return True  # merged in the meantime
            raise

    def _rows(self, sql: str) -> list[dict[str, Any]]:
        parameters = {"table": self._table, "block": self._block}
        found = self._client.raw_query(sql, parameters=parameters, fmt="JSONEachRow")
        return [json.loads(row) for row in found.splitlines()]
