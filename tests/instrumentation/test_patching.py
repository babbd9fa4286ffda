"""What stands in a client package is the package's own in all that an application can ask of it, and comes back."""

from __future__ import annotations

import asyncio
import copy
import importlib
import inspect
from types import SimpleNamespace
from typing import Any

import anthropic
import openai
import pytest
from opentelemetry.sdk.trace import TracerProvider
from tests.instrumentation.conftest import Recorded
from tests.kit.client_calls import MESSAGES, client

from infraprism.instrumentation import (
    answers,
    api_client,
    call,
    instrument,
    instrumentor,
    status,
    streams,
    uninstrument,
)
from infraprism.instrumentation.patching import Patch, Patches
from infraprism.local_provider import LocalProvider

BASES = [
    (getattr(importlib.import_module(f"{package}._base_client"), name), package)
    for package in ("openai", "anthropic")
    for name in ("SyncAPIClient", "AsyncAPIClient")
]
METHODS: list[tuple[Any, str]] = [
    (openai.resources.chat.Completions, "create"),
    (openai.resources.chat.AsyncCompletions, "create"),
    (openai.resources.Embeddings, "create"),
    (openai.OpenAI, "post"),
    (anthropic.resources.Messages, "create"),
    (anthropic.resources.AsyncMessages, "stream"),
]


@pytest.mark.parametrize(("base", "package"), BASES, ids=lambda found: getattr(found, "__name__", found))
def test_request_keeps_its_face_and_uninstrument_puts_back_the_very_original(base: Any, package: str) -> None:
    original = base.request
    instrument(TracerProvider())
    replaced = base.request
    assert replaced is not original
    assert inspect.signature(replaced) == inspect.signature(original)
    assert (replaced.__doc__, replaced.__name__, replaced.__qualname__, replaced.__module__) == (
        original.__doc__,
        original.__name__,
        original.__qualname__,
        original.__module__,
    )
    assert inspect.iscoroutinefunction(replaced) == inspect.iscoroutinefunction(original)
    instrument(TracerProvider())
    assert base.request is replaced
    uninstrument()
    assert base.request is original
    uninstrument()
    assert base.request is original


@pytest.mark.parametrize(("owner", "name"), METHODS, ids=lambda found: getattr(found, "__name__", found))
def test_no_method_that_applications_know_is_replaced(owner: Any, name: str) -> None:
    before = getattr(owner, name)
    instrument(TracerProvider())
    assert getattr(owner, name) is before


def test_clients_made_before_and_copied_clients_are_observed(provider: LocalProvider) -> None:
    old = client("openai", provider, asynchronous=False)
    recorded = Recorded()
    instrument(recorded.provider)
    for one in (old, old.with_options(max_retries=1), old.copy(), copy.copy(old)):
        one.chat.completions.create(model="gpt-4o", messages=MESSAGES)
    assert len(recorded.spans) == len(provider.calls) == 4
    old.close()


def test_a_wrapper_of_somebody_else_on_top_of_ours_survives_uninstrument(provider: LocalProvider) -> None:
    base = BASES[0][0]
    original = base.request
    recorded = Recorded()
    instrument(recorded.provider)
    ours, seen = base.request, []

    def theirs(*args: Any, **kwargs: Any) -> Any:
        seen.append(1)
        return ours(*args, **kwargs)

    base.request = theirs
    try:
        uninstrument()
        assert base.request is theirs
        opened = client("openai", provider, asynchronous=False)
        opened.chat.completions.create(model="gpt-4o", messages=MESSAGES)
        opened.close()
        assert (len(seen), len(recorded.spans)) == (1, 0)
    finally:
        base.request = original


def test_patches_come_back_in_reverse_order() -> None:
    owner = SimpleNamespace(work=lambda: ["original"])
    original = owner.work

    def layer(name: str) -> Any:
        return lambda inner, switch: lambda: [name, *inner()] if switch.on else inner()

    lower = Patches([Patch(owner, "work", layer("lower"))])
    lower.apply()
    upper = Patches([Patch(owner, "work", layer("upper"))])
    upper.apply()
    assert owner.work() == ["upper", "lower", "original"]
    lower.restore()
    assert owner.work() == ["upper", "original"]
    upper.restore()
    lower.restore()
    assert owner.work is original


def test_status_says_what_is_instrumented_and_why_not(monkeypatch: pytest.MonkeyPatch) -> None:
    assert {(one.name, one.supported, one.instrumented) for one in status()} == {
        ("openai", True, False),
        ("anthropic", True, False),
    }
    assert all("instrument()" in one.reason for one in status())
    instrument(TracerProvider())
    assert all(one.instrumented and not one.reason for one in status())
    uninstrument()

    versions = {"openai": "1.2.3", "anthropic": "99.0"}
    monkeypatch.setattr(instrumentor, "version", versions.__getitem__)
    monkeypatch.setattr(instrumentor, "PackageNotFoundError", KeyError)
    old, new = status()
    assert (old.supported, new.supported) == (False, True)
    assert "1.2.3" in old.reason
    assert "1.55.3" in old.reason
    del versions["openai"]
    assert status()[0].reason == "it is not installed"
    assert status()[0].installed_version is None
    instrument(TracerProvider())
    assert [one.instrumented for one in status()] == [False, True]


@pytest.mark.parametrize(
    ("text", "release"), [("1.55.3", (1, 55, 3)), ("2.0.0rc1", (2, 0, 0)), ("3.1.dev4+x", (3, 1)), ("", ())]
)
def test_a_version_is_compared_by_the_numbers_it_begins_with(text: str, release: tuple[int, ...]) -> None:
    assert instrumentor._release(text) == release


def test_a_package_of_an_unknown_shape_is_left_alone_and_reported(
    monkeypatch: pytest.MonkeyPatch, provider: LocalProvider
) -> None:
    monkeypatch.delattr(importlib.import_module("anthropic._base_client"), "AsyncAPIClient")
    instrument(TracerProvider())
    openai_status, anthropic_status = status()
    assert openai_status.instrumented
    assert not anthropic_status.instrumented
    assert "shape" in anthropic_status.reason


def test_an_error_of_ours_never_reaches_the_application(
    monkeypatch: pytest.MonkeyPatch, provider: LocalProvider
) -> None:
    def broken(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("ours")

    opened = client("openai", provider, asynchronous=False)
    recorded = Recorded()
    instrument(recorded.provider)
    before = sum(call.tally.snapshot()["errors"].values())
    for module, name in (
        (api_client, "_server_of"),
        (call, "take"),
        (call, "get"),
        (answers, "take"),
        (streams, "watch"),
        (call, "time_ns"),
    ):
        with monkeypatch.context() as patched:
            patched.setattr(module, name, broken)
            answer = opened.chat.completions.create(model="gpt-4o", messages=MESSAGES)
            assert answer.usage is not None
            chunks = list(opened.chat.completions.create(model="gpt-4o", messages=MESSAGES, stream=True))
            assert chunks
    assert sum(call.tally.snapshot()["errors"].values()) > before
    opened.close()


def test_instrument_takes_no_part_in_an_event_loop(provider: LocalProvider) -> None:
    """Clients of different loops, as of different asyncio.run, share nothing through us."""
    recorded = Recorded()
    instrument(recorded.provider)

    async def call() -> None:
        async with client("anthropic", provider, asynchronous=True) as opened:
            await opened.messages.create(model="claude-haiku-4-5", messages=MESSAGES, max_tokens=5)

    for _ in range(3):
        asyncio.run(call())
    assert len(recorded.spans) == 3
