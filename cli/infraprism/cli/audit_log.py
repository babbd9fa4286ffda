"""Records what commands change in the audit log, in the transaction of the change."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from infraprism.backend.accounts import Accounts

if TYPE_CHECKING:
    from infraprism.backend.audit.actions import Action

Record = Callable[[str, "Action", str], None]
"""Adds an entry: the account, the action, and the id of its object."""


@contextmanager
def recorded(accounts: Accounts) -> Iterator[Record]:
    """A transaction of changes and their entries. Its actor is `operator`. An exception discards both."""
    # Imported here: commands that change nothing do not need the packages of the server.
    from infraprism.backend.audit.audit_log import OPERATOR, AuditLog  # noqa: PLC0415

    log = AuditLog(accounts.database)

    def record(account_id: str, action: Action, object_id: str) -> None:
        log.append(account_id, OPERATOR, action, object_id)

    accounts.begin()
    try:
        yield record
    except BaseException:
        accounts.database.roll_back()
        raise
    accounts.commit()
