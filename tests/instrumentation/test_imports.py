"""A client package is imported when the application imports it, and observed from then on."""

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
def seen():
    base = sys.modules["openai._base_client"]
    return [hasattr(kind.request, "__wrapped__") for kind in (base.SyncAPIClient, base.AsyncAPIClient)]
"""
_NOTHING_IS_IMPORTED = """
instrument(TracerProvider())
assert all(package.instrumented for package in status())
assert not [name for name in CLIENTS if name in sys.modules]
import openai
assert seen() == [True, True]
assert openai._base_client.__loader__ is openai._base_client.__spec__.loader
assert type(openai._base_client.__loader__) is type(openai.__loader__), openai._base_client.__loader__
uninstrument()
assert seen() == [False, False]
"""
_TAKEN_BACK = """
for _ in range(3):
    instrument(TracerProvider())
    uninstrument()
assert not any(package.instrumented for package in status())
import openai
assert seen() == [False, False]
instrument(TracerProvider())
assert seen() == [True, True]
"""
_PROMISED_AGAIN = """
instrument(TracerProvider())
uninstrument()
instrument(TracerProvider())
import openai
assert seen() == [True, True]
"""
_ANEW = """
instrument(TracerProvider())
import openai
uninstrument()
for name in [name for name in sys.modules if name.partition(".")[0] == "openai"]:
    del sys.modules[name]
instrument(TracerProvider())
import openai
assert seen() == [True, True]
"""


@pytest.mark.parametrize(
    "code", [_NOTHING_IS_IMPORTED, _TAKEN_BACK, _PROMISED_AGAIN, _ANEW], ids=["later", "never", "again", "anew"]
)
def test_a_client_package_is_observed_once_the_application_imports_it(code: str) -> None:
    _run(_CALLS + code)


_BEFORE = """
from opentelemetry.sdk.trace import TracerProvider
from infraprism.instrumentation import instrument
instrument(TracerProvider())
"""
# One thread is in the midst of the import while another asks for the same package to be observed. Either may hold what
# the other waits for; and the half of the package that is there so far must not be taken for another shape.
_SIDE_BY_SIDE = """
import threading
from opentelemetry.sdk.trace import TracerProvider
from infraprism.instrumentation import instrument, status
import slow
first = threading.Thread(target=lambda: __import__("openai._base_client"), daemon=True)
first.start()
assert slow.begun.wait(30)
others = [threading.Thread(target=instrument, args=[TracerProvider()], daemon=True) for _ in range(3)]
for other in others:
    other.start()
slow.go_on.set()
for thread in (first, *others):
    thread.join(30)
    assert not thread.is_alive(), "they wait for each other"
import openai._base_client as base
assert hasattr(base.SyncAPIClient.request, "__wrapped__"), status()
assert not hasattr(base.SyncAPIClient.request.__wrapped__, "__wrapped__"), "observed twice"
assert status()[0].instrumented, status()
"""
_SLOW = """
import threading
begun, go_on = threading.Event(), threading.Event()
"""
_SLOW_PACKAGE = """
import slow, time
slow.begun.set()
slow.go_on.wait(30)
time.sleep(0.2)
class SyncAPIClient:
    def request(self, cast_to, options): ...
class AsyncAPIClient:
    async def request(self, cast_to, options): ...
"""


@pytest.mark.parametrize("asked", ["during", "before and during"])
def test_threads_that_import_a_package_and_have_it_observed_do_not_wait_for_each_other(
    asked: str, tmp_path: Path
) -> None:
    (tmp_path / "slow.py").write_text(_SLOW)
    (tmp_path / "openai").mkdir()
    (tmp_path / "openai" / "__init__.py").write_text("")
    (tmp_path / "openai" / "_base_client.py").write_text(_SLOW_PACKAGE)
    before = "" if asked == "during" else _BEFORE
    _run(f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{before}{_SIDE_BY_SIDE}")


def _run(code: str) -> None:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "InfraPrism" not in done.stderr
