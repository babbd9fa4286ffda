"""`infraprism costs`: sums of cost and tokens, grouped by entity, model, provider, time, session or tag."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from decimal import Context, Decimal
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
  infraprism costs --by entity --model gpt-4o
  infraprism costs --by entity --top 5 --compare previous
  infraprism costs --by day --time-zone Europe/Berlin"""
_DETAILS: Final = f"""\
Without --start and --end the sums cover the last 30 days; with --start alone, all days until now. `failed` are the
calls that failed. `unpriced` are the successful calls without a cost, which the sums therefore do not contain.
--compare adds the cost of the period before, and its change: `previous` is equally long, `weekday` begins whole weeks
earlier.

{_EXAMPLES}"""
_GROUPS: Final = ("entity", "model", "provider", "day", "week", "month", "session")
_MAX_GROUPS: Final = 2
_MAX_ROWS: Final = 100_000
_EXACT: Final = Context(prec=100)
_OTHERS: Final = "(others)"
_COST: Final = Column("cost_usd", numeric=True)
_COMPARED: Final = (
    Column("before", numeric=True),
    Column("change", numeric=True),
    Column("%", numeric=True, optional=1),
)
_NUMBERS: Final = (
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
    parser.add_argument(
        "--top", type=_top, metavar="N", help="the N most expensive groups; the table has a row for the others"
    )
    parser.add_argument(
        "--compare", choices=("previous", "weekday"), help="with the period before, or whole weeks earlier"
    )
    add_filters(parser)
    parser.add_argument(
        "--json", action="store_true", help="one line of JSON per group; with --model each has the `models` found"
    )
    parser.set_defaults(run=run)
    return parser


def _top(value: str) -> int:
    if value.isascii() and value.isdigit() and 1 <= int(value) <= _MAX_ROWS:
        return int(value)
    raise argparse.ArgumentTypeError(f"{value!r} is not a number from 1 to {_MAX_ROWS}")


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
    query: dict[str, str | int] = {**parameters(args), "group_by": ",".join(groups)}
    if args.compare:
        query["compare"] = args.compare
    if args.top:
        query |= {"limit": args.top, "sort": "total_cost"}
    response = Api().get("/v1/analytics/costs", query)
    models = response["summary"].get("models") if args.model else None
    if args.json:
        found = {} if models is None else {"models": models}
        sys.stdout.writelines(exact_json.dumps({**row, **found}) + "\n" for row in response["data"])
    else:
        sys.stdout.write(costs_table(response, groups, terminal_width(), folded=bool(args.top)) + "\n")
        if models:
            sys.stdout.write(f"--model {args.model} finds {', '.join(models)}\n")
    return 0


def costs_table(response: Mapping[str, Any], groups: Sequence[str], width: int | None, *, folded: bool = False) -> str:
    """A response of `/v1/analytics/costs` as a table, followed by a line with the totals. `width` in columns.

    `folded` adds a row with the sums of the groups that the response lacks.
    """
    summary = response["summary"]
    before = summary.get("previous")
    start, end = summary["period"]["start"], summary["period"]["end"]
    period = f"{start} to {end}" if start else f"until {end}"
    if summary.get("time_zone", "UTC") != "UTC":
        period += f" ({summary['time_zone']})"
    if not response["data"]:
        return f"No events {'from ' if start else ''}{period}."
    columns = [Column(group.replace("tags.", "tag."), readable_width=24) for group in groups]
    columns += [_COST, *(_COMPARED if before else ()), *_NUMBERS]
    rows = list(_rows(response["data"], groups))
    if folded and response.get("has_more"):
        rows.append([_OTHERS, *[None] * (len(groups) - 1), *_numbers(_others(response))])
    table = render(columns, rows, width)
    cut = "\n(the most expensive groups; there are more)" if response.get("has_more") and not folded else ""
    failed = f", {summary['failed_events']} failed ({_percent(summary)} %)" if summary.get("failed_events") else ""
    missing = f", {unpriced} without a price" if (unpriced := _unpriced(summary)) else ""
    totals = f"{summary['total_events']} events{failed}{missing}, {text(summary['total_cost'])} USD,"
    if before:
        period += f"; before {text(before['total_cost'])} USD, {before['period']['start']} to {before['period']['end']}"
    separator = "\n" if width and len(totals) + len(period) + 1 > width else " "
    return f"{table}{cut}\n{totals}{separator}{period}"


def _rows(data: Iterable[Mapping[str, Any]], groups: Sequence[str]) -> Iterable[list[object]]:
    for row in data:
        yield [*(_name(row, group) for group in groups), *_numbers(row)]


def _numbers(row: Mapping[str, Any]) -> Iterable[object]:
    yield row["total_cost"]
    if "previous" in row:
        yield from _change(row["total_cost"], row["previous"]["total_cost"])
    yield row["total_events"]
    yield row.get("failed_events") or None
    yield _percent(row) if row.get("failed_events") and row["total_events"] else None
    yield _unpriced(row) or None
    yield from (row.get(name) for name in ("total_input_tokens", "total_output_tokens", "avg_latency_ms"))


def _change(now: Decimal | None, before: Decimal | None) -> tuple[object, object, object]:
    """The earlier cost, the change, and its percentage; an unknown cost has no change."""
    if now is None or before is None:
        return before, None, None
    change = _EXACT.subtract(now, before)
    return before, Decimal(change), f"{Decimal(100) * change / before:+.0f}" if before else None


def _others(response: Mapping[str, Any]) -> dict[str, Any]:
    """The sums of the groups that are not in the response: those of all, less those of the others."""
    every = _less(response["summary"], response["data"])
    if "previous" in response["summary"]:
        every["previous"] = _less(response["summary"]["previous"], [row["previous"] for row in response["data"]])
    return every


def _less(total: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    left: dict[str, Any] = {
        name: total[name] - sum(row[name] for row in rows)
        for name in ("total_events", "unpriced_events", "failed_events", "unpriced_failed_events")
    }
    cost = Decimal(total["total_cost"] or 0)
    for row in rows:
        cost = _EXACT.subtract(cost, row["total_cost"] or 0)
    is_unknown = left["total_events"] and left["unpriced_events"] == left["total_events"]
    return {**left, "total_cost": None if is_unknown else cost}


def _unpriced(row: Mapping[str, Any]) -> int:
    """The successful calls without a cost."""
    return int(row.get("unpriced_events") or 0) - int(row.get("unpriced_failed_events") or 0)


def _percent(row: Mapping[str, Any]) -> str:
    return f"{Decimal(100) * row['failed_events'] / row['total_events']:.1f}"


def _name(row: Mapping[str, Any], group: str) -> object:
    if group == "entity":
        return f"{row['entity_type']}:{row['entity_id']}" if row.get("entity_id") else None
    return row["session_id" if group == "session" else group]
