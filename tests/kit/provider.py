"""Fixtures with the local provider, for a conftest.py or a test module to import."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from infraprism.local_provider import LocalProvider

CANARY = "CANARY-4f1c9e7a-never-leaves"
"""A text that every response of `provider` contains. Prompts should contain it as well."""
OPENAI_KEY = "sk-proj-KEYCANARY00000000000000000000wxyz"
ANTHROPIC_KEY = "sk-ant-api03-KEYCANARY00000000000000wxyz"


@pytest.fixture
def provider() -> Iterator[LocalProvider]:
    """A provider for one test, so that `calls` has only its requests."""
    with LocalProvider(canary=CANARY, slow_s=0.2) as local:
        yield local


@pytest.fixture
def provider_environment(provider: LocalProvider, monkeypatch: pytest.MonkeyPatch) -> LocalProvider:
    """The same, with the vendors' environment variables set to it."""
    monkeypatch.setenv("OPENAI_BASE_URL", provider.openai_base_url)
    monkeypatch.setenv("OPENAI_API_KEY", OPENAI_KEY)
    monkeypatch.setenv("ANTHROPIC_BASE_URL", provider.anthropic_base_url)
    monkeypatch.setenv("ANTHROPIC_API_KEY", ANTHROPIC_KEY)
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", provider.azure_endpoint)
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", "azure-KEYCANARY0000000000000wxyz")
    monkeypatch.setenv("OPENAI_API_VERSION", "2024-10-21")
    return provider
