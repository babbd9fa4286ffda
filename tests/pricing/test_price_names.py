"""Spellings of providers and models, and newer names that must not get an older price."""

from __future__ import annotations

import pytest
from genai_prices.data import providers

from infraprism.pricing import PricingRequest, explain, names, table
from infraprism.schema import fields
from infraprism.schema.usage import Usage

NOW = 1_795_435_200 * 10**9
SOME = Usage(1000, 1000)


def found(provider: str, model: str, **where: str) -> tuple[str, str]:
    explained = explain(PricingRequest(provider, model, SOME, NOW, **where))
    return explained.provider, explained.model


@pytest.mark.parametrize(
    ("spelling", "provider"),
    [
        ("openai", "openai"),
        ("OpenAI", "openai"),
        ("openai.chat", "openai"),
        ("az.ai.openai", "azure"),
        ("az.ai.inference", "azure"),
        ("azure.ai.openai", "azure"),
        ("azure.ai.inference", "azure"),
        ("azure", "azure"),
        ("aws.bedrock", "aws"),
        ("aws_bedrock", "aws"),
        ("gcp.gen_ai", "google"),
        ("gcp.gemini", "google"),
        ("gcp.vertex_ai", "google"),
        ("gemini", "google"),
        ("vertex_ai", "google"),
        ("google_gemini", "google"),
        ("google_vertex", "google"),
        ("anthropic", "anthropic"),
        ("anthropic.messages", "anthropic"),
        ("x_ai", "x-ai"),
        ("xai", "x-ai"),
        ("mistral_ai", "mistral"),
        ("mistralai", "mistral"),
        ("cohere", "cohere"),
        ("groq", "groq"),
        ("deepseek", "deepseek"),
        ("perplexity", "perplexity"),
        ("moonshot_ai", "moonshotai"),
        ("openrouter", "openrouter"),
        ("together_ai", "together"),
        ("z.ai", "zai"),
        ("zhipu", ""),
        ("ibm.watsonx.ai", ""),
        ("my-gateway.chat", ""),
        ("langchain", ""),
        ("strands-agents", ""),
        ("", ""),
    ],
)
def test_every_spelling_of_the_conventions_has_its_price_list(spelling: str, provider: str) -> None:
    assert names.price_list_of(spelling) == provider


def test_both_google_services_have_one_price_list_and_providers_without_prices_have_none() -> None:
    priced = {provider: names.price_list_of(provider) for provider in fields.PROVIDERS}
    assert priced["ollama"] == priced["other"] == ""
    assert priced["google_gemini"] == priced["google_vertex"] == "google"


@pytest.mark.parametrize(
    ("provider", "model", "meant"),
    [
        ("openai", "gpt-4o-2024-08-06", "gpt-4o"),
        ("openai", "GPT-4o", "gpt-4o"),
        ("openai", "gpt-4o-2024-05-13", "gpt-4o-2024-05-13"),
        ("openai", "openai/gpt-4o", "gpt-4o"),
        ("openai", "gpt-5.2-20251211", "gpt-5.2"),
        ("openai", "ft:gpt-4o-mini-2024-07-18:acme::a1", "ft:gpt-4o-mini"),
        ("openai", "ft:gpt-4.1-2025-04-14:acme:suffix:a1", "ft:gpt-4.1"),
        ("openai", "ft:gpt-3.5-turbo-0125:acme::a1", "ft:gpt-3.5-turbo-"),
        ("azure", "gpt-35-turbo", "gpt-3.5-turbo"),
        ("azure", "openai/gpt-4o", "gpt-4o"),
        ("azure", "azure/gpt-4o", "gpt-4o"),
        ("azure", "o4-mini-2025-04-16", "o4-mini"),
        ("gcp.gemini", "models/gemini-2.5-pro", "gemini-2.5-pro"),
        ("gcp.gemini", "gemini/gemini-2.5-pro", "gemini-2.5-pro"),
        ("gcp.gemini", "gemini-2.5-pro-preview-06-05", "gemini-2.5-pro"),
        ("gcp.vertex_ai", "publishers/google/models/gemini-2.5-flash", "gemini-2.5-flash"),
        ("gcp.vertex_ai", "projects/p/locations/l/publishers/google/models/gemini-2.5-flash", "gemini-2.5-flash"),
        ("gcp.vertex_ai", "publishers/anthropic/models/claude-sonnet-4-5@20250929", "claude-sonnet-4-5"),
        ("gcp.vertex_ai", "anthropic/claude-sonnet-4-5", "claude-sonnet-4-5"),
        (
            "aws.bedrock",
            "eu.anthropic.claude-3-5-haiku-20241022-v1:0",
            "regional.anthropic.claude-3-5-haiku-20241022-v1:0",
        ),
        ("aws.bedrock", "bedrock/converse/amazon.nova-lite-v1:0", "amazon.nova-lite-v1:0"),
        ("aws.bedrock", "us.amazon.nova-pro-v1:0", "amazon.nova-pro-v1:0"),
        ("aws.bedrock", "arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-pro-v1:0", "amazon.nova-pro-v1:0"),
        (
            "aws.bedrock",
            "arn:aws:bedrock:us-east-1:123456789012:inference-profile/global.anthropic.claude-opus-4-5-20251101-v1:0",
            "global.anthropic.claude-opus-4-5-v1:0",
        ),
        ("aws.bedrock", "mistral.mistral-large-2407-v1:0", "mistral.mistral-large-2407"),
        # OpenLLMetry removes profile and maker.
        ("aws.bedrock", "nova-pro-v1:0", "amazon.nova-pro-v1:0"),
        ("aws.bedrock", "llama3-1-70b-instruct-v1:0", "meta.llama3-1-70b-instruct-v1:0"),
        ("aws.bedrock", "mistral-large-2407-v1:0", "mistral.mistral-large-2407"),
        ("anthropic", "claude-haiku-4-5-20251001", "claude-haiku-4-5"),
        ("anthropic", "anthropic/claude-opus-5", "claude-opus-5"),
        ("xai", "xai/grok-4", "grok-4-0709"),
        ("openrouter", "openrouter/anthropic/claude-sonnet-4.5", "anthropic/claude-sonnet-4.5"),
        ("fireworks", "accounts/fireworks/models/deepseek-v3p1", None),
    ],
)
def test_prefixes_and_suffixes_of_a_name_do_not_change_the_price(provider: str, model: str, meant: str | None) -> None:
    if meant is None:
        assert found(provider, model)[0] in {"fireworks", ""}
    else:
        assert found(provider, model)[1] == meant


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("anthropic", "claude-opus-5-7"),
        ("anthropic", "claude-opus-6"),
        ("anthropic", "claude-sonnet-4-55"),
        ("anthropic", "claude-opus-4-6-turbo"),
        ("openai", "gpt-5.7"),
        ("openai", "gpt-5.4-unknown"),
        ("openai", "gpt-4o-2027-01-01"),
        ("openai", "gpt-4o-mini-audio-preview-pro"),
        ("openai", "ft:gpt-5-2025-08-07:acme::a1"),
        ("openai", "xgpt-4o"),
        ("google", "gemini-3.6-flash-lite"),
        ("google", "gemini-2.5-pro-ultra"),
        ("google", "my-claude-3-5-haiku-killer"),
        ("google", "projects/p/locations/l/endpoints/1234"),
        ("deepseek", "deepseek-r1-distill-llama-70b"),
        ("deepseek", "deepseek-v4-flash-max"),
        ("aws", "amazon.nova-lite-2-v9:0x"),
        ("aws", "nova-lite-2-v9:0x"),
        ("aws", "unknown.nova-pro-v1:0"),
        ("aws", "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abcdef"),
        ("azure", "my-prod"),
        ("azure", "gpt-4o-prod-eu"),
        ("other", "gpt-4o"),
        ("ollama", "gpt-oss-120b"),
    ],
)
def test_a_newer_or_unknown_name_does_not_get_another_models_price(provider: str, model: str) -> None:
    assert explain(PricingRequest(provider, model, SOME, NOW)).price.status == "unknown_model"


def test_a_region_selects_the_inference_profile_of_an_id_without_one() -> None:
    plain = "anthropic.claude-haiku-4-5-20251001-v1:0"
    assert found("aws_bedrock", plain, region="global")[1].startswith("global.")
    assert found("aws_bedrock", plain, region="us")[1].startswith("regional.")
    assert found("aws_bedrock", plain, region="us-east-1")[1].startswith("regional.")


def test_hugging_face_is_priced_by_the_inference_provider_in_the_name() -> None:
    assert found("huggingface", "meta-llama/Llama-3.3-70B-Instruct:together")[0] == "huggingface_together"
    assert found("huggingface", "meta-llama/Llama-3.3-70B-Instruct")[0] == ""
    assert found("huggingface", "meta-llama/Llama-3.3-70B-Instruct:unknown")[0] == ""


def test_every_id_of_the_table_is_the_same_model_in_the_package() -> None:
    different, compared = set(), 0
    for provider in providers:
        compiled = table.provider(provider.id)
        for model in compiled or ():
            assert compiled is not None
            if provider.id == "aws" and "/" in model.id:
                continue  # a region or profile with rates of its own; the package has none
            ours, theirs = compiled.find(model.id.lower()), provider.find_model(model.id)
            compared += 1
            if ours is not None and theirs is not None and ours.id != theirs.id:
                different.add((provider.id, ours.id, theirs.id))
    # The package finds each of these under the pattern of a shorter name.
    assert different == {
        ("openai", "gpt-4o-audio-preview-2024-10-01", "gpt-4o-audio-preview"),
        ("openai", "gpt-4o-mini-search-preview", "gpt-4o-mini"),
        ("google", "gemini-1.5-flash-8b", "gemini-1.5-flash"),
        ("mistral", "mistral-large-latest", "mistral-large"),
        ("azure", "o4-mini-deep-research", "o4-mini"),
    }
