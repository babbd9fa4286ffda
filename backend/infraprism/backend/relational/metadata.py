"""The metadata that all tables belong to. Each package defines its tables in its `tables.py`."""

from __future__ import annotations

from typing import Final

from sqlalchemy import MetaData

METADATA: Final = MetaData()
