"""Model names of two spans: the same model, a name that the user chose, or two models."""

from __future__ import annotations

import pytest

from infraprism.deduplication.model_names import ModelMatch, compare_models, plain_model


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("gpt-4o-mini-2024-07-18", "gpt-4o-mini"),
        ("openai/gpt-4o-mini", "gpt-4o-mini"),
        ("claude-sonnet-4-5-20250929", "claude-sonnet-4-5"),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "claude-sonnet-4-5"),
        ("models/gemini-2.5-flash-001", "gemini-2.5-flash"),
        ("claude-3-5-haiku-latest", "claude-3-5-haiku"),
        ("claude-sonnet-4@20250514", "claude-sonnet-4"),
        ("gpt-4o", "gpt-4o"),
    ],
)
def test_models_are_compared_without_provider_and_date(name: str, plain: str) -> None:
    assert plain_model(name) == plain


@pytest.mark.parametrize(
    ("one", "other", "match"),
    [
        ("gpt-4o", "gpt-4o", ModelMatch.SAME),
        ("gpt-4o-mini-prod", "gpt-4o-mini", ModelMatch.SAME),
        ("acme-gpt-4o", "gpt-4o", ModelMatch.SAME),
        ("gpt-4o", "my-deployment", ModelMatch.ALIAS),
        ("gpt-4o", "gpt-4o-mini", ModelMatch.DIFFERENT),
        ("claude-sonnet-4", "claude-sonnet-4-5", ModelMatch.DIFFERENT),
        ("claude-sonnet-4-5", "gpt-4o", ModelMatch.DIFFERENT),
        ("gemini-2.5-flash", "gemini-2.5-flash-lite", ModelMatch.ALIAS),
    ],
)
def test_two_models_of_providers_differ_and_a_deployment_is_the_model_it_is_named_after(
    one: str, other: str, match: ModelMatch
) -> None:
    assert compare_models(frozenset({one}), frozenset({other})) is match
    assert compare_models(frozenset({other}), frozenset({one})) is match


def test_a_common_name_is_enough_and_no_name_is_an_alias_of_every_model() -> None:
    assert compare_models(frozenset({"my-deployment", "gpt-4o"}), frozenset({"gpt-4o"})) is ModelMatch.SAME
    assert compare_models(frozenset(), frozenset({"gpt-4o"})) is ModelMatch.ALIAS
