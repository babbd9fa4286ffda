from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infraprism.providers.detection import provider_in_scope, provider_of
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
def test_the_host_has_precedence_over_the_recorded_name(host: str, provider: str) -> None:
    assert provider_of(host, "openai", "gpt-4o") == provider
    assert provider_of(host, "anthropic", None) == provider


@pytest.mark.parametrize("host", [None, "", "127.0.0.1", "localhost", "llm.corp.example", "evil-openai.com", "::1"])
def test_with_an_unknown_host_the_recorded_name_decides(host: str | None) -> None:
    assert provider_of(host, "mistral_ai", "gpt-4o") == "mistral"


@pytest.mark.parametrize(
    ("spelling", "provider"),
    [
        ("aws.bedrock", "aws_bedrock"),
        ("azure.ai.openai", "azure"),
        ("microsoft.foundry", "azure"),
        ("ChatOpenAI", "openai"),
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
        ("MistralAI", "mistral"),
        ("gcp.gen_ai", "google_gemini"),
        ("azure_ai_inference", "azure"),
        ("langchain_google_vertexai", "google_vertex"),
    ],
)
def test_old_and_new_spellings_of_a_provider_are_known(spelling: str, provider: str) -> None:
    assert provider_of(None, spelling, None) == provider


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
def test_the_model_decides_only_where_one_provider_alone_serves_it(model: str | None, provider: str) -> None:
    assert provider_of(None, "langchain", model) == provider


@pytest.mark.parametrize(
    ("spelling", "model", "provider"),
    [
        ("google", "gemini-2.5-flash", "google_gemini"),
        ("Google", "projects/p/locations/us-central1/publishers/google/models/gemini-2.0-flash", "google_vertex"),
        ("gcp.vertex.agent", "gemini-2.5-flash", "google_gemini"),
        ("gcp.vertex.agent", "openai/gpt-4o-mini", "openai"),
        ("gcp.vertex.agent", "bedrock/my-profile", "aws_bedrock"),
        ("openrouter", "openai/gpt-4o-mini", "openrouter"),
    ],
)
def test_the_model_determines_the_service_of_a_company_with_several(spelling: str, model: str, provider: str) -> None:
    assert provider_of(None, spelling, model) == provider


@pytest.mark.parametrize(
    ("scope", "spelling"),
    [
        ("opentelemetry.instrumentation.vertexai", "vertexai"),
        ("opentelemetry.instrumentation.openai.v1", "openai"),
        ("openinference.instrumentation.google_genai", "google_genai"),
        ("@traceloop/instrumentation-bedrock", "bedrock"),
        ("opentelemetry.instrumentation.openai_agents", None),
        ("my.tracer", None),
    ],
)
def test_a_scope_name_contains_the_provider_of_the_client(scope: str, spelling: str | None) -> None:
    assert provider_in_scope(scope) == spelling


@given(st.none() | st.text(), st.none() | st.text(), st.none() | st.text())
def test_the_provider_is_always_in_the_closed_list(a: str | None, b: str | None, c: str | None) -> None:
    assert provider_of(a, b, c) in PROVIDERS


@pytest.mark.parametrize("spelling", ["openai \u5bc6\u7801", "\u03bfpenai", "open ai customer", "xopenai", ""])
def test_text_that_is_not_a_spelling_names_no_provider(spelling: str) -> None:
    assert provider_of(None, spelling, None) == "other"
