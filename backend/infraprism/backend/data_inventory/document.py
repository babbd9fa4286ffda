"""The page docs/data-we-collect.md, from the tables of this package, the fields of an event and the periods."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from infraprism.backend.accounts.plans import PLANS
from infraprism.backend.data_inventory.promises import PROMISES
from infraprism.backend.data_inventory.stored import FILES, TABLES
from infraprism.backend.data_inventory.third_parties import THIRD_PARTIES
from infraprism.backend.retention.periods import PERIODS
from infraprism.schema import inventory

_NEVER: Final = (
    "Prompt content",
    "Response and completion content",
    "System messages",
    "Function and tool definitions",
    "Function and tool call results",
    "Image data",
    "Audio data",
    "File contents",
    "Your API keys",
)
_INTRODUCTION: Final = """\
# Data we collect

This page is the complete inventory of what InfraPrism collects, stores and shares, and how each line is verified. It
is generated from the tables of the code (`python -m infraprism.backend.data_inventory.document >
docs/data-we-collect.md`). Tests compare these tables with the databases, the files and the bytes on the wire.
"""
_EVENTS: Final = """
## Events

For each call of an LLM API one event is sent. It has these fields and no other:

"""
_NEVER_COLLECTED: Final = """
## What is never collected

An event has no field for any of these. They do not leave the process of the application:

"""
_STORED: Final = """
## What is stored besides events

The relational database has these tables. A value that is not listed is not stored.
"""
_RETENTION: Final = """
## Retention

An event is excluded from every query when it expires, and deleted within a day. See [Retention](retention.md).

"""
_LOCATION: Final = """
## Location

Everything is in the data directory of `infraprism serve`, or in the ClickHouse server and the PostgreSQL database
that are configured for it. With [regions](regions.md), each account is in its region only. The data directory has:

"""
_RIGHTS: Final = """
## Export and deletion

[Exports](export.md): `POST /v1/exports`, or `infraprism export --output events.csv`, in CSV, JSON or Parquet, at any
time; archives have everything that is held of an account or of an entity. [Deletion](deletion.md): `DELETE /v1/data`,
or `infraprism delete --entity customer:acme-corp`, by period, entity, session, tag or everything. It takes minutes and
has a receipt; backups no longer have the data after 30 days. `DELETE /v1/account` deletes the account.

## Third parties

All are off by default. Without its setting a service gets nothing. See [Third parties](third-parties.md).

"""
_VERIFICATION: Final = """
## How each line is verified

Each test runs with `make test`. Each command shows the same on your own data.

"""


def markdown() -> str:
    """The page."""
    parts = [
        _INTRODUCTION,
        _EVENTS,
        inventory.markdown(),
        _NEVER_COLLECTED,
        _table(("Data", "Status"), ((name, "Never collected") for name in _NEVER)),
        _STORED,
        *(_stored(name) for name in TABLES),
        _RETENTION,
        _table(("Plan", "Events are kept"), ((name, _days(plan.retention_days)) for name, plan in PLANS.items())),
        "\n",
        _table(("Table", "Content", "Kept"), ((f"`{one.table}`", one.what, one.period) for one in PERIODS)),
        _LOCATION,
        _named(("Name", "Content"), FILES),
        _RIGHTS,
        _table(
            ("Service", "Purpose", "Data shared", "Setting"),
            ((one.name, one.purpose, one.data, f"`{one.setting}`") for one in THIRD_PARTIES),
        ),
        _VERIFICATION,
        _table(("Line", "Test", "Command"), ((one.line, _test(one.test), f"`{one.command}`") for one in PROMISES)),
    ]
    return "".join(parts)


def _stored(name: str) -> str:
    table = TABLES[name]
    return f"\n`{name}`: {table.purpose}. Kept {table.kept}.\n\n{_named(('Column', 'Content'), table.columns)}"


def _test(test: str) -> str:
    file, _, function = test.partition("::")
    return f"[`{function}`](../{file})"


def _days(days: int | None) -> str:
    return "unlimited, or its own period" if days is None else f"{days} days"


def _named(headings: tuple[str, str], rows: Mapping[str, str]) -> str:
    return _table(headings, ((f"`{name}`", content) for name, content in rows.items()))


def _table(headings: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [headings, ("---",) * len(headings), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    print(markdown(), end="")  # noqa: T201  # run after a change of the tables
