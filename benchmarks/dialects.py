"""Measures `to_event` for one span of each dialect, and the check of the keys of a span without an LLM call.

    python benchmarks/dialects.py

The spans are those of the tests' fixtures. Prints medians (and minima) of several rounds in microseconds of CPU time.
The dialects alternate within one run, so that other load affects all of them equally.
"""

from __future__ import annotations

import gc
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, TraceFlags

from infraprism.processor import to_event
from infraprism.processor.conversion import MARKER_KEYS

FIXTURES = Path(__file__).resolve().parent.parent / "tests" / "dialects" / "fixtures"
ROUNDS = 15
SPANS = 1000
OTHER_SPAN = {"http.request.method": "GET", "url.full": "http://localhost/", "http.response.status_code": 200, "a": 1}


def first_chat(path: Path) -> tuple[str, dict[str, Any]]:
    """The dialect's name and its first span."""
    file = json.loads(path.read_text(encoding="utf-8"))
    return file["dialect"], file["cases"][0]["span"]


def conversion(attributes: dict[str, Any], scope: str) -> Callable[[], object]:
    start_ns = 1_790_000_000_000_000_000
    span = ReadableSpan(
        name="chat",
        context=SpanContext(1, 1, is_remote=False, trace_flags=TraceFlags(1)),
        attributes=attributes,
        start_time=start_ns,
        end_time=start_ns + 1_000_000,
        instrumentation_scope=InstrumentationScope(scope),
    )
    return lambda: to_event(span)


def microseconds(once: Callable[[], object]) -> float:
    gc.collect()
    began = time.process_time()
    for _ in range(SPANS):
        once()
    return (time.process_time() - began) / SPANS * 1e6


def main() -> None:
    keys = OTHER_SPAN.keys()
    variants: dict[str, Callable[[], object]] = {
        "other span, check of the keys": lambda: MARKER_KEYS.isdisjoint(keys),
        "other span, to_event": conversion(OTHER_SPAN, "http"),
    }
    for dialect, span in map(first_chat, sorted(FIXTURES.glob("*.json"))):
        attributes = span["attributes"]
        variants[f"{dialect}, {len(attributes)} attributes"] = conversion(attributes, span["scope"])
    figures: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(ROUNDS):
        for name, once in variants.items():
            figures[name].append(microseconds(once))
    print("us per span, median (min)")
    for name, found in figures.items():
        print(f"{name:40} {statistics.median(found):7.2f} ({min(found):.2f})")


if __name__ == "__main__":
    main()
