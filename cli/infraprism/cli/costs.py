"""`infraprism costs`: sums of cost and tokens, grouped by entity, model, provider, time, session or tag."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping
from typing import Any, Final

from infraprism.cli import exact_json
from infraprism.cli.command import Subparsers, new_parser
from infraprism.cli.filters import add_filters, parameters
from infraprism.cli.rest import Api
from infraprism.cli.table import Column, render, terminal_width, text
from infraprism.schema.fields import TAG_KEY

_EXAMPLES: Final = """\
examples:
  infraprism costs --by entity
  infraprism costs --by model --entity customer:acme-corp
  infraprism costs --by tag.feature --start 2026-01-01 --end 2026-01-31
  infraprism costs --by day --json"""
_GROUPS: Final = ("entity", "model", "provider", "day", "week", "month", "session")
_NUMBERS: Final = (
    Column("cost_usd", numeric=True),
    Column("events", numeric=True),
    Column("unpriced", numeric=True),
    Column("input", numeric=True),
    Column("output", numeric=True),
    Column("avg ms", numeric=True),
)


def add_parser(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Add the command to the parser."""
    parser = new_parser(subparsers, "costs", "sum costs by group, by default of the last 30 days", _EXAMPLES)
    parser.add_argument(
        "--by",
        type=_group,
        default="entity",
        metavar="GROUP",
        help=f"{', '.join(_GROUPS)} or tag.KEY (default: %(default)s)",
    )
    add_filters(parser)
    parser.add_argument("--json", action="store_true", help="one line of JSON per group")
    parser.set_defaults(run=run)
    return parser


def _group(value: str) -> str:
    kind, _, key = value.partition(".")
    if value in _GROUPS or (kind in ("tag", "tags") and TAG_KEY.fullmatch(key)):
        return f"tags.{key}" if key else value
    raise argparse.ArgumentTypeError(f"{value!r} is not one of {', '.join(_GROUPS)}, tag.KEY")


def run(args: argparse.Namespace) -> int:
    """Print the sums, the most expensive group first; of the last 30 days if no time range is given."""
    response = Api().get("/v1/analytics/costs", {**parameters(args), "group_by": args.by})
    if args.json:
        sys.stdout.writelines(exact_json.dumps(row) + "\n" for row in response["data"])
    else:
        sys.stdout.write(costs_table(response, args.by, terminal_width()) + "\n")
    return 0


def costs_table(response: Mapping[str, Any], group: str, width: int | None) -> str:
    """A response of `/v1/analytics/costs` as a table, followed by a line with the totals. `width` in columns."""
    summary = response["summary"]
    period = f"{summary['period']['start']} to {summary['period']['end']}"
    if not response["data"]:
        return f"No events from {period}."
    table = render([Column(group.replace("tags.", "tag.")), *_NUMBERS], list(_rows(response["data"], group)), width)
    unpriced = summary.get("unpriced_events") or 0
    missing = f", {unpriced} without a price" if unpriced else ""
    cut = "\n(the most expensive groups; there are more)" if response.get("has_more") else ""
    return f"{table}{cut}\n{summary['total_events']} events{missing}, {text(summary['total_cost'])} USD, {period}"


def _rows(data: Iterable[Mapping[str, Any]], group: str) -> Iterable[list[object]]:
    for row in data:
        yield [
            _name(row, group),
            row["total_cost"],
            row["total_events"],
            row.get("unpriced_events") or None,
            row["total_input_tokens"],
            row["total_output_tokens"],
            row["avg_latency_ms"],
        ]


def _name(row: Mapping[str, Any], group: str) -> object:
    if group == "entity":
        return f"{row['entity_type']}:{row['entity_id']}" if row.get("entity_id") else None
    return row["session_id" if group == "session" else group]
