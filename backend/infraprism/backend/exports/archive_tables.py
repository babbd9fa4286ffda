"""Which tables an archive of an account has.

A test fails for a table with `account_id` or `member_id` that is listed nowhere here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from sqlalchemy import select

from infraprism.backend.relational.database import RelationalDatabase
from infraprism.backend.relational.metadata import METADATA

_PAGE: Final = 1000


class Archived(NamedTuple):
    """A table in the archive: the column of the account, and the columns that are left out."""

    left_out: frozenset[str] = frozenset()
    account_column: str = "account_id"


ARCHIVED: Final[Mapping[str, Archived]] = {
    "accounts": Archived(account_column="id"),
    "members": Archived(frozenset({"password_hash"})),
    "keys": Archived(frozenset({"hash"})),
    "account_retention": Archived(),
    "billing_customers": Archived(),
    "usage_settings": Archived(),
    "usage_actions": Archived(),
    "usage_requests": Archived(),
    "jobs": Archived(frozenset({"checkpoint", "lease_owner", "lease_until_ms", "retry_ms", "attempts"})),
    "audit_log": Archived(),
    "receipts": Archived(),
}
"""The tables in the archive, by name. Hashes of passwords and keys are never in it."""
NOT_ARCHIVED: Final[Mapping[str, str]] = {
    "links": "hashes of links that can be used once, and of whom: a hash is of no use to the account",
    "sessions": "hashes of the sessions of members, which end by themselves",
    "deletions": "keyed hashes of deleted identifiers: the receipts have what was deleted",
}
"""The tables with an account that are not in the archive, and why."""
PUBLIC_HASHES: Final = frozenset({("audit_log", "hash"), ("receipts", "hash")})
"""The columns with a hash that are in the archive: those of chains, with which the account verifies them."""


def rows(database: RelationalDatabase, table_name: str, account_id: str) -> Iterator[bytes]:
    """The rows of an account in a table of `ARCHIVED`, each as one line of JSON. Bytes are hexadecimal."""
    archived, table = ARCHIVED[table_name], METADATA.tables[table_name]
    shown = [column for column in table.c if column.name not in archived.left_out]
    query = select(*shown).where(table.c[archived.account_column] == account_id).order_by(*table.primary_key)
    first = 0
    while True:
        page = database.rows(query.limit(_PAGE).offset(first))
        for row in page:
            values = zip((column.name for column in shown), row, strict=True)
            yield json.dumps({name: _shown(value) for name, value in values}, ensure_ascii=False).encode() + b"\n"
        first += _PAGE
        if len(page) < _PAGE:
            return


def _shown(value: Any) -> Any:
    return bytes(value).hex() if isinstance(value, bytes | memoryview) else value


def present() -> list[str]:
    """The names of the archived tables of this version."""
    return [name for name in ARCHIVED if name in METADATA.tables]
