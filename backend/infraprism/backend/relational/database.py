"""One SQLite file, or PostgreSQL, through SQLAlchemy."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import (
    URL,
    Connection,
    Delete,
    Engine,
    Insert,
    MetaData,
    Row,
    Select,
    StaticPool,
    Table,
    Update,
    create_engine,
    func,
    make_url,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from infraprism.backend.relational.errors import DatabaseUnavailableError
from infraprism.backend.relational.migrations import upgrade
from infraprism.backend.relational.migrations.upgrade import NewerDatabaseError

_POSTGRESQL: Final = "postgresql"
_DRIVER: Final = "postgresql+psycopg"
_CONNECT_TIMEOUT_S: Final = 10
_SETUP_LOCK: Final = 5_201_314
"""The key of the advisory lock under which tables are created: concurrent CREATE TABLE IF NOT EXISTS can fail."""


class RelationalDatabase:
    """Runs statements, each in its own transaction unless `begin` was called. Thread-safe.

    `location` is the path of a file, which gets mode 0600, or a URL `postgresql://user:password@host:port/database`.
    Every method raises DatabaseUnavailableError; the constructor also OSError.
    """

    def __init__(self, location: Path | str) -> None:
        self._lock = threading.RLock()
        self._open: Connection | None = None
        with errors():
            self._engine = _sqlite_engine(location) if isinstance(location, Path) else postgresql_engine(location)
            with self._engine.connect() as connection:
                connection.exec_driver_sql("BEGIN" if self._is_postgresql else "BEGIN IMMEDIATE")
                if self._is_postgresql:
                    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_SETUP_LOCK})")
                try:
                    upgrade(connection)
                except BaseException:
                    connection.exec_driver_sql("ROLLBACK")
                    raise
                connection.exec_driver_sql("COMMIT")

    @property
    def _is_postgresql(self) -> bool:
        return self._engine.dialect.name == _POSTGRESQL

    @property
    def in_transaction(self) -> bool:
        """Whether `begin` was called."""
        return self._open is not None

    def begin(self) -> None:
        """Start a transaction. Other processes that call this wait until it has ended."""
        with self._lock, errors():
            self._open = self._engine.connect()
            self._open.exec_driver_sql("BEGIN" if self._is_postgresql else "BEGIN IMMEDIATE")
            if self._is_postgresql:
                self._open.exec_driver_sql("LOCK TABLE accounts IN EXCLUSIVE MODE")

    def commit(self) -> None:
        """Keep the changes since `begin`."""
        self._end("COMMIT")

    def roll_back(self) -> None:
        """Discard the changes since `begin`."""
        self._end("ROLLBACK")

    def _end(self, sql: str) -> None:
        with self._lock, errors():
            assert self._open is not None
            connection, self._open = self._open, None
            try:
                connection.exec_driver_sql(sql)
            finally:
                connection.close()

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A transaction on a connection of its own, or the one of `begin`. It is discarded if the block raises."""
        with ExitStack() as stack:
            stack.enter_context(errors())
            if not self._is_postgresql:
                stack.enter_context(self._lock)
            if self._open is not None:
                yield self._open
                return
            connection = stack.enter_context(self._engine.connect())
            connection.exec_driver_sql("BEGIN" if self._is_postgresql else "BEGIN IMMEDIATE")
            if not self._is_postgresql:  # the only connection
                self._open = connection
                stack.callback(setattr, self, "_open", None)
            try:
                yield connection
            except BaseException:
                connection.exec_driver_sql("ROLLBACK")
                raise
            connection.exec_driver_sql("COMMIT")

    def lock(self, connection: Connection, name: str) -> None:
        """Wait until no other transaction has the lock of this name, and keep it until the transaction ends."""
        if self._is_postgresql:  # a transaction of SQLite excludes all others
            connection.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(name, 0))))

    def rows(self, query: Select[Any]) -> Sequence[Row[Any]]:
        """The rows of a SELECT."""
        with self._connection() as connection:
            return connection.execute(query).all()

    def run(self, statement: Insert | Update | Delete) -> None:
        """Run a statement that changes rows."""
        with self._connection() as connection:
            connection.execute(statement)

    def insert_if_absent(self, table: Any, **values: Any) -> None:
        """Insert a row, unless there is one with this primary key."""
        insert = postgresql.insert if self._is_postgresql else sqlite.insert
        self.run(insert(table).values(**values).on_conflict_do_nothing())

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        with errors():
            if self._is_postgresql and self._open is None:
                with self._engine.connect() as connection:
                    yield connection
                return
            with self._lock:
                if self._open is not None:
                    yield self._open
                    return
                with self._engine.connect() as connection:
                    yield connection

    def existing_tables(self) -> Sequence[Table]:
        """The tables of the database, each after those that it refers to."""
        found = MetaData()
        with self._connection() as connection:
            found.reflect(connection)
        return found.sorted_tables

    def verify_file(self) -> None:
        """Verify the pages of a SQLite file. Nothing is done for PostgreSQL."""
        if not self._is_postgresql:
            with self._connection() as connection:
                _verify(connection)

    def close(self) -> None:
        """Close the database. A transaction that was begun is discarded."""
        if self.in_transaction:
            self.roll_back()
        with self._lock:
            self._engine.dispose()


def postgresql_engine(url: str) -> Engine:
    """An engine for a `postgresql://` URL. Its statements are transactions of their own.

    Raises DatabaseUnavailableError, which contains no part of the URL.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise DatabaseUnavailableError("the URL is not postgresql://user:password@host:port/database") from None
    if parsed.drivername not in (_POSTGRESQL, "postgres"):
        raise DatabaseUnavailableError("the URL does not begin with postgresql://")
    return create_engine(
        parsed.set(drivername=_DRIVER),
        isolation_level="AUTOCOMMIT",
        pool_pre_ping=True,
        connect_args={"connect_timeout": _CONNECT_TIMEOUT_S, "application_name": "infraprism"},
    )


def _sqlite_engine(path: Path) -> Engine:
    path.touch(mode=0o600)
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        isolation_level="AUTOCOMMIT",
        poolclass=StaticPool,
        connect_args={"check_same_thread": False},
    )
    with engine.connect() as connection:
        _verify(connection)
        # Not WAL: it maps a file into memory, and on a full disk an access to it ends the process with SIGBUS.
        connection.exec_driver_sql("PRAGMA journal_mode = DELETE")
        connection.exec_driver_sql("PRAGMA foreign_keys = ON")
        connection.exec_driver_sql("PRAGMA secure_delete = ON")  # what is deleted is overwritten
    return engine


def _verify(connection: Connection) -> None:
    if connection.exec_driver_sql("PRAGMA quick_check(1)").scalar() != "ok":
        raise DatabaseUnavailableError("the file is damaged")


@contextmanager
def errors() -> Iterator[None]:
    """Replace the errors of the driver and of SQLAlchemy by DatabaseUnavailableError."""
    try:
        yield
    except NewerDatabaseError:
        raise DatabaseUnavailableError("a newer version of InfraPrism has upgraded it: install that version") from None
    except DBAPIError as error:
        raise DatabaseUnavailableError(_cause(error)) from None
    except (SQLAlchemyError, sqlite3.Error) as error:
        raise DatabaseUnavailableError(str(error)) from None


def _cause(error: DBAPIError) -> str:
    """The first line of the driver's message. It has no password, and of the data at most the name of a constraint."""
    lines = str(error.orig).splitlines() or [type(error.orig).__name__]
    return lines[0]
