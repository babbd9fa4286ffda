"""`infraprism price`: prints the cost of a call and its derivation.

Without `--jsonl` the options describe one call. With it every line of standard input is a call::

    {"id": "1", "provider": "openai", "model": "gpt-4o", "at": "2026-11-23T12:00:00Z", "tier": "standard",
     "usage": {"input_tokens": 10000, "output_tokens": 500, "cache_read_input_tokens": 6000}}

and the output for it is a line `{"id": "1", "cost_usd": "0.0225", "cost_status": "priced"}`.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Final

from infraprism.cli.command import Subparsers, new_parser
from infraprism.pricing import Explanation, Price, Prices, PricesFileError, PricingRequest, money, prices
from infraprism.schema import cost_text
from infraprism.schema.fields import SERVICE_TIERS
from infraprism.schema.usage import Usage

_EXAMPLES: Final = """\
examples:
  infraprism price --provider openai --model gpt-4o --input-tokens 10000 --cache-read-tokens 6000 --output-tokens 500
  infraprism price --provider deepseek --model deepseek-flash --input-tokens 900 --output-tokens 80 \\
      --at 2026-11-18T02:00:00Z
  infraprism price --jsonl < calls.jsonl

Counts follow the GenAI semantic conventions: input includes cache reads and writes, output includes reasoning.
"""
_COUNTS: Final = {
    "input_tokens": "input tokens, cache reads and writes and audio included",
    "output_tokens": "output tokens, reasoning and audio included",
    "cache_read_tokens": "input tokens read from the cache",
    "cache_write_tokens": "input tokens written to the cache, for 5 minutes or an hour",
    "cache_write_1h_tokens": "the part of them kept for an hour",
    "audio_input_tokens": "input tokens of audio",
    "audio_output_tokens": "output tokens of audio",
    "reasoning_tokens": "output tokens of reasoning",
    "web_searches": "web searches",
    "requests": "requests, where a provider bills them",
}
_LINE_COUNTS: Final = {
    "input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
    "cache_read_input_tokens": "cache_read_tokens",
    "cache_creation_input_tokens": "cache_write_tokens",
    "cache_creation_1h_input_tokens": "cache_write_1h_tokens",
    "reasoning_output_tokens": "reasoning_tokens",
    "audio_input_tokens": "audio_input_tokens",
    "audio_output_tokens": "audio_output_tokens",
    "web_searches": "web_searches",
    "requests": "requests",
}
_FIVE_MINUTES: Final = "cache_creation_5m_input_tokens"
_SIZE: Final = "search_context_size"
_CALL_KEYS: Final = frozenset({"id", "provider", "model", "tier", "region", "deployment", "at", "usage"})
_USAGE_KEYS: Final = frozenset({*_LINE_COUNTS, _FIVE_MINUTES, _SIZE})
_PER: Final = {"web_search": (1_000, "thousand"), "request": (1_000, "thousand")}
_PER_TOKENS: Final = (1_000_000, "million")


def add_parser(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Describe the command."""
    parser = new_parser(subparsers, "price", "print the cost of a call and its derivation", _EXAMPLES)
    parser.set_defaults(run=run)
    parser.add_argument(
        "--provider", help="the provider that bills, in any spelling: openai, azure.ai.openai, gcp.gemini, ..."
    )
    parser.add_argument("--model", help="the model's name as the call has it")
    for name, description in _COUNTS.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=_count, metavar="N", help=description)
    parser.add_argument("--search-context-size", choices=("low", "medium", "high"))
    parser.add_argument("--tier", choices=SERVICE_TIERS, default="standard", help="the service tier that answered")
    parser.add_argument("--region", help="the provider's name of the region")
    parser.add_argument("--deployment", help="deployment, by name or kind (DataZoneStandard)")
    parser.add_argument("--at", type=_at, metavar="ISO-8601", help="when the request was made; UTC; default now")
    parser.add_argument("--prices", type=Path, metavar="FILE", help="your own prices; default $INFRAPRISM_PRICES")
    parser.add_argument(
        "--jsonl", action="store_true", help="read one call per line from standard input, print one line for each"
    )
    return parser


def run(args: argparse.Namespace) -> int:
    """Price what the options or standard input describe; returns 0, or 2 if that is not valid."""
    try:
        known = Prices(args.prices) if args.prices else prices()
    except PricesFileError as error:
        return _refuse(str(error))
    if args.jsonl:
        return _run_lines(known, sys.stdin, sys.stdout)
    if not args.provider or not args.model:
        return _refuse("--provider and --model are needed, or --jsonl")
    usage = Usage(
        **{name: getattr(args, name) for name in _COUNTS},
        search_context_size=args.search_context_size,
    )
    at_ns = time.time_ns() if args.at is None else args.at
    request = PricingRequest(args.provider, args.model, usage, at_ns, args.tier, args.region, args.deployment)
    sys.stdout.write(text(known.explain(request)))
    return 0


def text(explained: Explanation) -> str:
    """An explanation as text for the terminal."""
    cost = explained.price.cost_usd
    lines = [f"cost    {'unknown' if cost is None else cost_text(cost) + ' USD'}", f"status  {explained.price.status}"]
    if explained.model:
        lines.append(f"model   {explained.model} of {explained.provider}, tier {explained.tier}")
    for name, pieces, rate in explained.lines:
        per, unit = _PER.get(name, _PER_TOKENS)
        amount = money.text(pieces * rate)
        lines.append(f"  {name:<17} {pieces:>13,} at {money.text(rate, per):>9} per {unit:<8} = {amount}")
    lines += [f"missing {reason}" for reason in explained.missing]
    if explained.source:
        lines.append(f"source  {explained.source}{f', from {explained.since}' if explained.since else ''}")
    lines.append(f"table   {explained.table_version}")
    return "\n".join(lines) + "\n"


def _run_lines(known: Prices, source: IO[str], output: IO[str]) -> int:
    failed = False
    for number, line in enumerate(source, start=1):
        if not line.strip():
            continue
        identity, priced = None, Price(None, "incomplete")
        try:
            given = _object(line)
            identity = given.get("id")
            for key in sorted(given.keys() - _CALL_KEYS):
                sys.stderr.write(f"line {number}: {key!r} is not known and was ignored\n")
            priced = known.price(_request(given))
        except ValueError as error:
            # Every line of input has one of output; errors are written to standard error.
            sys.stderr.write(f"line {number}: {error}\n")
            failed = True
        cost = None if priced.cost_usd is None else cost_text(priced.cost_usd)
        output.write(json.dumps({"id": identity, "cost_usd": cost, "cost_status": priced.status}) + "\n")
    return 2 if failed else 0


def _object(line: str) -> dict[str, Any]:
    try:
        given = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not JSON: {error}") from None
    if not isinstance(given, dict):
        raise ValueError("a call must be a JSON object")  # noqa: TRY004 - the input is wrong, not the program
    return given


def _request(given: Mapping[str, Any]) -> PricingRequest:
    usage = given.get("usage") or {}
    if not isinstance(usage, dict):
        raise ValueError("'usage' must be a JSON object")  # noqa: TRY004 - the input is wrong, not the program
    at = given.get("at")
    return PricingRequest(
        _string(given, "provider") or "",
        _string(given, "model") or "",
        _usage(usage),
        time.time_ns() if at is None else _moment(str(at)),
        _string(given, "tier") or "standard",
        _string(given, "region"),
        _string(given, "deployment"),
    )


def _usage(given: Mapping[str, Any]) -> Usage:
    unknown = sorted(given.keys() - _USAGE_KEYS)
    if unknown:
        # It may be a class of usage that is billed.
        raise ValueError(f"{unknown[0]!r} is not known; known are {', '.join(sorted(_USAGE_KEYS))}")
    counts: dict[str, Any] = {name: _whole(given, key) for key, name in _LINE_COUNTS.items()}
    five_minutes = _whole(given, _FIVE_MINUTES)
    if five_minutes is not None:
        parts = five_minutes + (counts["cache_write_1h_tokens"] or 0)
        if counts["cache_write_tokens"] not in (None, parts):
            raise ValueError("cache writes for 5 minutes and an hour do not add up to cache_creation_input_tokens")
        counts["cache_write_tokens"] = parts
    return Usage(**counts, search_context_size=_string(given, _SIZE))


def _whole(given: Mapping[str, Any], key: str) -> int | None:
    value = given.get(key)
    if value is None or (type(value) is int and value >= 0):
        return value
    raise ValueError(f"{key!r} must be a whole number, not {value!r}")


def _string(given: Mapping[str, Any], key: str) -> str | None:
    value = given.get(key)
    if value is None or isinstance(value, str):
        return value
    raise ValueError(f"{key!r} must be text, not {value!r}")


def _count(written: str) -> int:
    digits = written.replace("_", "")
    if not (digits.isascii() and digits.isdigit()):
        raise argparse.ArgumentTypeError(f"{written!r} is not a whole number from 0")
    return int(digits)


def _at(written: str) -> int:
    try:
        return _moment(written)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _moment(written: str) -> int:
    try:
        moment = datetime.fromisoformat(written)
    except ValueError:
        raise ValueError(f"{written!r} is not an ISO 8601 time") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 10**9 + since.microseconds * 1_000


def _refuse(reason: str) -> int:
    sys.stderr.write(f"infraprism price: {reason}\n")
    return 2
