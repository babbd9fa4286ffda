"""Gives the accounts and jobs without a region to the region of a server that starts."""

from __future__ import annotations

from typing import Final

from sqlalchemy import or_, select, update

from infraprism.backend.accounts.tables import ACCOUNTS
from infraprism.backend.jobs.tables import JOBS
from infraprism.backend.relational.database import RelationalDatabase

_INSTALLATION: Final = ""


class OtherRegionsError(Exception):
    """The accounts have regions, and the server has none."""


def claim(database: RelationalDatabase, region: str | None) -> None:
    """Set the region of accounts that have none, and of their jobs.

    Raises OtherRegionsError if accounts have a region and the server has none, and DatabaseUnavailableError.
    """
    if region is None:
        if database.rows(select(ACCOUNTS.c.id).where(ACCOUNTS.c.region.is_not(None)).limit(1)):
            raise OtherRegionsError
        return
    with database.transaction() as connection:
        database.lock(connection, "regions")
        connection.execute(update(ACCOUNTS).where(ACCOUNTS.c.region.is_(None)).values(region=region))
        own = select(ACCOUNTS.c.id).where(ACCOUNTS.c.region == region)
        connection.execute(
            update(JOBS)
            .where(JOBS.c.region.is_(None), or_(JOBS.c.account_id == _INSTALLATION, JOBS.c.account_id.in_(own)))
            .values(region=region)
        )
