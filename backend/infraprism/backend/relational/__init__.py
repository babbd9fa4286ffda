"""The relational database: accounts, jobs and the audit log, in one SQLite file or in PostgreSQL."""

from infraprism.backend.relational.errors import DatabaseUnavailableError

__all__ = ["DatabaseUnavailableError"]
