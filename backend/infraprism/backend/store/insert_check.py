"""Whether what an INSERT wrote is really there.

The embedded engine can return from an INSERT although a write to the disk failed in the middle (seen with a limit on
the size of files): the part is then cut short, unreadable, and spoils every query that comes across it. An event must
not be acknowledged on its word alone, so each new part is read back against its checksums, and one that does not hold
is taken out again.
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
"""The engine's code for a file of another size than its part says."""


class NewParts:
    """The parts of one table that have been written since the last look."""

    def __init__(self, client: Client, table: str) -> None:
        self._client = client
        self._table = table
        self._block = 0
        (found,) = self._rows("SELECT max(max_block_number) AS block FROM system.parts WHERE table = {table:String}")
        self._block = int(found["block"])

    def verify(self) -> None:
        """Raises StoreError where a new part is not what was written."""
        found = self._rows(
            "SELECT name, max_block_number AS block FROM system.parts WHERE database = currentDatabase()"
            " AND table = {table:String} AND active AND level = 0 AND min_block_number > {block:Int64}"
        )
        # A part that has been merged already has been read whole by the merge.
        broken = [part["name"] for part in found if not self._holds(part["name"])]
        self._block = max((self._block, *(part["block"] for part in found)))
        for name in broken:
            self._client.command(f"ALTER TABLE {self._table} DROP PART {literal(name)}")
        if broken:
            raise StoreError(_BROKEN)

    def _holds(self, name: str) -> bool:
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
