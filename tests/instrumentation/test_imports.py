"""A client package is instrumented when the application imports it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_CALLS = """
import sys
from infraprism.instrumentation import instrument, status, uninstrument
from opentelemetry.sdk.trace import TracerProvider
CLIENTS = ("openai", "anthropic", "httpx", "httpx2", "pydantic")
def patched():
    base = sys.modules["openai._base_client"]
    return [hasattr(kind.request, "__wrapped__") for kind in (base.SyncAPIClient, base.AsyncAPIClient)]
"""
_INSTRUMENTED_BEFORE_IMPORT = """
instrument(TracerProvider())
assert all(package.instrumented for package in status())
assert not [name for name in CLIENTS if name in sys.modules]
import openai
assert patched() == [True, True]
assert openai._base_client.__loader__ is openai._base_client.__spec__.loader
assert type(openai._base_client.__loader__) is type(openai.__loader__), openai._base_client.__loader__
uninstrument()
assert patched() == [False, False]
"""
_UNINSTRUMENTED_BEFORE_IMPORT = """
for _ in range(3):
    instrument(TracerProvider())
    uninstrument()
assert not any(package.instrumented for package in status())
import openai
assert patched() == [False, False]
instrument(TracerProvider())
assert patched() == [True, True]
"""
_INSTRUMENTED_AGAIN_BEFORE_IMPORT = """
instrument(TracerProvider())
uninstrument()
instrument(TracerProvider())
import openai
assert patched() == [True, True]
"""
_IMPORTED_TWICE = """
instrument(TracerProvider())
import openai
uninstrument()
for name in [name for name in sys.modules if name.partition(".")[0] == "openai"]:
    del sys.modules[name]
instrument(TracerProvider())
import openai
assert patched() == [True, True]
"""


@pytest.mark.parametrize(
    "code",
    [_INSTRUMENTED_BEFORE_IMPORT, _UNINSTRUMENTED_BEFORE_IMPORT, _INSTRUMENTED_AGAIN_BEFORE_IMPORT, _IMPORTED_TWICE],
    ids=["instrumented", "uninstrumented", "instrumented_again", "imported_twice"],
)
def test_a_client_package_is_instrumented_when_the_application_imports_it(code: str) -> None:
    _run(_CALLS + code)


_BEFORE = """
from opentelemetry.sdk.trace import TracerProvider
from infraprism.instrumentation import instrument
instrument(TracerProvider())
"""
# One thread is importing the package while others instrument it. They must not deadlock, and the partly imported
# package must not be reported as one with an unknown structure.
_CONCURRENT = """
import importlib, threading
from opentelemetry.sdk.trace import TracerProvider
from infraprism.instrumentation import instrument, status
import slow
import_module = importlib.import_module
def counted_import(name):
    slow.importing.release()
    return import_module(name)
importlib.import_module = counted_import
first = threading.Thread(target=lambda: __import__("openai._base_client"), daemon=True)
first.start()
assert slow.begun.wait(30)
others = [threading.Thread(target=instrument, args=[TracerProvider()], daemon=True) for _ in range(3)]
for other in others:
    other.start()
for thread in (first, *others):
    thread.join(30)
    assert not thread.is_alive(), "deadlock"
import openai._base_client as base
assert hasattr(base.SyncAPIClient.request, "__wrapped__"), status()
assert not hasattr(base.SyncAPIClient.request.__wrapped__, "__wrapped__"), "instrumented twice"
assert status()[0].instrumented, status()
"""
_SLOW = """
import threading
begun, importing = threading.Event(), threading.Semaphore(0)
"""
_SLOW_PACKAGE = """
import slow
slow.begun.set()
for _ in range(3):  # until all other threads import it as well
    assert slow.importing.acquire(timeout=30)
class SyncAPIClient:
    def request(self, cast_to, options): ...
class AsyncAPIClient:
    async def request(self, cast_to, options): ...
"""


@pytest.mark.parametrize("instrumented", ["during", "before and during"])
def test_threads_that_import_and_instrument_a_package_concurrently_do_not_deadlock(
    instrumented: str, tmp_path: Path
) -> None:
    (tmp_path / "slow.py").write_text(_SLOW)
    (tmp_path / "openai").mkdir()
    (tmp_path / "openai" / "__init__.py").write_text("")
    (tmp_path / "openai" / "_base_client.py").write_text(_SLOW_PACKAGE)
    before = "" if instrumented == "during" else _BEFORE
    _run(f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{before}{_CONCURRENT}")


def _run(code: str) -> None:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "InfraPrism" not in done.stderr
