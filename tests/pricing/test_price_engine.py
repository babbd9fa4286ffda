"""The engine: exact, bounded, and never silently cheap."""

from __future__ import annotations

import decimal
import random
import threading
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infraprism.pricing import Prices, PricingRequest, engine, money, price, table
from infraprism.pricing.charge import Bill, Rates
from infraprism.pricing.rows import applicable, read, row_at, scaled
from infraprism.schema import fields
from infraprism.schema.usage import Usage

NOW = 1_795_435_200 * 10**9
DAY_NS = 86_400 * 10**9
COUNTS = st.one_of(st.none(), st.integers(0, 5), st.integers(0, 10**12))
RATES = st.one_of(st.none(), st.integers(0, 10**14).map(lambda rate: rate * 10**6), st.integers(0, 10**20))


def usages() -> st.SearchStrategy[Usage]:
    sizes = st.sampled_from([None, "low", "high", "?"])
    counts = {name: COUNTS for name in Usage._fields if name != "search_context_size"}
    return st.builds(Usage, **counts, search_context_size=sizes)


def rates() -> st.SearchStrategy[Rates]:
    fees = st.one_of(RATES, st.just({"low": 10**20, "high": 3 * 10**20}))
    return st.builds(Rates, **dict.fromkeys(Rates._fields[:9], RATES), web_search=fees, request=fees)


@given(usages(), st.sampled_from(["openai/gpt-4o", "anthropic/claude-sonnet-4-5", "perplexity/sonar-deep-research"]))
@settings(max_examples=500, deadline=None)
def test_the_price_is_the_sum_of_the_explained_lines_or_absent_with_a_reason(usage: Usage, name: str) -> None:
    provider, _, model = name.partition("/")
    found = Prices().explain(PricingRequest(provider, model, usage, NOW))
    assert found.price == price(PricingRequest(provider, model, usage, NOW))
    if usage.input_tokens is None and usage.output_tokens is None:
        assert found.price == (None, "no_usage")
    elif found.missing:
        assert found.price == (None, "incomplete")
    else:
        total = sum(line.pieces * line.rate for line in found.lines)
        assert found.price == (money.usd(total), "priced")


def test_an_applicable_row_is_the_same_for_all_of_its_time() -> None:
    dice = random.Random(5)
    for name in ("deepseek-v4-flash", "deepseek-v4-pro", "deepseek-chat", "deepseek-flash"):
        model = (table.provider("deepseek") or pytest.fail("no deepseek")).find(name)
        latest_first = ((model and model.tier("standard")) or ())[::-1]
        assert latest_first
        for _ in range(300):
            at_ns = dice.randrange(NOW - 800 * DAY_NS, NOW + 30 * DAY_NS)
            since_ns, until_ns, row = applicable(latest_first, at_ns)
            assert since_ns <= at_ns < until_ns
            tried = [max(since_ns, 0), at_ns, min(until_ns, 2 * NOW) - 1]
            assert {id(row_at(latest_first, moment)) for moment in tried} == {id(row)}


def test_calls_in_any_order_of_time_have_the_price_of_their_time() -> None:
    prices, usage, dice = Prices(), Usage(10_000, 500), random.Random(7)
    for _ in range(400):
        at_ns = dice.randrange(NOW - 300 * DAY_NS, NOW)
        again = Prices().price(PricingRequest("deepseek", "deepseek-v4-flash", usage, at_ns))
        assert prices.price(PricingRequest("deepseek", "deepseek-v4-flash", usage, at_ns)) == again


@given(usages(), rates())
@settings(max_examples=300, deadline=None)
def test_a_complete_bill_has_every_token_on_exactly_one_line(usage: Usage, known: Rates) -> None:
    bill = Bill(known, usage)
    if bill.missing:
        return
    pieces = {line.name: line.pieces for line in bill.lines}
    inputs = ("input", "cache_read", "cache_write", "cache_write_1h", "audio_input", "audio_cache_read")
    assert sum(pieces.get(name, 0) for name in inputs) == (usage.input_tokens or 0)
    assert sum(pieces.get(name, 0) for name in ("output", "reasoning", "audio_output")) == (usage.output_tokens or 0)
    assert all(line.pieces > 0 for line in bill.lines)


def test_a_hostile_decimal_context_changes_no_digit() -> None:
    usage = Usage(123_456_789, 987_654_321, 23_456_789)
    plain = price(PricingRequest("openai", "gpt-4o", usage, NOW))
    hostile = decimal.Context(prec=6, rounding=decimal.ROUND_UP, Emin=-3, Emax=3, traps=[decimal.Inexact])
    with decimal.localcontext(hostile):
        assert Prices().price(PricingRequest("openai", "gpt-4o", usage, NOW)) == plain
    assert plain.cost_usd == Decimal("10155.86419625")


def test_a_million_million_tokens_are_exact() -> None:
    most = fields.MAX_TOKENS
    usage = Usage(most, most, most - 1)
    found = price(PricingRequest("openai", "gpt-4o", usage, NOW)).cost_usd
    assert found is not None
    assert Fraction(found) == Fraction(25, 10**7) + (most - 1) * Fraction(125, 10**8) + most * Fraction(10, 10**6)


def test_a_cost_finer_than_the_store_is_rounded_once_half_to_even() -> None:
    assert money.usd(1_500_000) == Decimal("2E-18")
    assert money.usd(2_500_000) == Decimal("2E-18")
    assert money.usd(2_500_001) == Decimal("3E-18")
    assert money.usd(10**24) == 1


def test_the_cache_is_bounded_and_later_names_stay_exact() -> None:
    prices = Prices()
    usage = Usage(1000, 1000)
    first = prices.price(PricingRequest("openai", "gpt-4o", usage, NOW))
    for number in range(10**6):
        assert prices.price(PricingRequest("unknown", f"model-{number}", usage, NOW)).status == "unknown_model"
    assert prices.cached <= engine.MAX_CACHED
    for number in range(3 * engine.MAX_CACHED):
        name = f"ft:gpt-4o-mini-2024-07-18:org::{number}"
        assert prices.price(PricingRequest("openai", name, usage, NOW)).cost_usd == Decimal("0.0015")
    assert prices.cached <= engine.MAX_CACHED
    assert prices.price(PricingRequest("openai", "gpt-4o", usage, NOW)) == first


def test_threads_share_the_cache_without_error() -> None:
    prices, failures = Prices(), list[object]()

    def work(start: int) -> None:
        try:
            for number in range(start, start + 6000):
                prices.price(PricingRequest("openai", f"m{number % 9000}", Usage(1, 1), NOW))
        except Exception as error:  # noqa: BLE001 - the test reports any
            failures.append(error)

    threads = [threading.Thread(target=work, args=(1000 * n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert prices.cached <= engine.MAX_CACHED + len(threads)


@pytest.mark.parametrize(
    ("usage", "status"),
    [
        (Usage(), "no_usage"),
        (Usage(web_searches=1), "no_usage"),
        (Usage(0, 0), "priced"),
        (Usage(100, None), "incomplete"),
        (Usage(None, 100), "incomplete"),
        (Usage(100, 100, cache_read_tokens=101), "incomplete"),
        (Usage(100, 100, cache_read_tokens=60, cache_write_tokens=60), "incomplete"),
        (Usage(100, 100, cache_write_tokens=10, cache_write_1h_tokens=11), "incomplete"),
        (Usage(100, 100, reasoning_tokens=101), "incomplete"),
        (Usage(100, 100, audio_output_tokens=1), "incomplete"),
        (Usage(-1, 100), "incomplete"),
        (Usage(10**12 + 1, 100), "incomplete"),
        (Usage(100, 100, cache_read_tokens=-5), "incomplete"),
    ],
)
def test_counts_that_are_missing_or_contradict_each_other_have_no_price(usage: Usage, status: str) -> None:
    found = price(PricingRequest("anthropic", "claude-sonnet-4-5", usage, NOW))
    assert found.status == status
    assert (found.cost_usd is not None) == (status == "priced")


CLASSES: dict[str, Any] = {
    "cache_read": {"cache_read_tokens": 5},
    "cache_write": {"cache_write_tokens": 5},
    "cache_write_1h": {"cache_write_tokens": 5, "cache_write_1h_tokens": 5},
    "audio_input": {"audio_input_tokens": 5},
    "audio_output": {"audio_output_tokens": 5},
    "web_search": {"web_searches": 5},
}


def test_no_model_of_the_table_prices_a_class_that_it_has_no_rate_for() -> None:
    tried = 0
    for name in table.about()["providers"]:
        for model in table.provider(name) or ():
            for row in model.tier("standard"):
                known = row.rates(20)
                for rate, counts in CLASSES.items():
                    if getattr(known, rate) is None and not (rate == "web_search" and known.request is not None):
                        tried += 1
                        assert Bill(known, Usage(20, 20, **counts)).missing, f"{name} {model.id} {rate}"
    assert tried > 5000


def test_audio_with_cache_reads_is_priced_only_if_both_bounds_cost_the_same() -> None:
    known = Rates(input=10, output=1, cache_read=1, audio_input=50, audio_cache_read=5)
    assert Bill(known, Usage(100, 0, cache_read_tokens=50, audio_input_tokens=50)).missing
    all_audio = Bill(known, Usage(100, 0, cache_read_tokens=50, audio_input_tokens=100))
    assert (all_audio.cost, all_audio.missing) == (50 * 50 + 50 * 5, [])
    all_cached = Bill(known, Usage(100, 0, cache_read_tokens=100, audio_input_tokens=30))
    assert (all_cached.cost, all_cached.missing) == (70 * 1 + 30 * 5, [])
    same = known._replace(audio_input=14)
    assert Bill(same, Usage(100, 0, cache_read_tokens=50, audio_input_tokens=50)).cost == 50 * 1 + 50 * 14


def test_date_hour_and_weekday_must_all_apply() -> None:
    written = {"from": "2026-08-23", "until": "2026-08-29", "hours": [["22:00", "02:00"]], "days": ["mon", "sun"]}
    row = read({**written, "not_on": ["2026-08-24"], "rates": {"input": "1"}})

    def applies(text: str) -> bool:
        moment = read({"from": text, "rates": {"input": "1"}}).start_ns
        return row_at((row,), moment) is row

    assert applies("2026-08-23T22:00:00Z")
    assert applies("2026-08-23T01:59:59Z")
    assert not applies("2026-08-23T02:00:00Z")
    assert not applies("2026-08-24T23:00:00Z")
    assert not applies("2026-08-25T23:00:00Z")
    assert not applies("2026-08-22T23:00:00Z")
    assert not applies("2026-08-30T23:00:00Z")


def test_a_limit_applies_to_all_tokens_of_the_call_and_to_each_rate() -> None:
    row = read({"rates": {"input": ["1", [">10", "2"]], "output": ["3", [">=20", "4"], [">30", "5"]]}})
    one = 10**18
    assert row.rates(10)[:2] == (one, 3 * one)
    assert row.rates(11)[:2] == (2 * one, 3 * one)
    assert row.rates(20)[:2] == (2 * one, 4 * one)
    assert row.rates(31)[:2] == (2 * one, 5 * one)


def test_a_factor_is_exact_or_gives_no_rate() -> None:
    row = read({"rates": {"input": "2.5", "output": "0.000000000000000001", "web_search": "10"}})
    times = scaled(row, "1.1").rates(0)
    assert times.input == 2_750_000_000_000_000_000
    assert times.output is None
    assert times.web_search == row.rates(0).web_search


@pytest.mark.parametrize(
    "arguments", [("", ""), ("openai", ""), ("openai", " "), ("openai", "x" * 10_000), ("", "gpt-4o")]
)
def test_an_empty_or_oversized_name_is_an_unknown_model(arguments: tuple[str, str]) -> None:
    assert price(PricingRequest(*arguments, Usage(1, 1), NOW)).status == "unknown_model"


@given(st.text(), st.text(), usages(), st.integers(), st.text(), st.text(), st.text())
@settings(max_examples=150, deadline=None)
def test_no_value_of_a_call_raises(
    provider: str, model: str, usage: Usage, at_ns: int, tier: str, region: str, deployment: str
) -> None:
    for name in (provider, "openai", "bedrock"):
        found = price(PricingRequest(name, model, usage, at_ns, tier=tier, region=region, deployment=deployment))
        assert found.status in fields.COST_STATUSES
        assert (found.cost_usd is None) == (found.status != "priced")


@pytest.mark.parametrize(
    ("model", "cost_usd"),
    [
        ("gpt-4o-search-preview", "0.0285"),
        ("gpt-4o-search-preview-2025-03-11", "0.0285"),
        ("gpt-4o-mini-search-preview", "0.02521"),
        ("gpt-4o-mini-search-preview-2025-03-11", "0.02521"),
        ("gpt-5-search-api", "0.01225"),
        ("gpt-4o-mini", "0.00021"),
    ],
)
def test_each_call_of_a_search_model_has_a_fee(model: str, cost_usd: str) -> None:
    found = price(PricingRequest("openai", model, Usage(1000, 100), 1_790_000_000 * 10**9))
    assert (found.status, found.cost_usd) == ("priced", Decimal(cost_usd))
