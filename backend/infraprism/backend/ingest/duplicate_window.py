"""The SQL condition on stored events that a batch may resend.

A resent event has the same start time, so a batch is compared only with the stored events of the same accounts and time
ranges. The number of ranges is bounded: above the bound the closest ranges are merged, which costs time, not exactness.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable
from typing import Final

from infraprism.backend.ingest.otlp_requests import TimeRanges
from infraprism.backend.store.quoting import literal

MAX_RANGES: Final = 32
"""Per account and batch."""
_MERGED_GAP_MS: Final = 600_000


def condition(requests: Iterable[tuple[str, TimeRanges]]) -> str:
    """The SQL condition, from the account ids and time ranges of the requests of a batch."""
    found: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for account_id, ranges in requests:
        found[account_id].extend(ranges.values())
    parts = [
        f"account = {literal(account_id)} AND ({' OR '.join(map(_between, merged(ranges)))})"
        for account_id, ranges in found.items()
        if ranges
    ]
    return " OR ".join(f"({part})" for part in parts) or "false"


def merged(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The sorted ranges. Close ranges are merged, so that at most `MAX_RANGES` remain."""
    joined: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if joined and first - joined[-1][1] <= _MERGED_GAP_MS:
            joined[-1] = (joined[-1][0], max(joined[-1][1], last))
        else:
            joined.append((first, last))
    if len(joined) <= MAX_RANGES:
        return joined
    gaps = sorted((after[0] - before[1], after[0]) for before, after in itertools.pairwise(joined))
    kept = {start for _, start in gaps[-(MAX_RANGES - 1) :]}
    wide = [joined[0]]
    for first, last in joined[1:]:
        if first in kept:
            wide.append((first, last))
        else:
            wide[-1] = (wide[-1][0], last)
    return wide


def _between(span: tuple[int, int]) -> str:
    return (
        f"timestamp BETWEEN fromUnixTimestamp64Milli({span[0]}, 'UTC') AND fromUnixTimestamp64Milli({span[1]}, 'UTC')"
    )
