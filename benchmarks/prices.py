"""Compares the cost of pricing a call with genai-prices and litellm: look-ups, load time, memory, size of the table.

    python benchmarks/prices.py

litellm has an environment of its own, `.venv-litellm`, which the first run creates; it is measured with the prices in
its package, and without its download of newer ones. All take turns within one run, so that the load of the machine
affects them equally. Look-ups are the median and the minimum of rounds, in microseconds; imports, first prices and
memory are medians of new processes. Our import is that of the pricing modules and what they alone import, with
OpenTelemetry's SDK and the schema loaded before.
"""

from __future__ import annotations

import gzip
import json
import os
import statistics
import subprocess
import sys
import time
import venv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import genai_prices

from infraprism.pricing import Prices, PricingRequest, price, table
from infraprism.schema.usage import Usage

ROUNDS, CALLS, STARTS = 25, 2000, 7
LITELLM, LITELLM_HOME = "litellm==1.106.2", Path(__file__).parents[1] / ".venv-litellm"
LITELLM_PROVIDERS = {"aws": "bedrock"}
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
    before="import opentelemetry.sdk.trace, infraprism.schema\nfrom infraprism.schema import usage, delivery_stats\n"
    "for name in [n for n in sys.modules if '.pricing' in n]:\n    del sys.modules[name]",
    load="from infraprism.pricing import PricingRequest, price",
    first="price(PricingRequest('openai', 'gpt-4o', usage.Usage(10000, 500, 6000), 1795435200 * 10**9))",
)
THEIRS_FRESH = FRESH.format(
    before="",
    load="import genai_prices",
    first="genai_prices.calc_price(genai_prices.Usage(input_tokens=10000, output_tokens=500, cache_read_tokens=6000),"
    " 'gpt-4o', provider_id='openai')",
)


LITELLM_FRESH = FRESH.format(
    before="",
    load="import litellm",
    first="litellm.cost_per_token('gpt-4o', 10000, 500, cache_read_input_tokens=6000, custom_llm_provider='openai')",
)
LITELLM_TURNS = """
import json, sys, time
import litellm
for line in sys.stdin:
    calls, model, given = json.loads(line)
    start = time.perf_counter()
    for _ in range(calls):
        try:
            litellm.cost_per_token(model, **given)
        except Exception:
            pass
    print((time.perf_counter() - start) / calls * 1e6, flush=True)
"""
LITELLM_ENVIRONMENT = os.environ | {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "CRITICAL"}


def litellm_python() -> str:
    python = LITELLM_HOME / "bin" / "python"
    if not python.exists():
        venv.create(LITELLM_HOME, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", LITELLM], check=True)
    return str(python)


@contextmanager
def litellm_turns() -> Iterator[Callable[[str, str, int], float]]:
    """litellm in its own process: called with provider, model and calls, it returns the microseconds of one."""
    with subprocess.Popen(
        [litellm_python(), "-c", LITELLM_TURNS],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=LITELLM_ENVIRONMENT,
    ) as process:
        asked, answers = process.stdin, process.stdout
        assert asked is not None
        assert answers is not None

        def turn(provider: str, model: str, calls: int) -> float:
            usage = usage_of(model)
            given: dict[str, Any] = {
                "prompt_tokens": usage.input_tokens,
                "completion_tokens": usage.output_tokens,
                "cache_read_input_tokens": usage.cache_read_tokens,
                "cache_creation_input_tokens": usage.cache_write_tokens or 0,
                "custom_llm_provider": LITELLM_PROVIDERS.get(provider, provider),
            }
            asked.write(json.dumps([calls, model, given]) + "\n")
            asked.flush()
            return float(answers.readline())

        yield turn
        asked.close()


def usage_of(model: str) -> Usage:
    return Usage(10_000, 500, 6_000, 2_000, 500) if model.startswith("claude") else Usage(10_000, 500, 6_000)


def ours(provider: str, model: str) -> Callable[[], object]:
    usage = usage_of(model)
    return lambda: price(PricingRequest(provider, model, usage, AT_NS))


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
    print(f"{'next look-up, us':<46}{'ours':>14}{'genai-prices':>16}{'ratio':>7}{'litellm':>16}{'ratio':>7}")
    with litellm_turns() as litellm:
        for provider, model, what in NAMES:
            pair = ours(provider, model), theirs(provider, model)
            for call in pair:
                call()
            litellm(provider, model, 3)
            rounds = [
                (
                    microseconds(pair[0], CALLS),
                    microseconds(pair[1], CALLS // 20),
                    litellm(provider, model, CALLS // 20),
                )
                for _ in range(ROUNDS)
            ]
            print(f"{what + ', ' + model:<46.46}{compared(list(zip(*rounds, strict=True)))}")


def compared(columns: list[tuple[float, ...]]) -> str:
    """Median and minimum of each, and the ratio of the others to ours."""
    mine = statistics.median(columns[0])
    shown = f"{f'{mine:.2f} ({min(columns[0]):.2f})':>14}"
    for column in columns[1:]:
        median = statistics.median(column)
        shown += f"{f'{median:.1f} ({min(column):.1f})':>16}{f'{median / mine:.0f}x':>7}"
    return shown


def first_lookups() -> None:
    print(f"\n{'first look-up of a name, table loaded, us':<46}{'ours':>16}")
    for provider, model, what in NAMES:
        usage = usage_of(model)
        times = []
        for _ in range(ROUNDS):
            fresh = Prices()
            start = time.perf_counter()
            fresh.price(PricingRequest(provider, model, usage, AT_NS))
            times.append((time.perf_counter() - start) * 1e6)
        shown = f"{statistics.median(times):.0f} ({min(times):.0f})"
        print(f"{what + ', ' + model:<46.46}{shown:>16}")


def fresh_processes() -> None:
    print(f"\n{'new process':<28}{'import ms':>12}{'first price ms':>16}{'more MiB':>10}")
    starts: dict[str, tuple[str, str]] = {
        "ours": (sys.executable, OURS_FRESH),
        "genai-prices": (sys.executable, THEIRS_FRESH),
        "litellm": (litellm_python(), LITELLM_FRESH),
    }
    runs: dict[str, list[list[float]]] = {name: [] for name in starts}
    for _ in range(STARTS):
        for name, (python, script) in starts.items():
            done = subprocess.run(
                [python, "-c", script], capture_output=True, text=True, check=True, env=LITELLM_ENVIRONMENT
            )
            runs[name].append([float(figure) for figure in done.stdout.split()[-3:]])
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
    first_lookups()
    fresh_processes()
    sizes()
