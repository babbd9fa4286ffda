from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infraprism.processor.names import HINTS, HOSTS, provider_of
from infraprism.schema.fields import PROVIDERS


@pytest.mark.parametrize(
    ("host", "provider"),
    [
        ("api.openai.com", "openai"),
        ("eu.api.openai.com", "openai"),
        ("my-res.openai.azure.com", "azure"),
        ("my-res.services.ai.azure.com", "azure"),
        ("my-res.cognitiveservices.azure.com", "azure"),
        ("openrouter.ai", "openrouter"),
        ("api.groq.com", "groq"),
        ("api.deepseek.com", "deepseek"),
        ("api.mistral.ai", "mistral"),
        ("api.x.ai", "xai"),
        ("api.together.xyz", "together"),
        ("api.fireworks.ai", "fireworks"),
        ("api.perplexity.ai", "perplexity"),
        ("api.cohere.com", "cohere"),
        ("generativelanguage.googleapis.com", "google_gemini"),
        ("us-central1-aiplatform.googleapis.com", "google_vertex"),
        ("aiplatform.googleapis.com", "google_vertex"),
        ("bedrock-runtime.us-east-1.amazonaws.com", "aws_bedrock"),
        ("bedrock-runtime-fips.us-gov-west-1.amazonaws.com", "aws_bedrock"),
        ("vpce-1.bedrock-runtime.eu-west-1.vpce.amazonaws.com", "aws_bedrock"),
        ("models.github.ai", "github"),
        ("models.inference.ai.azure.com", "github"),
        ("API.OpenAI.com.", "openai"),
        ("https://api.groq.com:443/openai/v1", "groq"),
    ],
)
def test_the_host_wins_over_the_name_that_the_wrapper_gives(host: str, provider: str) -> None:
    assert provider_of(host, "openai", "gpt-4o") == provider
    assert provider_of(host, "anthropic", None) == provider


@pytest.mark.parametrize("host", [None, "", "127.0.0.1", "localhost", "llm.corp.example", "evil-openai.com", "::1"])
def test_an_unknown_host_leaves_it_to_the_hint(host: str | None) -> None:
    assert provider_of(host, "mistral_ai", "gpt-4o") == "mistral"


@pytest.mark.parametrize(
    ("hint", "provider"),
    [
        ("aws.bedrock", "aws_bedrock"),
        ("azure.ai.openai", "azure"),
        ("az.ai.openai", "azure"),
        ("az.ai.inference", "azure"),
        ("gemini", "google_gemini"),
        ("gcp.gemini", "google_gemini"),
        ("vertex_ai", "google_vertex"),
        ("gcp.vertex_ai", "google_vertex"),
        ("xai", "xai"),
        ("x_ai", "xai"),
        ("Ollama", "ollama"),
        ("openai.responses", "openai"),
        ("google.generative-ai", "google_gemini"),
        ("google.vertex.chat", "google_vertex"),
        ("ibm.watsonx.ai", "ibm_watsonx"),
        ("moonshot_ai", "moonshot"),
    ],
)
def test_old_and_new_spellings_of_a_provider_are_known(hint: str, provider: str) -> None:
    assert provider_of(None, hint, None) == provider


@pytest.mark.parametrize(
    ("model", "provider"),
    [
        ("claude-sonnet-4-5-20250929", "anthropic"),
        ("claude-sonnet-4-5@20250929", "google_vertex"),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "aws_bedrock"),
        ("amazon.nova-pro-v1:0", "aws_bedrock"),
        ("gpt-4o-mini", "openai"),
        ("o3-mini", "openai"),
        ("text-embedding-3-small", "openai"),
        ("grok-4", "xai"),
        ("sonar-pro", "perplexity"),
        ("gpt-oss-120b", "other"),
        ("gemini-2.5-pro", "other"),
        ("llama-3.3-70b", "other"),
        ("my-deployment", "other"),
        (None, "other"),
    ],
)
def test_the_model_decides_only_where_one_provider_alone_has_it(model: str | None, provider: str) -> None:
    assert provider_of(None, "langchain", model) == provider


def test_every_provider_that_the_tables_name_is_one_of_the_closed_list() -> None:
    assert {*HOSTS.values(), *HINTS.values()} <= set(PROVIDERS)


@given(st.none() | st.text(), st.none() | st.text(), st.none() | st.text())
def test_whatever_is_asked_the_answer_is_in_the_closed_list(a: str | None, b: str | None, c: str | None) -> None:
    assert provider_of(a, b, c) in PROVIDERS
