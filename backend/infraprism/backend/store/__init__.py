"""The event store: a small database interface, the SQL of the tables, and the embedded engine."""

from infraprism.backend.store.database import Database, Layout, StoreError

__all__ = ["Database", "Layout", "StoreError"]
