"""Every host and spelling leads to its provider and price list, and every price list is the target of one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from tests.kit.spans import START_NS, ended

from infraprism.pricing import PricingRequest, explain, price, table
from infraprism.processor import to_event
from infraprism.providers.detection import provider_of
from infraprism.providers.regions import region_of
from infraprism.providers.table import PROVIDERS, VAGUE_SPELLINGS, Provider
from infraprism.schema import fields
from infraprism.schema.event import Event
from infraprism.schema.usage import Usage

SOME = Usage(1000, 1000)
INPUT_ALONE = Usage(1000, 0)
HOSTS_OF_PATTERNS = {
    "aws_bedrock": ["bedrock-runtime.us-east-1.amazonaws.com", "bedrock.eu-west-1.api.aws"],
    "google_vertex": ["us-central1-aiplatform.googleapis.com"],
}
HUGGING_FACE = "huggingface"

BY_NAME = {provider.name: provider for provider in PROVIDERS}


def priced_models(price_list: str) -> Iterator[tuple[str, Usage]]:
    """Names of models of a price list, each with a usage that it has rates for; none implies another provider."""
    models = json.loads((table.DATA / f"{price_list}.json").read_text("utf-8"))["models"]
    for name in (name for model in models for name in (model["id"].lower(), *model["match"].get("is", ()))):
        suffix = price_list.partition("_")[2]
        called = f"{name}:{suffix}" if suffix else name
        for usage in (SOME, INPUT_ALONE):
            request = PricingRequest((suffix and HUGGING_FACE) or price_list, called, usage, START_NS)
            implied = BY_NAME.get(provider_of(None, None, called))
            if (implied is None or implied.price_list == price_list) and price(request).status == "priced":
                yield called, usage


@cache
def a_call(price_list: str) -> tuple[str, Usage]:
    return next(priced_models(price_list))


def price_lists(provider: Provider) -> list[str]:
    if provider.price_list == HUGGING_FACE:
        return [name for name in table.about()["providers"] if name.startswith(f"{HUGGING_FACE}_")]
    return [] if provider.price_list is None else [provider.price_list]


def event(model: str, usage: Usage, **attributes: Any) -> Event:
    recorded = {key.replace("__", "."): value for key, value in attributes.items()}
    call = {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": model,
        "gen_ai.usage.input_tokens": usage.input_tokens,
        "gen_ai.usage.output_tokens": usage.output_tokens,
    }
    found = to_event(
        ended(
            call | recorded,
        )
    )
    assert found is not None
    return found


def hosts(provider: Provider) -> list[str]:
    return [*provider.hosts, *(f"api.{host}" for host in provider.hosts), *HOSTS_OF_PATTERNS.get(provider.name, [])]


def spellings(provider: Provider) -> list[str]:
    """The spellings of the table, in upper case, without punctuation, and in the quotes of JSON."""
    written = [provider.name, *provider.spellings]
    return [
        *written,
        *map(str.upper, written),
        *(re.sub("[._-]", "", name) for name in written),
        *(f'"{name}"' for name in written),
    ]


def test_the_table_has_the_providers_of_the_closed_list_in_its_order() -> None:
    assert (*(provider.name for provider in PROVIDERS), "other") == fields.PROVIDERS


def test_every_provider_with_host_patterns_has_example_hosts_here() -> None:
    assert {provider.name for provider in PROVIDERS if provider.host_patterns} == HOSTS_OF_PATTERNS.keys()


@pytest.mark.parametrize("provider", PROVIDERS, ids=lambda provider: provider.name)
def test_every_host_leads_to_its_provider_and_price_list(provider: Provider) -> None:
    for host in hosts(provider):
        for recorded in ("openai", "anthropic", None):
            assert provider_of(host, recorded, "gpt-4o") == provider.name
        for price_list in price_lists(provider):
            model, usage = a_call(price_list)
            found = event(model, usage, server__address=host, gen_ai__provider__name="openai")
            expected = explain(PricingRequest(provider.name, model, usage, START_NS, region=region_of(host)))
            # Azure Government has prices of its own, which are not in the table.
            status = "incomplete" if host.endswith(".azure.us") else "priced"
            assert (found.provider, found.cost_status, found.cost_usd) == (
                provider.name,
                status,
                expected.price.cost_usd,
            )
            assert expected.provider == price_list


@pytest.mark.parametrize("provider", PROVIDERS, ids=lambda provider: provider.name)
def test_every_spelling_leads_to_its_provider_and_price_list(provider: Provider) -> None:
    for spelling in spellings(provider):
        assert provider_of(None, spelling, None) == provider.name
        for price_list in price_lists(provider):
            model, usage = a_call(price_list)
            found = event(model, usage, gen_ai__provider__name=spelling)
            expected = explain(PricingRequest(spelling, model, usage, START_NS))
            assert (found.provider, found.cost_status, found.cost_usd) == (
                provider.name,
                "priced",
                expected.price.cost_usd,
            )
            assert expected.provider == price_list


@pytest.mark.parametrize("provider", [p for p in PROVIDERS if p.price_list is None], ids=lambda provider: provider.name)
def test_a_provider_without_price_list_has_no_price_in_any_spelling(provider: Provider) -> None:
    for spelling in spellings(provider):
        assert price(PricingRequest(spelling, "gpt-4o", SOME, START_NS)).status == "unknown_model"


def test_every_price_list_is_that_of_a_provider_with_a_host() -> None:
    reached = {name for provider in PROVIDERS if hosts(provider) for name in price_lists(provider)}
    assert reached == set(table.about()["providers"])


def test_z_ai_and_bigmodel_have_their_own_prices_and_zhipu_alone_has_none() -> None:
    both = {name for price_list in ("zai", "zhipuai") for name, _ in priced_models(price_list)}
    assert len(both) > 15
    for model in both:
        assert event(model, SOME, gen_ai__provider__name="zhipu").cost_status == "unknown_model"
    assert event("glm-4.6", SOME, server__address="api.z.ai").provider == "zai"
    assert event("glm-4-plus", SOME, server__address="open.bigmodel.cn").provider == "bigmodel"


@pytest.mark.parametrize("spelling", VAGUE_SPELLINGS)
def test_a_vague_spelling_gives_precedence_to_the_model(spelling: str) -> None:
    assert provider_of(None, spelling, "claude-sonnet-4-5@20250929") == "google_vertex"
    assert provider_of(None, spelling, "openai/gpt-4o") == "openai"
