"""Generates the events of `benchmarks/queries.py` in the engine: one large account, and 200 small ones."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from infraprism.schema.fields import ERROR_TYPES

DAYS: Final = 90
SMALL_ACCOUNTS: Final = 200
ENTITIES: Final = 400
CALLS_PER_SESSION: Final = 10
MODELS: Final = (
    ("gpt-4o-mini", "openai"),
    ("gpt-4o", "openai"),
    ("gpt-5-mini", "openai"),
    ("claude-sonnet-4-5", "anthropic"),
    ("claude-haiku-4-5", "anthropic"),
    ("gemini-2.5-flash", "google_gemini"),
    ("gemini-2.5-pro", "google_gemini"),
    ("mistral-large-latest", "mistral"),
    ("deepseek-chat", "deepseek"),
    ("text-embedding-3-small", "openai"),
)
_DAY_MS: Final = 86_400_000
_STEP: Final = 1_000_000
_NAMES: Final = (
    "account, id, timestamp, model, provider, operation, input_tokens, output_tokens, latency_ms, cost_usd,"
    " cost_status, success, entity_type, entity_id, session_id, tags, error_type, error_code,"
    " cache_read_tokens, service_tier"
)


def generate(run: Callable[[str], object], account_id: str, events: int, small_events: int, end_ms: int) -> None:
    """Insert the events of the last `DAYS` days before `end_ms`. The small accounts are `acc_small_0` and so on.

    A session is ten calls of one entity within some minutes. Few entities have most of the calls. 2 % of the calls
    fail, 2.5 % have no price, and each has three tags, of which `release` has a thousand values.
    """
    for start in range(0, events, _STEP):
        number = min(_STEP, events - start)
        run(_insert(f"'{account_id}'", 0, range(start, start + number), events, end_ms))
    small = f"concat('acc_small_', toString(s % {SMALL_ACCOUNTS}))"
    for start in range(0, small_events, _STEP):
        number = min(_STEP, small_events - start)
        run(_insert(small, 1, range(start, start + number), small_events, end_ms))


def now_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def _insert(account: str, salt: int, numbers: range, total: int, end_ms: int) -> str:
    first_ms = end_ms - DAYS * _DAY_MS
    session_ms = f"toInt64(intDiv(s * {DAYS * _DAY_MS - 600_000}, {max(1, total // CALLS_PER_SESSION)}))"
    models, providers = ([f"'{pair[place]}'" for pair in MODELS] for place in (0, 1))
    model = f"1 + toUInt8(pow(h % 1000 / 1000, 2) * {len(MODELS)})"
    entity = f"toUInt32(pow(hs % 10007 / 10007, 2) * {ENTITIES})"
    errors = [f"'{name}'" for name in ERROR_TYPES]
    return f"""INSERT INTO events ({_NAMES})
WITH number + {numbers.start} AS n, intDiv(n, {CALLS_PER_SESSION}) AS s, cityHash64(n, {salt}) AS h,
    cityHash64(s, {salt}, 7) AS hs, cityHash64(h, 1) AS r1, cityHash64(h, 2) AS r2, cityHash64(h, 3) AS r3,
    {model} AS m, {entity} AS e,
    r1 % 1000 < 20 AS failed, r2 % 1000 < 25 AS unpriced
SELECT {account}, CAST(substring(SHA256(toString((n, {salt}))), 1, 16), 'FixedString(16)'),
    fromUnixTimestamp64Milli({first_ms} + {session_ms} + toInt64(h % 600000), 'UTC'),
    [{", ".join(models)}][m], [{", ".join(providers)}][m], if(m = 10, 'embeddings', 'chat'),
    if(failed, NULL, 50 + r1 % 12000), if(failed, NULL, r2 % 2000), 150 + toUInt32(exp(r3 % 1000 / 100)),
    if(unpriced, NULL, toDecimal128(1 + r3 % 999983, 18) / 10000000), if(unpriced, 'unknown_model', 'priced'),
    NOT failed, if(e = 0, '', ['customer', 'team', 'project'][1 + e % 3]),
    if(e = 0, '', concat('entity-', toString(e))),
    concat('session-', lower(hex(hs))),
    map('feature', concat('feature-', toString(h % 20)),
        'env', ['prod', 'staging', 'dev'][1 + toUInt8(pow(r2 % 100 / 100, 4) * 3)],
        'release', concat('r', toString(hs % 1000))),
    if(failed, [{", ".join(errors)}][1 + toUInt8(pow(r2 % 100 / 100, 2) * {len(ERROR_TYPES)})], ''),
    if(failed, '429', ''),
    if(r3 % 10 < 3, r1 % 50, NULL), if(r3 % 20 = 0, 'batch', 'standard')
FROM numbers({len(numbers)})
SETTINGS max_partitions_per_insert_block = 0, max_insert_threads = 1"""
