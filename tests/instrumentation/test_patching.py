"""What stands in a client package is the package's own in all that an application can ask of it, and comes back."""

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
from tests.instrumentation.conftest import Recorded
from tests.kit.client_calls import MESSAGES, client
from wrapt import wrap_function_wrapper

from infraprism.instrumentation import (
    api_client,
    call,
    instrument,
    instrumentor,
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


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
def test_a_wrapper_that_stood_on_a_client_class_before_ours_does_not_pass_ours_by(
    provider: LocalProvider, *, asynchronous: bool
) -> None:
    """OpenInference wraps `OpenAI.request`, which it inherits, with the `request` that it finds."""
    owner: Any = openai.AsyncOpenAI if asynchronous else openai.OpenAI
    seen: list[object] = []

    def theirs(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        seen.append(instance)
        return wrapped(*args, **kwargs)

    wrap_function_wrapper("openai", f"{owner.__name__}.request", theirs)
    wrapper = vars(owner)["request"]
    try:
        recorded = Recorded()
        instrument(recorded.provider)
        opened = client("openai", provider, asynchronous=asynchronous)

        async def ask() -> None:
            for one in (opened, opened.with_options(max_retries=1)):
                answer = one.chat.completions.create(model="gpt-4o", messages=MESSAGES)
                if asynchronous:
                    await answer
            if asynchronous:
                await opened.close()
            else:
                opened.close()

        asyncio.run(ask())
        assert [type(one) for one in seen] == [owner, owner]
        assert [span.status.status_code for span in recorded.spans] == [StatusCode.UNSET] * 2
        uninstrument()
        assert vars(owner)["request"] is wrapper
        assert wrapper.__wrapped__ is vars(owner.__mro__[1])["request"]
    finally:
        del owner.request


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
    old, new = status()
    assert (old.supported, new.supported) == (False, True)
    assert "1.2.3" in old.reason
    assert "1.55.3" in old.reason
    instrument(TracerProvider())
    assert [one.instrumented for one in status()] == [False, True]


@pytest.mark.parametrize(
    ("text", "release"), [("1.55.3", (1, 55, 3)), ("2.0.0rc1", (2, 0, 0)), ("3.1.dev4+x", (3, 1)), ("", ())]
)
def test_a_version_is_compared_by_the_numbers_it_begins_with(text: str, release: tuple[int, ...]) -> None:
    assert instrumentor._release(text) == release


_AS_IT_IS = """
class SyncAPIClient:
    def request(self, cast_to, options): ...
class AsyncAPIClient:
    async def request(self, cast_to, options): ...
"""
INSTALLATIONS = {
    "missing": ("", "", None, "ModuleNotFoundError", "it is not installed"),
    "a_folder_of_that_name": ("", "", "folder", "ModuleNotFoundError", "it is not installed"),
    "too_old": ("1.2.3", "", "", "", "version 1.2.3 is too old: 1.55.3 is the oldest supported"),
    "its_files_are_gone": ("99.0", "", None, "ModuleNotFoundError", ""),
    "its_import_fails": ("99.0", "1 / 0", "", "ZeroDivisionError", ""),
    "its_import_leaves": ("99.0", "raise SystemExit(3)", "", "SystemExit", ""),
    "newer_without_the_classes": ("99.0", "", "", "", "version 99.0 has a shape that InfraPrism does not know"),
    "newer_with_one_class": (
        "99.0",
        "",
        "class SyncAPIClient:\n def request(self, cast_to, options): ...",
        "",
        "version 99.0 has a shape that InfraPrism does not know",
    ),
    "newer_without_options": (
        "99.0",
        "",
        "class SyncAPIClient:\n def request(self, cast_to, call): ...\nAsyncAPIClient = SyncAPIClient",
        "",
        "version 99.0 has a shape that InfraPrism does not know: request takes no options",
    ),
    "newer_with_a_static_method": (
        "99.0",
        "",
        "class SyncAPIClient:\n request = staticmethod(print)\nAsyncAPIClient = SyncAPIClient",
        "",
        "version 99.0 has a shape that InfraPrism does not know: request is no method",
    ),
    "newer_and_known": (
        "99.0",
        "",
        _AS_IT_IS,
        "",
        "",
    ),
    "nothing_says_its_version": (
        "",
        "",
        _AS_IT_IS,
        "",
        "",
    ),
    "what_is_left_of_its_metadata": ("broken", "", None, "ModuleNotFoundError", "it is not installed"),
}
_SAYS_STATUS = """
import sys
import openai_before
from infraprism.instrumentation import instrument, status, uninstrument
def the_application_imports():
    try:
        import openai._base_client
        print()
    except BaseException as error:
        print(type(error).__name__)
if "before" in sys.argv:
    the_application_imports()
instrument()
if "after" in sys.argv:
    assert "openai._base_client" not in sys.modules
    the_application_imports()
found = status()[0]
print(found.instrumented, found.reason)
uninstrument()
openai_before.check()
"""
_BEFORE = """
import sys
def check():
    # What was replaced of a package that turned out to be another must be its own again.
    base = sys.modules.get("openai._base_client")
    for kind in (getattr(base, name, None) for name in ("SyncAPIClient", "AsyncAPIClient")):
        assert kind is None or not hasattr(kind.request, "__wrapped__"), kind
"""


@pytest.mark.parametrize("imported", ["before", "after"])
@pytest.mark.parametrize("found", INSTALLATIONS)
def test_whatever_is_installed_under_the_name_the_application_imports_it_as_ever_and_status_says_why_it_is_left_alone(
    found: str, imported: str, tmp_path: Path
) -> None:
    metadata, package, base, error, reason = INSTALLATIONS[found]
    if metadata:
        about = tmp_path / "openai-99.dist-info"
        about.mkdir()
        if metadata != "broken":
            (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: openai\nVersion: {metadata}\n")
    if base is not None:
        (tmp_path / "openai").mkdir()
    if base is not None and base != "folder":
        (tmp_path / "openai" / "__init__.py").write_text(package)
        (tmp_path / "openai" / "_base_client.py").write_text(base)
    (tmp_path / "openai_before.py").write_text(_BEFORE)
    # Only what InfraPrism needs, and this package, are to be found.
    parts = [place for place in sys.path if place and "site-packages" not in place]
    site = Path(next(place for place in sys.path if place.endswith("site-packages")))
    for one in site.iterdir():
        if not one.name.startswith(("openai", "anthropic")):
            (tmp_path / one.name).symlink_to(one)
    parts += [
        line for file in site.glob("*infraprism*.pth") for line in file.read_text().splitlines() if Path(line).is_dir()
    ]

    done = subprocess.run(
        [sys.executable, "-S", "-c", _SAYS_STATUS, imported],
        env={"PYTHONPATH": os.pathsep.join([str(tmp_path), *parts])},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    raised, said = done.stdout.splitlines()
    assert raised == error
    assert said.startswith(f"{not reason} {reason}")


def test_an_error_of_ours_never_reaches_the_application(
    monkeypatch: pytest.MonkeyPatch, provider: LocalProvider
) -> None:
    def broken(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("ours")

    opened = client("openai", provider, asynchronous=False)
    recorded = Recorded()
    instrument(recorded.provider)
    before = sum(call.delivery_stats.snapshot()["errors"].values())
    for module, name in (
        (api_client, "_server_of"),
        (call, "take"),
        (call, "get"),
        (usage_reader, "take"),
        (streams, "watch"),
        (call, "time_ns"),
    ):
        with monkeypatch.context() as patched:
            patched.setattr(module, name, broken)
            answer = opened.chat.completions.create(model="gpt-4o", messages=MESSAGES)
            assert answer.usage is not None
            chunks = list(opened.chat.completions.create(model="gpt-4o", messages=MESSAGES, stream=True))
            assert chunks
    assert sum(call.delivery_stats.snapshot()["errors"].values()) > before
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
