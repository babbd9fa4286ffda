"""Formats the output of the demo."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from infraprism.local_provider import Exchange

_MIN_WIDTH: Final = 80
_BAR: Final = " │ "


def width() -> int:
    """The columns of the terminal, at least 80; for a file COLUMNS or 80."""
    return max(_MIN_WIDTH, shutil.get_terminal_size().columns)


def command() -> str:
    """The `infraprism` command as the user can type it: its path, if the shell does not find this installation's."""
    script = Path(sys.executable).parent / "infraprism"
    if shutil.which("infraprism") == str(script) or not script.exists():
        return "infraprism"
    here = Path.cwd()
    return shlex.quote(str(script.relative_to(here) if script.is_relative_to(here) else script))


def heading(title: str) -> str:
    """A title, underlined."""
    return f"\n{title}\n{'─' * len(title)}"


def side_by_side(left: tuple[str, str], right: tuple[str, str], columns: int) -> str:
    """Two texts with titles in two columns. Long lines are wrapped."""
    half = (columns - len(_BAR)) // 2
    texts = [_wrapped(f"{title}\n\n{text}", half) for title, text in (left, right)]
    rows = max(map(len, texts))
    padded = [lines + [""] * (rows - len(lines)) for lines in texts]
    return "\n".join(f"{one.ljust(half)}{_BAR}{other}".rstrip() for one, other in zip(*padded, strict=True))


def _wrapped(text: str, columns: int) -> list[str]:
    lines: list[str] = []
    for line in text.splitlines():
        indent = " " * (len(line) - len(line.lstrip()) + 2)
        lines += textwrap.wrap(
            line, columns, subsequent_indent=indent, drop_whitespace=False, replace_whitespace=False
        ) or [""]
    return lines


def exchange_text(exchange: Exchange) -> str:
    """A request and its response, as the provider recorded them."""
    body = json.loads(exchange.request)
    sent = f"POST {exchange.path}\n{_pretty(body)}"
    received = (
        exchange.response.decode()
        if exchange.record.streamed
        else f"HTTP {exchange.record.status}\n{_pretty(json.loads(exchange.response))}"
    )
    return f"{sent}\n\n{received}"


def span_text(span: Mapping[str, Any]) -> str:
    """A span as OTLP/JSON, with its attributes as one object."""
    return _pretty(dict(span) | {"attributes": attribute_values(span)})


def _pretty(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def attribute_values(span: Mapping[str, Any]) -> dict[str, object]:
    """The attributes of a span by key, with integers as int."""
    values: dict[str, object] = {}
    for attribute in span.get("attributes", ()):
        ((kind, value),) = attribute["value"].items()
        values[attribute["key"]] = int(value) if kind == "intValue" else value
    return values


def span_of(spans: Sequence[Mapping[str, Any]], exchange: Exchange) -> Mapping[str, Any] | None:
    """The span with the model and the token counts of a call, or None."""
    reported = exchange.record.reported
    expected = {
        "infraprism.model": exchange.record.response_model,
        "infraprism.input_tokens": reported and reported.input_tokens,
        "infraprism.output_tokens": reported and reported.output_tokens,
    }
    return next((span for span in spans if expected.items() <= attribute_values(span).items()), None)
