"""Clients of the vendors' packages for the local provider."""

from __future__ import annotations

from collections.abc import Iterator

import anthropic
import openai
import pytest
from tests.kit.provider import ANTHROPIC_KEY, OPENAI_KEY, provider

from infraprism.local_provider import LocalProvider

__all__ = ["provider"]


@pytest.fixture
def chat(provider: LocalProvider) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=provider.openai_base_url, api_key=OPENAI_KEY, max_retries=0) as client:
        yield client


@pytest.fixture
def azure(provider: LocalProvider) -> Iterator[openai.AzureOpenAI]:
    with openai.AzureOpenAI(
        azure_endpoint=provider.azure_endpoint, api_key=OPENAI_KEY, api_version="2024-10-21", max_retries=0
    ) as client:
        yield client


@pytest.fixture
def claude(provider: LocalProvider) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=provider.anthropic_base_url, api_key=ANTHROPIC_KEY, max_retries=0) as client:
        yield client
