from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infraprism.providers.model_names import model_in, operation_of, resource_name
from infraprism.schema.fields import OPERATIONS


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
def test_a_model_with_one_operation_determines_the_operation_of_the_call(
    model: str | None, operation: str | None
) -> None:
    assert operation_of(model, "chat") == operation


@given(st.none() | st.text())
def test_the_operation_of_any_model_is_in_the_closed_list(model: str | None) -> None:
    assert operation_of(model, "chat") in {*OPERATIONS, None}


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
def test_a_model_is_named_without_its_project_or_account(name: str, model: str) -> None:
    assert model_in(name) == model


@pytest.mark.parametrize(
    ("name", "region", "is_public"),
    [
        ("projects/acme-7/locations/us-central1/publishers/google/models/gemini-2.5-pro", "us-central1", True),
        ("publishers/anthropic/models/claude-sonnet-4-5@20250929", "", True),
        ("projects/acme-7/locations/europe-west1/endpoints/4711", "europe-west1", False),
        ("projects/acme-7/locations/europe-west1/models/4711", "europe-west1", False),
        ("arn:aws:bedrock:eu-west-1::foundation-model/amazon.nova-pro-v1:0", "eu-west-1", True),
        ("arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/a1b2c3", "us-east-1", False),
        ("arn:aws:sagemaker:us-east-1:123456789012:endpoint/my-llama", "us-east-1", False),
    ],
)
def test_only_models_that_the_provider_publishes_are_public(name: str, region: str, is_public: bool) -> None:
    found = resource_name(name)
    assert found is not None
    assert (found.region, found.is_public) == (region, is_public)
