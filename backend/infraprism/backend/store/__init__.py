"""Where events are kept: a narrow interface, the SQL of the tables, and the embedded engine that runs it."""

from infraprism.backend.store.database import Database, Layout, StoreError

__all__ = ["Database", "Layout", "StoreError"]
