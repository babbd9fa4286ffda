"""Receives the rows of an account that is being moved to the region of this server.

The servers of all regions have the secret from the database of accounts that they share. Rows are accepted only while
the account is in the state of a move to this region.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import secrets
import sqlite3
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from infraprism.backend.accounts import Accounts
from infraprism.backend.ingest.batch_writer import BatchWriter
from infraprism.backend.moves import moving
from infraprism.backend.regions.regions import SEPARATOR
from infraprism.backend.relational import DatabaseUnavailableError
from infraprism.backend.store import StoreError, account_rows
from infraprism.backend.store.embedded import EmbeddedDatabase

PATH: Final = "/regions/accounts/{account_id}/rows"
_NAME: Final = "regions"
"""Of the secret."""
_DIRECTORY: Final = "moving"
_MAX_BYTES: Final = 2**30


class MoveTarget:
    """Handles the requests of servers of other regions."""

    def __init__(
        self, accounts: Accounts, database: EmbeddedDatabase, writer: BatchWriter, region: str, data_dir: Path
    ) -> None:
        self._accounts = accounts
        self._database = database
        self._writer = writer
        self._region = region
        self._directory = data_dir / _DIRECTORY
        self._token = token(accounts)

    async def handle(self, request: Request) -> Response:
        """GET: the sums of the rows by day. POST: insert the rows of the body. DELETE: delete all rows."""
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(given.encode(), self._token.encode()):
            return Response(status_code=401)
        account_id = request.path_params["account_id"]
        try:
            state = await asyncio.to_thread(moving.region_of, self._accounts.database, account_id)
            if state is None or not state.endswith(f"{SEPARATOR}{self._region}"):
                return Response(status_code=409)
            if request.method == "GET":
                rows = await asyncio.to_thread(self._database.read, account_rows.sums(), {"account": account_id})
                return Response(json.dumps([json.loads(row) for row in rows]), media_type="application/json")
            if request.method == "DELETE":
                await asyncio.to_thread(self._delete, account_id)
                return Response(status_code=204)
            return await self._insert(account_id, request)
        except (StoreError, DatabaseUnavailableError, OSError, sqlite3.Error):
            return Response(status_code=503)

    async def _insert(self, account_id: str, request: Request) -> Response:
        self._directory.mkdir(mode=0o700, exist_ok=True)
        file, size = self._directory / f"{secrets.token_hex(8)}.native", 0
        try:
            with file.open("wb") as writing:
                async for piece in request.stream():
                    size += len(piece)
                    if size > _MAX_BYTES:
                        return Response(status_code=413)
                    writing.write(piece)
            await asyncio.to_thread(self._writer.insert_rows, account_id, file, self._database.rows)
        finally:
            file.unlink(missing_ok=True)
        return Response(status_code=204)

    def _delete(self, account_id: str) -> None:
        self._database.delete_events(account_id, first_ms=None, end_ms=None, should_stop=lambda: False)


def token(accounts: Accounts) -> str:
    """What a server of another region sends."""
    return accounts.secret(_NAME).hex()
