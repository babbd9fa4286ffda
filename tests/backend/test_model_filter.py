"""The model filter finds a model and its snapshots, with and without a provider's prefix, and no other model."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from tests.kit.backend import Answer, Backend, span
from tests.kit.events import event

FAMILIES = {
    "gpt-4o": [
        *("gpt-4o", "gpt-4o-2024-05-13", "gpt-4o-2024-08-06", "gpt-4o-latest"),
        *("openai/gpt-4o", "openai/gpt-4o-2024-08-06", "openrouter/openai/gpt-4o"),
    ],
    "openai/gpt-4o": [
        *("gpt-4o", "gpt-4o-2024-05-13", "gpt-4o-2024-08-06", "gpt-4o-latest"),
        *("openai/gpt-4o", "openai/gpt-4o-2024-08-06", "openrouter/openai/gpt-4o"),
    ],
    "azure/gpt-4o": ["gpt-4o", "gpt-4o-2024-05-13", "gpt-4o-2024-08-06", "gpt-4o-latest"],
    "openrouter/openai/gpt-4o-2024-08-06": ["gpt-4o-2024-08-06", "openai/gpt-4o-2024-08-06"],
    "Llama-3.3-70B": ["meta-llama/Llama-3.3-70B"],
    "llama.gguf": ["llama.gguf"],
    "/models/llama.gguf": ["/models/llama.gguf"],
    "gpt-4o-mini": ["gpt-4o-mini", "gpt-4o-mini-2024-07-18"],
    "gpt-4o-2024-08-06": ["gpt-4o-2024-08-06", "openai/gpt-4o-2024-08-06"],
    "gpt-4": ["gpt-4", "gpt-4-0613"],
    "claude-opus-4": ["claude-opus-4-20250514", "claude-opus-4@20250514"],
    "claude-opus-4-1": ["claude-opus-4-1-20250805"],
    "anthropic.claude-3-haiku": ["anthropic.claude-3-haiku-20240307-v1:0"],
    "gemini-2.0-flash": ["gemini-2.0-flash-001"],
    "gemini-2.5-pro-preview": ["gemini-2.5-pro-preview-05-06"],
    "command-r": ["command-r-08-2024"],
    "mistral-large": ["mistral-large-2411"],
    "gpt": [],
    "gpt-4o-": [],
    "openai/": [],
    "openai//gpt-4o": [],
    "openai": [],
    "(gpt-4o|gpt-4)": [],
    "gpt-4o\\": [],
    "g%": [],
    "gpt.4o": [],
}
MODELS = sorted(
    {model for models in FAMILIES.values() for model in models} | {"gpt-4-32k", "gemini-2.0-flash-lite-001"}
)


@pytest.fixture(scope="module")
def get(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Answer]]:
    with Backend(tmp_path_factory.mktemp("models") / "data") as running:
        events = [event(number, model=model) for number, model in enumerate(MODELS, 1)]
        assert running.export(*map(span, events)).rejected == 0
        yield running.get


@pytest.mark.parametrize(("family", "models"), FAMILIES.items())
def test_a_family_finds_itself_and_its_snapshots(get: Callable[..., Answer], family: str, models: list[str]) -> None:
    assert sorted(found["model"] for found in get("/v1/events", model=family).json["data"]) == models
    body = get("/v1/analytics/costs", model=family, start_date="2020-01-01", group_by="model").json
    assert sorted(row["model"] for row in body["data"]) == models
    assert body["summary"]["models"] == models


def test_without_a_model_filter_the_summary_names_no_models(get: Callable[..., Answer]) -> None:
    assert "models" not in get("/v1/analytics/costs").json["summary"]
