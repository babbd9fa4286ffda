from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infraprism.providers.names import HINTS, HOSTS, hint_of, model_in, operation_of, provider_of
from infraprism.schema.fields import OPERATIONS, PROVIDERS


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


@pytest.mark.parametrize(
    ("hint", "model", "provider"),
    [
        ("google", "gemini-2.5-flash", "google_gemini"),
        ("Google", "projects/p/locations/us-central1/publishers/google/models/gemini-2.0-flash", "google_vertex"),
        ("gcp.vertex.agent", "gemini-2.5-flash", "google_gemini"),
        ("gcp.vertex.agent", "openai/gpt-4o-mini", "openai"),
        ("gcp.vertex.agent", "bedrock/my-profile", "aws_bedrock"),
        ("openrouter", "openai/gpt-4o-mini", "openrouter"),
    ],
)
def test_where_a_name_is_that_of_an_owner_of_several_services_the_model_says_which(
    hint: str, model: str, provider: str
) -> None:
    assert provider_of(None, hint, model) == provider


@pytest.mark.parametrize(
    ("scope", "hint"),
    [
        ("opentelemetry.instrumentation.vertexai", "vertexai"),
        ("opentelemetry.instrumentation.openai.v1", "openai"),
        ("openinference.instrumentation.google_genai", "google_genai"),
        ("@traceloop/instrumentation-bedrock", "bedrock"),
        ("opentelemetry.instrumentation.openai_agents", None),
        ("my.tracer", None),
    ],
)
def test_a_scope_is_about_the_client_that_its_name_has(scope: str, hint: str | None) -> None:
    assert hint_of(scope) == hint


@pytest.mark.parametrize(
    ("model", "operation"),
    [
        ("gpt-4o-mini", "chat"),
        ("claude-sonnet-4-5", "chat"),
        (None, "chat"),
        ("amazon.titan-embed-text-v2:0", "embeddings"),
        ("cohere.embed-english-v3", "embeddings"),
        ("nomic-embed-text", "embeddings"),
        ("rerank-v3.5", "rerank"),
        ("stability.stable-image-core-v1:0", "image"),
        ("gpt-image-1", "image"),
        ("whisper-1", "audio"),
        ("gpt-4o-transcribe", "audio"),
        ("gpt-4o-audio-preview", "chat"),
        ("gpt-3.5-turbo-instruct", "completion"),
        ("davinci-002", "completion"),
        ("gpt-3.5-turbo", "chat"),
        ("mistral-7b-instruct", "chat"),
        ("omni-moderation-latest", None),
    ],
)
def test_a_model_of_one_kind_of_work_says_what_the_call_is(model: str | None, operation: str | None) -> None:
    assert operation_of(model, "chat") == operation


@given(st.none() | st.text())
def test_whatever_the_model_the_operation_is_in_the_closed_list(model: str | None) -> None:
    assert operation_of(model, "chat") in {*OPERATIONS, None}


def test_every_provider_that_the_tables_name_is_one_of_the_closed_list() -> None:
    assert {*HOSTS.values(), *HINTS.values()} <= set(PROVIDERS)


@given(st.none() | st.text(), st.none() | st.text(), st.none() | st.text())
def test_whatever_is_asked_the_answer_is_in_the_closed_list(a: str | None, b: str | None, c: str | None) -> None:
    assert provider_of(a, b, c) in PROVIDERS


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("projects/acme-7/locations/us-central1/publishers/google/models/gemini-2.5-pro", "gemini-2.5-pro"),
        ("projects/acme-7/locations/europe-west1/endpoints/4711", "4711"),
        ("publishers/anthropic/models/claude-sonnet-4-5@20250929", "claude-sonnet-4-5@20250929"),
        ("models/gemini-2.5-flash", "gemini-2.5-flash"),
        ("arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.amazon.nova-pro-v1:0", "us.amazon.nova-pro-v1:0"),
        ("arn:aws:bedrock:eu-west-1::foundation-model/amazon.nova-pro-v1:0", "amazon.nova-pro-v1:0"),
        ("arn:aws-us-gov:bedrock:us-gov-west-1:123456789012:application-inference-profile/a1b2c3", "a1b2c3"),
        ("arn:aws:sagemaker:us-east-1:123456789012:endpoint/my-llama", "my-llama"),
        ("meta-llama/Llama-3.3-70B-Instruct-Turbo", "meta-llama/Llama-3.3-70B-Instruct-Turbo"),
        ("accounts/fireworks/models/llama-v3p1-8b-instruct", "accounts/fireworks/models/llama-v3p1-8b-instruct"),
        ("gpt-4o", "gpt-4o"),
    ],
)
def test_a_model_is_named_without_the_project_or_account_that_leads_to_it(name: str, model: str) -> None:
    assert model_in(name) == model
