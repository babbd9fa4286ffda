"""Which stored events a batch could be sending again.

A call sent again carries the same start time, so that a batch has to be compared only with its own hours of its own
accounts. The number of ranges is bounded: beyond it the nearest ones grow together, which costs time, never exactness.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable
from typing import Final

from infraprism.backend.ingest.otlp_requests import Ranges
from infraprism.backend.store.quoting import literal

_MAX_RANGES: Final = 32
"""Of one account in one batch."""
_NEAR_MS: Final = 600_000


def condition(requests: Iterable[tuple[str, Ranges]]) -> str:
    """The condition in SQL, from the account ids and time ranges of a batch's requests."""
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
    """The ranges in order, near ones joined, at most `_MAX_RANGES` of them."""
    joined: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if joined and first - joined[-1][1] <= _NEAR_MS:
            joined[-1] = (joined[-1][0], max(joined[-1][1], last))
        else:
            joined.append((first, last))
    if len(joined) <= _MAX_RANGES:
        return joined
    gaps = sorted((after[0] - before[1], after[0]) for before, after in itertools.pairwise(joined))
    kept = {start for _, start in gaps[-(_MAX_RANGES - 1) :]}
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
