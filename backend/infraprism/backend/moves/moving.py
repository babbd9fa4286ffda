"""The state of an account that is moved: `FROM>TO` instead of its region. Neither region serves it meanwhile."""

from __future__ import annotations

from typing import Final

from sqlalchemy import select, update

from infraprism.backend.accounts.tables import ACCOUNTS
from infraprism.backend.audit.audit_log import AuditLog
from infraprism.backend.jobs.jobs import FINAL_STATES
from infraprism.backend.jobs.tables import JOBS
from infraprism.backend.regions.regions import SEPARATOR
from infraprism.backend.relational.database import RelationalDatabase

KIND: Final = "account_move"


class MovedElsewhereError(Exception):
    """The account is not in the region that it is to be moved from."""


def begin(database: RelationalDatabase, account_id: str, source: str, target: str) -> None:
    """From now on no region serves the account. It may be called again. Raises MovedElsewhereError."""
    _change(database, account_id, {source, f"{source}{SEPARATOR}{target}"}, f"{source}{SEPARATOR}{target}")


def give_up(database: RelationalDatabase, account_id: str, source: str, target: str) -> None:
    """The account is in its region as before, if it was being moved."""
    moving = f"{source}{SEPARATOR}{target}"
    database.run(update(ACCOUNTS).where(ACCOUNTS.c.id == account_id, ACCOUNTS.c.region == moving).values(region=source))


def complete(
    database: RelationalDatabase, audit: AuditLog, job_id: str, actor: str, account: tuple[str, str, str]
) -> None:
    """The account (id, source, target) is in its new region, with the jobs that have not ended.

    Raises MovedElsewhereError.
    """
    account_id, source, target = account
    with database.transaction() as connection:
        moving = f"{source}{SEPARATOR}{target}"
        found = connection.execute(select(ACCOUNTS.c.region).where(ACCOUNTS.c.id == account_id)).first()
        if found is None or found.region not in {moving, target}:
            raise MovedElsewhereError
        if found.region == target:
            return
        connection.execute(update(ACCOUNTS).where(ACCOUNTS.c.id == account_id).values(region=target))
        connection.execute(
            update(JOBS)
            .where(JOBS.c.account_id == account_id, JOBS.c.id != job_id, JOBS.c.state.not_in(FINAL_STATES))
            .values(region=target)
        )
        audit.append(account_id, actor, "account.moved", job_id, connection=connection)


def region_of(database: RelationalDatabase, account_id: str) -> str | None:
    """The region of an account, or its state."""
    rows = database.rows(select(ACCOUNTS.c.region).where(ACCOUNTS.c.id == account_id))
    return rows[0].region if rows else None


def _change(database: RelationalDatabase, account_id: str, expected: set[str], new: str) -> None:
    with database.transaction() as connection:
        found = connection.execute(select(ACCOUNTS.c.region).where(ACCOUNTS.c.id == account_id)).first()
        if found is None or found.region not in expected:
            raise MovedElsewhereError
        connection.execute(update(ACCOUNTS).where(ACCOUNTS.c.id == account_id).values(region=new))
