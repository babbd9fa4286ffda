"""The host of a call names its region, and the price follows the region."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest
from tests.kit.spans import CALL, ended

from infraprism.pricing import PricingRequest, explain
from infraprism.pricing.table import provider
from infraprism.processor import to_event
from infraprism.providers.detection import HOST_PATTERNS, provider_of
from infraprism.providers.regions import BEDROCK_REGIONS, closed_forms, closed_hosts, region_of
from infraprism.schema.usage import Usage

LARGE = "mistral.mistral-large-2402-v1:0"


@pytest.mark.parametrize(
    ("host", "region"),
    [
        *((f"{region}.api.openai.com", region) for region in ("us", "eu", "ae", "au", "in", "jp")),
        ("https://EU.api.openai.com:443/v1", "eu"),
        ("kr.api.openai.com", "kr"),
        ("api.openai.com", None),
        ("eu.api.openai.com.evil.example", None),
        ("us-central1-aiplatform.googleapis.com", "us-central1"),
        ("global-aiplatform.googleapis.com", "global"),
        ("aiplatform.googleapis.com", None),
        ("aiplatform.us.rep.googleapis.com", "us"),
        ("aiplatform.eu.rep.googleapis.com", "eu"),
        ("bedrock-runtime.eu-west-3.amazonaws.com", "eu-west-3"),
        ("bedrock-runtime.us-gov-west-1.amazonaws.com", "us-gov"),
        ("my-resource.openai.azure.com", None),
        ("my-resource.openai.azure.us", "usgov"),
        ("my-endpoint.swedencentral.models.ai.azure.com", "swedencentral"),
        ("api.eu.mistral.ai", "eu"),
        ("api.us.mistral.ai", "us"),
        ("api.mistral.ai", None),
        ("codestral.mistral.ai", None),
        ("api.anthropic.com", None),
        ("127.0.0.1", None),
        (None, None),
    ],
)
def test_a_region_is_read_from_the_host(host: str | None, region: str | None) -> None:
    assert region_of(host) == region


@pytest.mark.parametrize(
    ("host", "provider", "model", "cost_usd"),
    [
        *(
            (f"{region}.api.openai.com", "openai", "gpt-5.4", "0.0044")
            for region in ("us", "eu", "ae", "au", "in", "jp")
        ),
        ("api.openai.com", "openai", "gpt-5.4", "0.004"),
        ("eu.api.openai.com", "openai", "gpt-4o", "0.0035"),
        ("kr.api.openai.com", "openai", "gpt-5.4", None),
        ("us-east5-aiplatform.googleapis.com", "anthropic", "claude-sonnet-4-5@20250929", "0.00495"),
        ("aiplatform.eu.rep.googleapis.com", "anthropic", "claude-sonnet-4-5@20250929", "0.00495"),
        ("aiplatform.googleapis.com", "anthropic", "claude-sonnet-4-5@20250929", "0.0045"),
        ("aiplatform.us.rep.googleapis.com", "gcp.vertex_ai", "gemini-3.5-flash", "0.00264"),
        ("aiplatform.googleapis.com", "gcp.vertex_ai", "gemini-3.5-flash", "0.0024"),
        ("us-central1-aiplatform.googleapis.com", "gcp.vertex_ai", "gemini-2.5-flash", "0.00055"),
        ("us-central1-aiplatform.googleapis.com", "gcp.vertex_ai", "gemini-3-pro-preview", None),
        ("bedrock-runtime.eu-west-3.amazonaws.com", "aws.bedrock", "eu.anthropic.claude-sonnet-4-6", "0.00495"),
        ("bedrock-runtime.us-gov-west-1.amazonaws.com", "aws.bedrock", "anthropic.claude-sonnet-4-6", None),
        ("my-resource.openai.azure.us", "azure.ai.openai", "gpt-4o", None),
        ("api.mistral.ai", "mistral_ai", "mistral-large-latest", "0.00065"),
        ("api.eu.mistral.ai", "mistral_ai", "mistral-large-latest", "0.000715"),
        ("api.us.mistral.ai", "mistral_ai", "mistral-large-latest", "0.000715"),
        ("api.jp.mistral.ai", "mistral_ai", "mistral-large-latest", None),
        # Bedrock: the rates of the region or of the profile, and none where they are not known.
        ("bedrock-runtime.us-east-1.amazonaws.com", "aws.bedrock", LARGE, "0.0052"),
        ("bedrock-runtime.us-west-2.amazonaws.com", "aws.bedrock", LARGE, "0.0052"),
        ("bedrock-runtime.eu-west-3.amazonaws.com", "aws.bedrock", LARGE, "0.00676"),
        ("bedrock-runtime.eu-west-3.amazonaws.com", "aws.bedrock", "mistral-large-2402-v1:0", "0.00676"),
        ("bedrock-runtime.eu-central-1.amazonaws.com", "aws.bedrock", LARGE, None),
        ("bedrock.any.amazonaws.com", "aws.bedrock", LARGE, None),
        ("127.0.0.1", "aws.bedrock", f"arn:aws:bedrock:eu-west-3::foundation-model/{LARGE}", "0.00676"),
        ("127.0.0.1", "aws.bedrock", f"arn:aws:bedrock:eu-central-1::foundation-model/{LARGE}", None),
        ("127.0.0.1", "aws.bedrock", f"bedrock/eu-west-3/{LARGE}", "0.00676"),
        ("127.0.0.1", "aws.bedrock", f"bedrock/eu-central-1/{LARGE}", None),
        ("bedrock-runtime.eu-north-1.amazonaws.com", "aws.bedrock", "amazon.nova-lite-v1:0", None),
        ("bedrock-runtime.eu-north-1.amazonaws.com", "aws.bedrock", "eu.amazon.nova-lite-v1:0", "0.0001092"),
        ("127.0.0.1", "aws.bedrock", "eu.amazon.nova-lite-v1:0", "0.0001092"),
        ("127.0.0.1", "aws.bedrock", "us.amazon.nova-lite-v1:0", "0.000084"),
        ("bedrock-runtime.ca-central-1.amazonaws.com", "aws.bedrock", "us.amazon.nova-lite-v1:0", None),
        ("bedrock-runtime.eu-central-1.amazonaws.com", "aws.bedrock", "openai.gpt-6-sol", None),
        ("127.0.0.1", "aws.bedrock", "us-gov.anthropic.claude-sonnet-4-6", None),
        ("127.0.0.1", "aws.bedrock", "eu.amazon.nova-2-lite-v1:0", "0.0007887"),
        ("127.0.0.1", "aws.bedrock", "au.amazon.nova-lite-v1:0", None),
        ("bedrock-runtime.ap-south-1.amazonaws.com", "aws.bedrock", "global.anthropic.claude-sonnet-4-6", "0.0045"),
    ],
)
def test_the_region_of_the_host_changes_the_price_of_a_span_of_any_instrumentation(
    host: str, provider: str, model: str, cost_usd: str | None
) -> None:
    found = to_event(
        ended(
            {
                **CALL,
                "gen_ai.provider.name": provider,
                "gen_ai.request.model": model,
                "gen_ai.response.model": model,
                "gen_ai.usage.input_tokens": 1000,
                "gen_ai.usage.output_tokens": 100,
                "server.address": host,
            }
        )
    )
    assert found is not None
    assert (found.cost_status, found.cost_usd) == (
        ("incomplete", None) if cost_usd is None else ("priced", Decimal(cost_usd))
    )


def test_every_host_pattern_of_a_provider_has_a_closed_host() -> None:
    hosts = {
        "us-central1-aiplatform.googleapis.com",
        "aiplatform.eu.rep.googleapis.com",
        "bedrock-runtime.me-south-1.amazonaws.com",
    }
    for pattern, _ in HOST_PATTERNS:
        matching = [host for host in hosts if re.fullmatch(pattern, host)]
        assert matching
        for host in matching:
            assert any(re.fullmatch(form, host) for form, _ in closed_forms())


def test_a_bedrock_call_in_a_region_of_unknown_price_says_so() -> None:
    usage = Usage(input_tokens=1000, output_tokens=100)
    request = PricingRequest("aws_bedrock", LARGE, usage, 1_795_000_000 * 10**9, region="eu-central-1")
    explained = explain(request)
    assert (explained.price.cost_usd, explained.price.status) == (None, "incomplete")
    assert "is not known: https://aws.amazon.com/bedrock/pricing/" in explained.missing[0]


def test_every_region_of_bedrock_with_rates_of_its_own_has_a_closed_host() -> None:
    aws = provider("aws")
    assert aws is not None
    places = {model.id.partition("/")[0] for model in aws if "/" in model.id}
    assert {place for place in places if re.fullmatch(".*-[0-9]", place)} <= set(BEDROCK_REGIONS)


def test_every_closed_host_has_the_provider_and_the_region_of_the_hosts_that_it_replaces() -> None:
    for host in closed_hosts():
        assert region_of(host) is not None
        assert provider_of(host, None, None) != "other"
    assert len(closed_forms()) <= 11
