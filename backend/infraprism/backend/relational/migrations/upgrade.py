"""Runs the revisions that a database does not have yet."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sqlalchemy import Connection, inspect

HEADS: Final = frozenset({"0008"})
"""The newest revisions. A database that has them is not touched, and Alembic is not imported."""
_VERSIONS: Final = "alembic_version"


class NewerDatabaseError(Exception):
    """The database was upgraded by a newer version."""


def upgrade(connection: Connection) -> None:
    """Upgrade a database, which may be empty or of any earlier version. The caller has begun a transaction.

    Raises NewerDatabaseError.
    """
    if _revisions(connection) == HEADS:
        return
    # Imported here: most commands open a database that is up to date.
    from alembic.config import Config  # noqa: PLC0415
    from alembic.runtime.environment import EnvironmentContext  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415
    from alembic.util import CommandError  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    scripts = ScriptDirectory.from_config(config)
    environment = EnvironmentContext(config, scripts, fn=lambda revision, _: scripts._upgrade_revs("heads", revision))  # noqa: SLF001
    environment.configure(connection=connection, transactional_ddl=False)
    try:
        environment.run_migrations()
    except CommandError:
        raise NewerDatabaseError from None


def _revisions(connection: Connection) -> frozenset[str]:
    if not inspect(connection).has_table(_VERSIONS):
        return frozenset()
    return frozenset(connection.exec_driver_sql(f"SELECT version_num FROM {_VERSIONS}").scalars())
