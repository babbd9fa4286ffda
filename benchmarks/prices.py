"""What a price costs to work out, beside genai-prices: first and next look-up, load time, memory, size.

    python benchmarks/prices.py

Both take turns within one run, so that a busy machine disturbs them alike. Look-ups are the median and the minimum of
rounds, in microseconds; imports, first prices and memory are medians of fresh processes. Our import is that of the
price modules and what they alone bring, with the rest of the processor loaded before.
"""

from __future__ import annotations

import gzip
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime

import genai_prices

from infraprism.processor.prices import Prices, price, table
from infraprism.processor.usage import Usage

ROUNDS, CALLS, STARTS = 25, 2000, 7
AT = datetime(2026, 11, 18, 2, tzinfo=UTC)
AT_NS = int(AT.timestamp()) * 10**9
NAMES = [
    ("openai", "gpt-4o", "plain, cached"),
    ("openai", "gpt-5.6-sol", "dated, long context"),
    ("deepseek", "deepseek-v4-flash", "date, hour, weekday"),
    ("anthropic", "claude-sonnet-4-5", "cache writes"),
    ("aws", "us.anthropic.claude-haiku-4-5-20251001-v1:0", "Bedrock id"),
    ("openai", "gpt-9-unheard-of", "unknown"),
]
FRESH = """
import sys, time
{before}
def resident_mib():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 2**20
started, resident = time.perf_counter(), resident_mib()
{load}
imported = time.perf_counter()
{first}
print((imported - started) * 1e3, (time.perf_counter() - imported) * 1e3, resident_mib() - resident)
"""
OURS_FRESH = FRESH.format(
    before="import opentelemetry.sdk.trace, infraprism.schema\nfrom infraprism.processor import usage, tally\n"
    "for name in [n for n in sys.modules if '.prices' in n]:\n    del sys.modules[name]",
    load="from infraprism.processor.prices import price",
    first="price('openai', 'gpt-4o', usage.Usage(10000, 500, 6000), 1795435200 * 10**9)",
)
THEIRS_FRESH = FRESH.format(
    before="",
    load="import genai_prices",
    first="genai_prices.calc_price(genai_prices.Usage(input_tokens=10000, output_tokens=500, cache_read_tokens=6000),"
    " 'gpt-4o', provider_id='openai')",
)


def usage_of(model: str) -> Usage:
    return Usage(10_000, 500, 6_000, 2_000, 500) if model.startswith("claude") else Usage(10_000, 500, 6_000)


def ours(provider: str, model: str) -> Callable[[], object]:
    usage = usage_of(model)
    return lambda: price(provider, model, usage, AT_NS)


def theirs(provider: str, model: str) -> Callable[[], object]:
    counts = {key: value for key, value in usage_of(model)._asdict().items() if value is not None}
    usage = genai_prices.Usage(**counts)

    def call() -> object:
        try:
            return genai_prices.calc_price(usage, model, provider_id=provider, genai_request_timestamp=AT)
        except (LookupError, ValueError):
            return None

    return call


def microseconds(call: Callable[[], object], calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - start) / calls * 1e6


def next_lookups() -> None:
    print(f"{'next look-up, us':<46}{'ours':>16}{'genai-prices':>18}{'ratio':>8}")
    for provider, model, what in NAMES:
        pair = ours(provider, model), theirs(provider, model)
        for call in pair:
            call()
        rounds = [(microseconds(pair[0], CALLS), microseconds(pair[1], CALLS // 20)) for _ in range(ROUNDS)]
        us, them = ([values[n] for values in rounds] for n in (0, 1))
        ratio = statistics.median(them) / statistics.median(us)
        shown = f"{statistics.median(us):.2f} ({min(us):.2f})", f"{statistics.median(them):.1f} ({min(them):.1f})"
        print(f"{what + ', ' + model:<46.46}{shown[0]:>16}{shown[1]:>18}{ratio:>7.0f}x")


def first_sights() -> None:
    print(f"\n{'first sight of a name, table loaded, us':<46}{'ours':>16}")
    for provider, model, what in NAMES:
        usage = usage_of(model)
        times = []
        for _ in range(ROUNDS):
            fresh = Prices()
            start = time.perf_counter()
            fresh.price(provider, model, usage, AT_NS)
            times.append((time.perf_counter() - start) * 1e6)
        shown = f"{statistics.median(times):.0f} ({min(times):.0f})"
        print(f"{what + ', ' + model:<46.46}{shown:>16}")


def fresh_processes() -> None:
    print(f"\n{'fresh process':<28}{'import ms':>12}{'first price ms':>16}{'more MiB':>10}")
    runs: dict[str, list[list[float]]] = {"ours": [], "genai-prices": []}
    for _ in range(STARTS):
        for name, script in (("ours", OURS_FRESH), ("genai-prices", THEIRS_FRESH)):
            done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
            runs[name].append([float(figure) for figure in done.stdout.split()])
    for name, figures in runs.items():
        imported, first, memory = (statistics.median(run[n] for run in figures) for n in range(3))
        print(f"{name:<28}{imported:>12.1f}{first:>16.1f}{memory:>10.1f}")


def sizes() -> None:
    files = [path.read_bytes() for path in table.DATA.glob("*.json")]
    packed = sum(len(gzip.compress(file)) for file in files)
    print(f"\ntable: {len(files)} files, {sum(map(len, files)) / 1024:.0f} KiB, {packed / 1024:.0f} KiB with gzip")
    print(table.about()["version"])


if __name__ == "__main__":
    next_lookups()
    first_sights()
    fresh_processes()
    sizes()
