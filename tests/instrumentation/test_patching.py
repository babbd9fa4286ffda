"""The replaced methods are indistinguishable from the originals, and the originals are restored."""

from __future__ import annotations

import asyncio
import copy
import importlib
import inspect
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anthropic
import openai
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import StatusCode
from tests.kit.client_calls import MESSAGES, client
from tests.kit.recorded_spans import RecordedSpans
from wrapt import wrap_function_wrapper

from infraprism.instrumentation import (
    api_client,
    instrument,
    instrumentor,
    llm_call,
    status,
    streams,
    uninstrument,
    usage_reader,
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
def test_request_keeps_its_signature_and_uninstrument_restores_the_identical_original(base: Any, package: str) -> None:
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
def test_no_public_method_is_replaced(owner: Any, name: str) -> None:
    before = getattr(owner, name)
    instrument(TracerProvider())
    assert getattr(owner, name) is before


def test_existing_and_copied_clients_are_instrumented(provider: LocalProvider) -> None:
    old = client("openai", provider, asynchronous=False)
    recorded = RecordedSpans()
    instrument(recorded.provider)
    for each in (old, old.with_options(max_retries=1), old.copy(), copy.copy(old)):
        each.chat.completions.create(model="gpt-4o", messages=MESSAGES)
    assert len(recorded.spans) == len(provider.calls) == 4
    old.close()


def test_a_third_party_wrapper_of_our_replacement_survives_uninstrument(provider: LocalProvider) -> None:
    base = BASES[0][0]
    original = base.request
    recorded = RecordedSpans()
    instrument(recorded.provider)
    ours, calls = base.request, []

    def third_party(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        return ours(*args, **kwargs)

    base.request = third_party
    try:
        uninstrument()
        assert base.request is third_party
        opened = client("openai", provider, asynchronous=False)
        opened.chat.completions.create(model="gpt-4o", messages=MESSAGES)
        opened.close()
        assert (len(calls), len(recorded.spans)) == (1, 0)
    finally:
        base.request = original


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
def test_a_wrapper_that_existed_before_instrumentation_calls_our_replacement(
    provider: LocalProvider, *, asynchronous: bool
) -> None:
    """OpenInference wraps the inherited method `OpenAI.request`."""
    owner: Any = openai.AsyncOpenAI if asynchronous else openai.OpenAI
    instances: list[object] = []

    def third_party(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        instances.append(instance)
        return wrapped(*args, **kwargs)

    wrap_function_wrapper("openai", f"{owner.__name__}.request", third_party)
    wrapper = vars(owner)["request"]
    try:
        recorded = RecordedSpans()
        instrument(recorded.provider)
        opened = client("openai", provider, asynchronous=asynchronous)

        async def ask() -> None:
            for each in (opened, opened.with_options(max_retries=1)):
                response = each.chat.completions.create(model="gpt-4o", messages=MESSAGES)
                if asynchronous:
                    await response
            if asynchronous:
                await opened.close()
            else:
                opened.close()

        asyncio.run(ask())
        assert [type(each) for each in instances] == [owner, owner]
        assert [span.status.status_code for span in recorded.spans] == [StatusCode.UNSET] * 2
        uninstrument()
        assert vars(owner)["request"] is wrapper
        assert wrapper.__wrapped__ is vars(owner.__mro__[1])["request"]
    finally:
        del owner.request


def test_patches_are_restored_in_any_order() -> None:
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


def test_status_reports_what_is_instrumented_and_why_others_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    assert {(each.name, each.supported, each.instrumented) for each in status()} == {
        ("openai", True, False),
        ("anthropic", True, False),
    }
    assert all("instrument()" in each.reason for each in status())
    instrument(TracerProvider())
    assert all(each.instrumented and not each.reason for each in status())
    uninstrument()

    versions = {"openai": "1.2.3", "anthropic": "99.0"}
    monkeypatch.setattr(instrumentor, "version", versions.__getitem__)
    old, new = status()
    assert (old.supported, new.supported) == (False, True)
    assert "1.2.3" in old.reason
    assert "1.55.3" in old.reason
    instrument(TracerProvider())
    assert [each.instrumented for each in status()] == [False, True]


@pytest.mark.parametrize(
    ("text", "release"), [("1.55.3", (1, 55, 3)), ("2.0.0rc1", (2, 0, 0)), ("3.1.dev4+x", (3, 1)), ("", ())]
)
def test_versions_are_compared_by_their_leading_numbers(text: str, release: tuple[int, ...]) -> None:
    assert instrumentor.release(text) == release


_SUPPORTED_BASE = """
class SyncAPIClient:
    def request(self, cast_to, options): ...
class AsyncAPIClient:
    async def request(self, cast_to, options): ...
"""
INSTALLATIONS = {
    "missing": ("", "", None, "ModuleNotFoundError", "it is not installed"),
    "directory_of_the_same_name": ("", "", "folder", "ModuleNotFoundError", "it is not installed"),
    "too_old": ("1.2.3", "", "", "", "version 1.2.3 is too old: 1.55.3 is the oldest supported"),
    "files_deleted": ("99.0", "", None, "ModuleNotFoundError", ""),
    "import_fails": ("99.0", "1 / 0", "", "ZeroDivisionError", ""),
    "import_exits": ("99.0", "raise SystemExit(3)", "", "SystemExit", ""),
    "newer_without_the_classes": ("99.0", "", "", "", "version 99.0 has an unknown structure"),
    "newer_with_one_class": (
        "99.0",
        "",
        "class SyncAPIClient:\n def request(self, cast_to, options): ...",
        "",
        "version 99.0 has an unknown structure",
    ),
    "newer_without_options": (
        "99.0",
        "",
        "class SyncAPIClient:\n def request(self, cast_to, call): ...\nAsyncAPIClient = SyncAPIClient",
        "",
        "version 99.0 has an unknown structure: request takes no options",
    ),
    "newer_with_a_static_method": (
        "99.0",
        "",
        "class SyncAPIClient:\n request = staticmethod(print)\nAsyncAPIClient = SyncAPIClient",
        "",
        "version 99.0 has an unknown structure: request is no method",
    ),
    "newer_and_compatible": (
        "99.0",
        "",
        _SUPPORTED_BASE,
        "",
        "",
    ),
    "without_metadata": (
        "",
        "",
        _SUPPORTED_BASE,
        "",
        "",
    ),
    "damaged_metadata": ("broken", "", None, "ModuleNotFoundError", "it is not installed"),
}
_PRINT_STATUS = """
import sys
import openai_before
from infraprism.instrumentation import instrument, status, uninstrument
def import_client():
    try:
        import openai._base_client
        print()
    except BaseException as error:
        print(type(error).__name__)
if "before" in sys.argv:
    import_client()
instrument()
if "after" in sys.argv:
    assert "openai._base_client" not in sys.modules
    import_client()
found = status()[0]
print(found.instrumented, found.reason)
uninstrument()
openai_before.check()
"""
_BEFORE = """
import sys
def check():
    # The methods of an unsupported package must be its own.
    base = sys.modules.get("openai._base_client")
    for kind in (getattr(base, name, None) for name in ("SyncAPIClient", "AsyncAPIClient")):
        assert kind is None or not hasattr(kind.request, "__wrapped__"), kind
"""


@pytest.mark.parametrize("imported", ["before", "after"])
@pytest.mark.parametrize("found", INSTALLATIONS)
def test_any_installation_is_imported_as_without_instrumentation_and_status_reports_why_it_is_not_instrumented(
    found: str, imported: str, tmp_path: Path
) -> None:
    metadata, package, base, error, reason = INSTALLATIONS[found]
    if metadata:
        dist_info = tmp_path / "openai-99.dist-info"
        dist_info.mkdir()
        if metadata != "broken":
            (dist_info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: openai\nVersion: {metadata}\n")
    if base is not None:
        (tmp_path / "openai").mkdir()
    if base is not None and base != "folder":
        (tmp_path / "openai" / "__init__.py").write_text(package)
        (tmp_path / "openai" / "_base_client.py").write_text(base)
    (tmp_path / "openai_before.py").write_text(_BEFORE)
    # Only the dependencies of InfraPrism, and this package, can be imported.
    parts = [place for place in sys.path if place and "site-packages" not in place]
    site = Path(next(place for place in sys.path if place.endswith("site-packages")))
    for each in site.iterdir():
        if not each.name.startswith(("openai", "anthropic")):
            (tmp_path / each.name).symlink_to(each)
    parts += [
        line for file in site.glob("*infraprism*.pth") for line in file.read_text().splitlines() if Path(line).is_dir()
    ]

    done = subprocess.run(
        [sys.executable, "-S", "-c", _PRINT_STATUS, imported],
        env={"PYTHONPATH": os.pathsep.join([str(tmp_path), *parts])},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    raised, reported = done.stdout.splitlines()
    assert raised == error
    assert reported.startswith(f"{not reason} {reason}")


def test_an_internal_error_never_reaches_the_application(
    monkeypatch: pytest.MonkeyPatch, provider: LocalProvider
) -> None:
    def broken(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("ours")

    opened = client("openai", provider, asynchronous=False)
    recorded = RecordedSpans()
    instrument(recorded.provider)
    before = sum(llm_call.delivery_stats.snapshot()["errors"].values())
    for module, name in (
        (api_client, "repeated_identifier"),
        (llm_call, "read_fields"),
        (llm_call, "get_field"),
        (usage_reader, "read_fields"),
        (streams, "observe_open_response"),
        (llm_call, "time_ns"),
    ):
        with monkeypatch.context() as patched:
            patched.setattr(module, name, broken)
            response = opened.chat.completions.create(model="gpt-4o", messages=MESSAGES)
            assert response.usage is not None
            chunks = list(opened.chat.completions.create(model="gpt-4o", messages=MESSAGES, stream=True))
            assert chunks
    assert sum(llm_call.delivery_stats.snapshot()["errors"].values()) > before
    opened.close()


def test_the_instrumentation_is_not_bound_to_an_event_loop(provider: LocalProvider) -> None:
    """Clients of different event loops, as of several `asyncio.run`, share no state."""
    recorded = RecordedSpans()
    instrument(recorded.provider)

    async def call() -> None:
        async with client("anthropic", provider, asynchronous=True) as opened:
            await opened.messages.create(model="claude-haiku-4-5", messages=MESSAGES, max_tokens=5)

    for _ in range(3):
        asyncio.run(call())
    assert len(recorded.spans) == 3
