"""The filter options of `events` and `costs`, and their query parameters of the REST API."""

from __future__ import annotations

import argparse
from typing import Final

from infraprism.backend.api.times import EXPECTED, OutsideCalendarError, interval
from infraprism.schema.fields import COST_STATUSES, ENTITY_TYPES, ERROR_TYPES, TAG_KEY

_ENTITY: Final = "|".join(ENTITY_TYPES)


OPTIONS: Final = {
    "start_date": "--start",
    "end_date": "--end",
    "entity_type": "--entity",
    "entity_id": "--entity",
    "model": "--model",
    "provider": "--provider",
    "session_id": "--session",
    "tags": "--tag",
    "time_zone": "--time-zone",
    "cost_status": "--cost-status",
    "error_type": "--error",
    "none": "--none",
    "group_by": "--by",
    "limit": "--limit",
    "compare": "--compare",
}
"""The option of each query parameter."""


def add_filters(parser: argparse.ArgumentParser) -> None:
    """Add the filter options."""
    group = parser.add_argument_group("filters")
    group.add_argument(
        "--start", type=moment, metavar="TIME", help="from this date or time: 2026-01-31 (without --end until now)"
    )
    group.add_argument("--end", type=moment, metavar="TIME", help="until this date (included) or time")
    group.add_argument("--time-zone", metavar="NAME", help="of days and times, such as Europe/Berlin (default: UTC)")
    group.add_argument("--entity", type=entity, metavar="TYPE:ID", help=f"such as customer:acme-corp ({_ENTITY})")
    group.add_argument("--model", help="the response model: gpt-4o also finds gpt-4o-2024-08-06 and openai/gpt-4o")
    group.add_argument("--provider", help="the provider that bills")
    group.add_argument("--session", metavar="ID", help="one conversation or workflow")
    group.add_argument("--tag", type=tag, action="append", default=[], metavar="KEY:VALUE", help="may be given twice")
    group.add_argument("--cost-status", metavar="STATUS", choices=COST_STATUSES, help=", ".join(COST_STATUSES))
    group.add_argument("--error", metavar="TYPE", choices=ERROR_TYPES, help="category of the error, such as rate_limit")
    group.add_argument("--none", type=_not_set, metavar="FIELD", help="calls without it: entity, session or tag.KEY")


def parameters(args: argparse.Namespace) -> dict[str, str | int]:
    """The query parameters of the options that are set."""
    entity_type, entity_id = args.entity or (None, None)
    found = {
        "start_date": args.start,
        "end_date": args.end,
        "entity_type": entity_type,
        "entity_id": entity_id,
        "model": args.model,
        "provider": args.provider,
        "session_id": args.session,
        "tags": ",".join(one.replace(",", "\\,") for one in args.tag) or None,
        "time_zone": args.time_zone,
        "cost_status": args.cost_status,
        "error_type": args.error,
        "none": args.none,
    }
    return {name: value for name, value in found.items() if value is not None}


def moment(text: str) -> str:
    """The value of an option for a day or a time."""
    try:
        interval(text)
    except OutsideCalendarError:
        pass  # the server responds with the range of its calendar
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not {EXPECTED}") from None
    return text


def entity(text: str) -> tuple[str, str]:
    """The value of an option for an entity: its type and id."""
    entity_type, _, entity_id = text.partition(":")
    if entity_type not in ENTITY_TYPES or not entity_id:
        raise argparse.ArgumentTypeError(f"{text!r} must be like customer:acme-corp ({_ENTITY})")
    return entity_type, entity_id


def tag(text: str) -> str:
    """The value of an option for a tag: `KEY:VALUE`."""
    key, colon, _ = text.partition(":")
    if not colon or not TAG_KEY.fullmatch(key):
        raise argparse.ArgumentTypeError(f"{text!r} must be like feature:chatbot")
    return text


def _not_set(text: str) -> str:
    kind, _, key = text.partition(".")
    if text in ("entity", "session") or (kind in ("tag", "tags") and TAG_KEY.fullmatch(key)):
        return text
    raise argparse.ArgumentTypeError(f"{text!r} is not one of entity, session, tag.KEY")
