"""The user's own prices have precedence; a broken file is one clear error that names the entry."""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from tests.kit.spans import ended

from infraprism.pricing import Prices, PricesFileError, PricingRequest, engine, prices
from infraprism.processor import InfraPrismSpanProcessor, to_event
from infraprism.schema.usage import Usage

NOW = 1_795_435_200 * 10**9
YEAR_2025 = 1_740_000_000 * 10**9
MILLION = Usage(10**6, 10**6)

CONTRACT = """\
prices:
  - provider: openai
    model: gpt-4o*
    rates: {input: "2.00", output: "8.00", cache_read: "1.00"}
    from: 2026-01-01
    source: contract 4711
  - provider: azure.ai.openai
    deployment: my-prod
    as: gpt-4o-2024-08-06
    factor: "1.1"
  - provider: azure
    model: team-*
    as: gpt-4o-mini
  - provider: openai
    model: gpt-4o
    tier: batch
    rates: {input: "0.50", output: "2.00"}
  - provider: aws_bedrock
    model: "*claude-sonnet-4-5*"
    region: eu-central-1
    rates: {input: "20", output: "20"}
  - provider: other
    model: our-llama
    rates: {input: ["1", [">100", "2"]], output: "0"}
"""


@pytest.fixture(autouse=True)
def new_process() -> Iterator[None]:
    """Reload the prices of the process before and after each test."""
    for cached in (engine.prices, engine.prices_or_none):
        cached.cache_clear()
    yield
    for cached in (engine.prices, engine.prices_or_none):
        cached.cache_clear()


@pytest.fixture
def written(tmp_path: Path) -> Any:
    def write(text: str, name: str = "prices.yaml") -> Path:
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def cost(known: Prices, provider: str, model: str, usage: Usage = MILLION, at_ns: int = NOW, **where: str) -> Decimal:
    found = known.price(PricingRequest(provider, model, usage, at_ns, **where))
    assert found.cost_usd is not None, found
    return found.cost_usd


def test_the_users_price_applies_from_its_date_on_and_for_its_tier(written: Any) -> None:
    known = Prices(written(CONTRACT))
    assert cost(known, "openai", "gpt-4o-2024-11-20") == 10
    assert cost(known, "openai", "gpt-4o", at_ns=YEAR_2025) == Decimal("12.5")
    assert cost(known, "openai", "gpt-4o", tier="batch") == Decimal("2.5")
    assert cost(known, "openai", "gpt-4.1") == 10


def test_a_deployment_is_priced_as_the_model_in_the_file(written: Any) -> None:
    known = Prices(written(CONTRACT))
    assert known.price(PricingRequest("azure", "my-prod", MILLION, NOW)).status == "unknown_model"
    assert cost(known, "azure", "whatever", deployment="My-Prod") == Decimal("13.75")
    assert cost(known, "azure.ai.inference", "team-blue") == Decimal("0.75")
    assert cost(known, "azure", "gpt-4o", deployment="other") == Decimal("12.5")


def test_an_entry_with_a_region_applies_to_calls_of_that_region_alone(written: Any) -> None:
    known = Prices(written(CONTRACT))
    model = "global.anthropic.claude-sonnet-4-5-20250929-v1:0"
    assert cost(known, "aws.bedrock", model) == 18
    assert cost(known, "aws.bedrock", model, region="EU-Central-1") == 40
    assert cost(known, "aws.bedrock", model, region="eu-west-1") == 18


def test_a_provider_of_the_users_own_has_a_price(written: Any) -> None:
    known = Prices(written(CONTRACT))
    assert cost(known, "other", "our-llama", Usage(100, 5)) == Decimal("0.0001")
    assert cost(known, "other", "our-llama", Usage(101, 5)) == Decimal("0.000202")


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("cloudflare", "@cf/openai/gpt-oss-120b"),
        ("openrouter", "~moonshotai/kimi-latest"),
        ("other", "/models/llama-3"),
        ("other", "llama#2~q4"),
    ],
)
def test_every_valid_model_name_can_have_a_price(
    provider: str, model: str, written: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = {"provider": provider, "model": model, "rates": {"input": "1", "output": "2"}}
    monkeypatch.setenv("INFRAPRISM_PRICES", str(written(json.dumps({"prices": [entry]}), "prices.json")))
    counts = {"gen_ai.usage.input_tokens": 10**6, "gen_ai.usage.output_tokens": 10**6}
    made = to_event(
        ended(
            {
                "gen_ai.operation.name": "chat",
                "gen_ai.provider.name": provider,
                "gen_ai.request.model": model,
                "gen_ai.response.model": model,
                **counts,
            }
        )
    )
    assert made is not None
    assert (made.model, made.cost_usd, made.cost_status) == (model, 3, "priced")


def test_the_first_entry_that_applies_counts(written: Any) -> None:
    first = {"provider": "openai", "model": "gpt-4o", "rates": {"input": "1", "output": "1"}}
    second = {"provider": "openai", "model": "*", "rates": {"input": "7", "output": "7"}}
    known = Prices(written(json.dumps({"prices": [first, second]}), "prices.json"))
    assert cost(known, "openai", "gpt-4o") == 2
    assert cost(known, "openai", "gpt-5") == 14


def test_json_and_yaml_give_the_same_prices(written: Any) -> None:
    content = yaml.load(CONTRACT, Loader=yaml.BaseLoader)
    one, other = Prices(written(CONTRACT)), Prices(written(json.dumps(content), "prices.json"))
    for name in ("gpt-4o", "gpt-4o-mini", "gpt-4.1"):
        assert one.price(PricingRequest("openai", name, MILLION, NOW)) == other.price(
            PricingRequest("openai", name, MILLION, NOW)
        )


def test_a_rate_that_the_entry_leaves_out_is_not_taken_from_the_table(written: Any) -> None:
    known = Prices(written(CONTRACT))
    assert (
        known.price(PricingRequest("openai", "gpt-4o", Usage(100, 100, cache_write_tokens=5), NOW)).status
        == "incomplete"
    )


X = "prices:\n  - provider: openai\n    model: x\n"
RATES = "    rates: {input: '1'}\n"
VALID = '{"provider": "openai", "model": "x", "rates": {"input": "1"}}'
BROKEN = [
    (X + "    rates: {input: 2.5}\n", ", entry 1", "in quotes"),
    (X + "    rates: {inptu: '2.5'}\n", ", entry 1", "inptu"),
    (X + "    rates: {input: '2,5'}\n", ", entry 1", "2,5"),
    (X + "    rates: {input: '-1'}\n", ", entry 1", "-1"),
    (X + "    rates: {input: '1e3'}\n", ", entry 1", "1e3"),
    (X + "    rates: {input: 'nan'}\n", ", entry 1", "nan"),
    (X + "    rates: {input: '0.0000000000000000001'}\n", ", entry 1", "0.0000000"),
    (X + "", ", entry 1", "rates"),
    ("prices:\n  - provider: openai\n    rates: {input: '1'}\n", ", entry 1", "model"),
    ("prices:\n  - model: x\n    rates: {input: '1'}\n", ", entry 1", "provider"),
    (X + RATES + "  - provider: openai\n    model: x\n    tier: cheap\n" + RATES, ", entry 2", "cheap"),
    (X + "    teir: batch\n" + RATES, ", entry 1", "teir"),
    (X + "    from: soon\n" + RATES, ", entry 1", "soon"),
    (X + "    from: 2026-02-01\n    until: 2026-01-01\n" + RATES, ", entry 1", "until"),
    (X + "    days: [monday]\n" + RATES, ", entry 1", "monday"),
    (X + "    hours: [['25:00', '26:00']]\n" + RATES, ", entry 1", "hours"),
    (X + "    hours: [[10:00, 14:00]]\n" + RATES, ", entry 1", "hours"),
    (X + "    as: gpt-4o\n" + RATES, ", entry 1", "rates"),
    ("prices:\n  - provider: azure\n    deployment: x\n    as: gpt-4o\n    factor: 1.1\n", ", entry 1", "1.1"),
    (X + "    rates: {input: ['1', ['~5', '2']]}\n", ", entry 1", "~5"),
    ("prices: 5\n", "", "prices"),
    ("- provider: openai\n", "", "prices"),
    ("prices: [x]\n", ", entry 1", "mapping"),
    ("prices: []\nextra: 1\n", "", "extra"),
    ("prices: []\nprices: []\n", "", "twice"),
    ("prices:\n  - provider: openai\n   model: x\n", "", "' in line 3"),
    ("prices:\n  - provider: openai\n    provider: azure\n", ", entry 1", "twice"),
    (X + RATES + "  - provider: openai\n    rates: {input: '1', input: '2'}\n", ", entry 2", "twice"),
    ("", "", "prices"),
]


@pytest.mark.parametrize(("text", "entry", "reason"), BROKEN, ids=[reason for _, _, reason in BROKEN])
def test_a_broken_file_is_one_error_that_names_the_entry(written: Any, text: str, entry: str, reason: str) -> None:
    path = written(text)
    with pytest.raises(PricesFileError) as caught:
        Prices(path)
    assert str(caught.value).startswith(f"{path}{entry}: ")
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "entry", "reason"),
    [
        ('{"prices": [\n {"provider": "openai", "model": "x",\n  "rates": {"input": 2.5}}]}', ", entry 1", "in quotes"),
        (f'{{"prices": [{VALID}, {{"provider": "openai", "model": "x"}}]}}', ", entry 2", "rates"),
        ('{"prices": [\n {"provider": }]}', "", "JSON: .* in line 2, column 15"),
        (f'{{"prices": [{VALID}, {{"provider": "a", "provider": "b"}}]}}', ", entry 2", "twice"),
        ("[" * 100_000, "", "deep"),
        ("", "", "JSON"),
    ],
)
def test_a_broken_json_file_names_the_entry_as_well(written: Any, text: str, entry: str, reason: str) -> None:
    path = written(text, "prices.json")
    with pytest.raises(PricesFileError, match=rf"{re.escape(str(path))}{entry}: .*{reason}"):
        Prices(path)


def test_a_file_that_is_missing_or_is_not_text_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(PricesFileError, match="No such file"):
        Prices(tmp_path / "none.yaml")
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(PricesFileError, match=r"bytes\.json: .*UTF-8"):
        Prices(tmp_path / "bytes.json")


def test_yaml_without_its_package_names_the_package_to_install(written: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(PricesFileError, match="pip install pyyaml"):
        Prices(written(CONTRACT))


def test_the_variable_names_the_file_of_the_process(written: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFRAPRISM_PRICES", str(written(CONTRACT)))
    assert engine.price(PricingRequest("openai", "gpt-4o", MILLION, NOW)).cost_usd == 10
    assert prices() is prices()
    assert engine.explain(PricingRequest("openai", "gpt-4o", MILLION, NOW)).source == "prices.yaml: contract 4711"


def test_a_broken_file_of_the_process_leaves_calls_unpriced_and_is_logged_once(
    written: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("INFRAPRISM_PRICES", str(written("prices: 5")))
    with caplog.at_level(logging.ERROR, logger=engine.__name__):
        for _ in range(3):
            assert engine.price(PricingRequest("openai", "gpt-4o", MILLION, NOW)) == (None, "incomplete")
    assert len(caplog.records) == 1
    assert "a list 'prices'" in caplog.text
    with pytest.raises(PricesFileError):
        prices()


def test_a_factor_alone_multiplies_the_tables_price_in_every_tier(written: Any) -> None:
    entries = [
        {"provider": "google", "model": "claude-*", "factor": "1.1"},
        {"provider": "openai", "region": "eu", "model": "*", "factor": "1.1"},
    ]
    known = Prices(written(json.dumps({"prices": entries})))
    at_list = Prices()
    for provider, model, region in (("google_vertex", "claude-sonnet-4-5", None), ("openai", "gpt-4.1", "eu")):
        for tier in ("standard", "batch"):
            listed = at_list.price(PricingRequest(provider, model, MILLION, NOW, tier=tier))
            found = known.price(PricingRequest(provider, model, MILLION, NOW, tier=tier, region=region))
            assert (found.cost_usd, found.status) == (
                listed.cost_usd and listed.cost_usd * Decimal("1.1"),
                listed.status,
            )
    assert known.price(PricingRequest("openai", "gpt-4.1", MILLION, NOW)) == at_list.price(
        PricingRequest("openai", "gpt-4.1", MILLION, NOW)
    )
    assert "times 1.1" in known.explain(PricingRequest("google_vertex", "claude-sonnet-4-5", MILLION, NOW)).source


def test_an_azure_deployment_of_a_span_has_the_price_of_the_users_entry(
    written: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INFRAPRISM_PRICES", str(written(CONTRACT)))
    attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "azure.ai.openai",
        "gen_ai.request.model": "my-prod",
        "gen_ai.usage.input_tokens": 1_000_000,
        "gen_ai.usage.output_tokens": 0,
    }
    for response_model in ({}, {"gen_ai.response.model": "gpt-4o-2024-08-06"}):
        event = to_event(ended(attributes | response_model))
        assert event is not None
        assert event.cost_usd == Decimal("2.75")


def test_a_processor_logs_at_its_start_that_the_file_of_prices_is_broken_and_starts(
    written: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("INFRAPRISM_PRICES", str(written("prices: 5")))
    with caplog.at_level(logging.ERROR, logger=engine.__name__):
        processors = [InfraPrismSpanProcessor(InMemorySpanExporter()) for _ in range(2)]
    assert len(caplog.records) == 1
    assert "a list 'prices'" in caplog.text
    for processor in processors:
        assert processor.delivery_stats.snapshot()["errors"] == {"prices": 1}
        processor.shutdown()


def test_without_the_variable_no_price_is_read_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("INFRAPRISM_PRICES", raising=False)
    processor = InfraPrismSpanProcessor(InMemorySpanExporter())
    processor.shutdown()
    assert prices.cache_info().currsize == 0
    assert not processor.delivery_stats.snapshot().get("errors")
