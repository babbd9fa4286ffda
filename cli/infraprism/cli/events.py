"""`infraprism events`: lists the stored events, newest first."""

from __future__ import annotations

import argparse
import itertools
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Final

from infraprism.cli.command import Subparsers, new_parser
from infraprism.cli.filters import add_filters, parameters
from infraprism.cli.rest import PAGE, Api
from infraprism.cli.table import Column, render, terminal_width, text
from infraprism.schema import exact_json

_EXAMPLES: Final = """\
examples:
  infraprism events
  infraprism events --entity customer:acme-corp --start 2026-01-01
  infraprism events --session ticket-1041 --limit 500
  infraprism events --json --model gpt-4o-2024-08-06 > events.jsonl"""
_COLUMNS: Final = (
    Column("model", readable_width=16),
    Column("provider", optional=2),
    Column("input", numeric=True),
    Column("output", numeric=True),
    Column("cost_usd", numeric=True),
    Column("ms", numeric=True, optional=3),
    Column("entity", readable_width=24),
    Column("session", optional=4),
    Column("tags", readable_width=16, optional=5),
    Column("result", never_cut=True),
)
_SHOWN: Final = 50
_DAY: Final = len("2026-01-31")
_SECOND: Final = len("2026-01-31T10:30:00")


def add_parser(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Add the command to the parser."""
    parser = new_parser(subparsers, "events", "list events, newest first", _EXAMPLES)
    add_filters(parser)
    parser.add_argument("--failed", action="store_true", help="only failed calls")
    parser.add_argument(
        "--limit", type=_positive, metavar="N", help=f"at most N events (default: {_SHOWN}, with --json all)"
    )
    parser.add_argument("--json", action="store_true", help="one line of JSON per event, with every field")
    parser.set_defaults(run=run)
    return parser


def _positive(value: str) -> int:
    if not value.isdigit() or int(value) == 0:
        raise argparse.ArgumentTypeError(f"{value!r} is not a number of events")
    return int(value)


def run(args: argparse.Namespace) -> int:
    """Print the events of the backend."""
    asked = parameters(args) | ({"success": "false"} if args.failed else {})
    limit = args.limit or (None if args.json else _SHOWN)
    if limit is not None:
        asked["limit"] = min(PAGE, limit + 1)
    found = itertools.islice(Api().all_events(asked), None if limit is None else limit + 1)
    if args.json:
        for event in itertools.islice(found, limit):
            sys.stdout.write(exact_json.dumps(event) + "\n")
        return 0
    events = list(found)
    sys.stdout.write(events_table(events[:limit], terminal_width()) + "\n")
    if args.model and (models := {event["model"] for event in events[:limit]} - {args.model}):
        sys.stdout.write(f"--model {args.model} includes {', '.join(sorted(models))}\n")
    if limit is not None and len(events) > limit:
        sys.stderr.write(f"The newest {limit}; --limit N shows more, --json all.\n")
    return 0


def events_table(events: Iterable[Mapping[str, Any]], width: int | None) -> str:
    """Events of the REST API as a table, followed by a line with the total cost. `width` in columns."""
    shown = list(events)
    if not shown:
        return "No events."
    # If all events are of one day, it is printed once, in the last line.
    days = {str(event["timestamp"])[:_DAY] for event in shown}
    time = Column("UTC", never_cut=True, optional=1)
    rows = [_row(event, with_day=len(days) > 1) for event in shown]
    return f"{render([time, *_COLUMNS], rows, width)}\n{_summary(shown)}, {' to '.join(sorted({min(days), max(days)}))}"


def _row(event: Mapping[str, Any], *, with_day: bool) -> list[object]:
    entity = f"{event['entity_type']}:{event['entity_id']}" if event.get("entity_id") else None
    tags = " ".join(f"{key}={value}" for key, value in (event.get("tags") or {}).items())
    error = " ".join(filter(None, (event.get("error_type"), event.get("error_code"))))
    moment = str(event["timestamp"])[:_SECOND].replace("T", " ")
    return [
        moment if with_day else moment[_DAY + 1 :],
        event["model"],
        event["provider"],
        event["input_tokens"],
        event["output_tokens"],
        event["cost_usd"],
        event["latency_ms"],
        entity,
        event.get("session_id"),
        tags,
        "ok" if event["success"] else error,
    ]


def _summary(events: list[Mapping[str, Any]]) -> str:
    total = sum((Decimal(event["cost_usd"]) for event in events if event["cost_usd"] is not None), Decimal(0))
    reasons = Counter(str(event.get("cost_status")) for event in events if event["cost_usd"] is None)
    unpriced = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
    return f"{len(events)} events, {text(total)} USD" + (f"; without a price: {unpriced}" if unpriced else "")
