"""Random calls, and their exact sums as the REST API returns them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Context, Decimal
from typing import Any

from tests.kit.events import event

from infraprism.schema import Event

EXACT = Context(prec=200)
FIRST_NS = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp()) * 10**9
FAILED: dict[str, Any] = {"success": False, "error_type": "rate_limit", "error_code": "429"}


def random_calls(count: int, days: int = 90, seed: int = 7, first: int = 1) -> list[Event]:
    """Calls from 2026-01-01 on, with costs of up to 18 digits, numbered from `first`."""
    order = random.Random(seed)
    made = []
    for number in range(first, first + count):
        priced = order.random() < 0.9
        digits = order.choice([3, 9, 18])
        made.append(
            event(
                number,
                timestamp_ns=FIRST_NS + order.randrange(days * 86_400_000) * 10**6,
                model=order.choice(["gpt-4o", "claude-x", "m3"]),
                provider=order.choice(["openai", "anthropic"]),
                cost_usd=Decimal(order.randrange(1, 10**20)).scaleb(-digits, EXACT) if priced else None,
                cost_status="priced" if priced else "unknown_model",
                input_tokens=order.choice([None, order.randrange(10**6)]),
                latency_ms=order.randrange(10**5),
                **(FAILED if order.random() < 0.2 else {}),
                entity_id=order.choice(["acme", "globex", None]),
                session_id=order.choice(["s1", "s2", None]),
                tags=order.choice([{}, {"feature": "chat"}, {"feature": "", "env": "prod"}]),
            )
        )
    return made


def sums(events: Sequence[Event]) -> dict[str, Any]:
    """The sums of a group of calls."""
    priced = [one.cost_usd for one in events if one.cost_usd is not None]
    total = Decimal(0)
    for cost in priced:
        total = EXACT.add(total, cost)
    failed = [one for one in events if not one.success]
    counted = [one.input_tokens for one in events if one.input_tokens is not None]
    return {
        "total_cost": total if priced else None,
        "total_events": len(events),
        "total_input_tokens": sum(counted) if counted else None,
        "total_output_tokens": 500 * len(events),
        "unpriced_events": len(events) - len(priced),
        "failed_events": len(failed),
        "unpriced_failed_events": sum(one.cost_usd is None for one in failed),
        "error_rate": round(Decimal(len(failed)) / len(events), 4),
    }
