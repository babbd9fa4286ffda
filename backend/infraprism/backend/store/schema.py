"""The tables, made at start."""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources
from typing import Final

EVENTS: Final = "events"
TABLES: Final = (EVENTS, "rejected")
VIEWS: Final = ("inbox_to_events", "inbox_to_rejected")
INBOX: Final = "inbox"


def statement(name: str) -> str:
    """The SQL that creates one table or view."""
    return resources.files(__package__).joinpath("sql", f"{name}.sql").read_text(encoding="utf-8")


def create(run: Callable[[str], object]) -> None:
    """Create what is missing.

    The inbox and its views hold no data: they are made anew, so that they are always those of this version.
    """
    for view in VIEWS:
        run(f"DROP VIEW IF EXISTS {view}")
    run(f"DROP TABLE IF EXISTS {INBOX}")
    for name in (*TABLES, INBOX, *VIEWS):
        run(statement(name))
