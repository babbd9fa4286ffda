"""`infraprism costs`: sums of cost and tokens, grouped by entity, model, provider, time, session or tag."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from infraprism.cli.command import Subparsers, new_parser
from infraprism.cli.filters import add_filters, parameters
from infraprism.cli.rest import Api
from infraprism.cli.table import Column, render, terminal_width, text
from infraprism.schema import exact_json
from infraprism.schema.fields import TAG_KEY

_EXAMPLES: Final = """\
examples:
  infraprism costs --by entity
  infraprism costs --by model --entity customer:acme-corp
  infraprism costs --by tag.feature --start 2026-01-01 --end 2026-01-31
  infraprism costs --by entity,model
  infraprism costs --start 2026-01-01
  infraprism costs --by day --json
  infraprism costs --by entity --model gpt-4o"""
_DETAILS: Final = f"""\
Without --start and --end the sums cover the last 30 days; with --start alone, all days until now. `failed` are the
calls that failed. `unpriced` are the successful calls without a cost, which the sums therefore do not contain.

{_EXAMPLES}"""
_GROUPS: Final = ("entity", "model", "provider", "day", "week", "month", "session")
_MAX_GROUPS: Final = 2
_NUMBERS: Final = (
    Column("cost_usd", numeric=True),
    Column("events", numeric=True),
    Column("failed", numeric=True),
    Column("error %", numeric=True, optional=1),
    Column("unpriced", numeric=True),
    Column("input", numeric=True, optional=2),
    Column("output", numeric=True, optional=2),
    Column("avg ms", numeric=True, optional=3),
)


def add_parser(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Add the command to the parser."""
    parser = new_parser(subparsers, "costs", "sum costs by group", _DETAILS)
    parser.add_argument(
        "--by",
        type=_groups,
        action=_Groups,
        metavar="GROUP",
        help=f"{', '.join(_GROUPS)} or tag.KEY (default: entity); two, as in --by entity,model, group by both",
    )
    add_filters(parser)
    parser.add_argument(
        "--json", action="store_true", help="one line of JSON per group; with --model each has the `models` found"
    )
    parser.set_defaults(run=run)
    return parser


def _groups(value: str) -> list[str]:
    return [_group(one.strip()) for one in value.split(",")]


def _group(value: str) -> str:
    kind, _, key = value.partition(".")
    if value in _GROUPS or (kind in ("tag", "tags") and TAG_KEY.fullmatch(key)):
        return f"tags.{key}" if key else value
    raise argparse.ArgumentTypeError(f"{value!r} is not one of {', '.join(_GROUPS)}, tag.KEY")


class _Groups(argparse.Action):
    """Collects the groups of all `--by`."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        del parser, option_string
        groups: list[str] = [*(getattr(namespace, self.dest) or []), *(values or ())]
        if len(groups) > _MAX_GROUPS or len(set(groups)) < len(groups):
            raise argparse.ArgumentError(self, f"at most {_MAX_GROUPS} groups, which differ")
        setattr(namespace, self.dest, groups)


def run(args: argparse.Namespace) -> int:
    """Print the sums, the most expensive group first; of the last 30 days if no time range is given."""
    groups = args.by or ["entity"]
    response = Api().get("/v1/analytics/costs", {**parameters(args), "group_by": ",".join(groups)})
    models = response["summary"].get("models") if args.model else None
    if args.json:
        found = {} if models is None else {"models": models}
        sys.stdout.writelines(exact_json.dumps({**row, **found}) + "\n" for row in response["data"])
    else:
        sys.stdout.write(costs_table(response, groups, terminal_width()) + "\n")
        if models:
            sys.stdout.write(f"--model {args.model} finds {', '.join(models)}\n")
    return 0


def costs_table(response: Mapping[str, Any], groups: Sequence[str], width: int | None) -> str:
    """A response of `/v1/analytics/costs` as a table, followed by a line with the totals. `width` in columns."""
    summary = response["summary"]
    start, end = summary["period"]["start"], summary["period"]["end"]
    period = f"{start} to {end}" if start else f"until {end}"
    if not response["data"]:
        return f"No events {'from ' if start else ''}{period}."
    columns = [Column(group.replace("tags.", "tag."), readable_width=24) for group in groups]
    table = render([*columns, *_NUMBERS], list(_rows(response["data"], groups)), width)
    cut = "\n(the most expensive groups; there are more)" if response.get("has_more") else ""
    failed = f", {summary['failed_events']} failed ({_percent(summary)} %)" if summary.get("failed_events") else ""
    missing = f", {unpriced} without a price" if (unpriced := _unpriced(summary)) else ""
    totals = f"{summary['total_events']} events{failed}{missing}, {text(summary['total_cost'])} USD,"
    separator = "\n" if width and len(totals) + len(period) + 1 > width else " "
    return f"{table}{cut}\n{totals}{separator}{period}"


def _rows(data: Iterable[Mapping[str, Any]], groups: Sequence[str]) -> Iterable[list[object]]:
    for row in data:
        yield [
            *(_name(row, group) for group in groups),
            row["total_cost"],
            row["total_events"],
            row.get("failed_events") or None,
            _percent(row) if row.get("failed_events") else None,
            _unpriced(row) or None,
            row["total_input_tokens"],
            row["total_output_tokens"],
            row["avg_latency_ms"],
        ]


def _unpriced(row: Mapping[str, Any]) -> int:
    """The successful calls without a cost."""
    return int(row.get("unpriced_events") or 0) - int(row.get("unpriced_failed_events") or 0)


def _percent(row: Mapping[str, Any]) -> str:
    return f"{Decimal(100) * row['failed_events'] / row['total_events']:.1f}"


def _name(row: Mapping[str, Any], group: str) -> object:
    if group == "entity":
        return f"{row['entity_type']}:{row['entity_id']}" if row.get("entity_id") else None
    return row["session_id" if group == "session" else group]
