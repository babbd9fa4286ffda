"""Brings a database to the tables of this version, by the revisions in `versions/` (Alembic)."""

from infraprism.backend.relational.migrations.upgrade import HEADS, upgrade

__all__ = ["HEADS", "upgrade"]
