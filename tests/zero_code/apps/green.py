"""An application with green threads. It patches the standard library by gevent or eventlet.

    python green.py PACKAGE WHEN END

`WHEN` is the time of the patch: `first` or `import` (before or after the app imports InfraPrism and calls `instrument`
itself), `start` (the first line of an app of `opentelemetry-instrument`), or `call` (after a call).

`END` is what follows the calls: `exit`, `flush`, or `wait`, which sleeps until SIGTERM. Then the app flushes in the
signal handler and exits with status 3, or 4 if the flush failed.

With SHOP_GRPC=init, the app calls gRPC's `init_gevent` after the patch, which lets gRPC run in gevent's event loop.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
import time
from typing import Any

package, when, end = sys.argv[1:]


def patch() -> Any:
    """Patch the standard library and return the package."""
    if package == "gevent":
        import gevent.monkey

        gevent.monkey.patch_all()
        if os.environ.get("SHOP_GRPC") == "init":
            from grpc.experimental.gevent import init_gevent

            init_gevent()
        return gevent
    import eventlet

    eventlet.monkey_patch()
    return eventlet


def flush() -> bool:
    """Flush all processors."""
    from infraprism.processor import InfraPrismSpanProcessor

    return all(processor.force_flush(2000) for processor in InfraPrismSpanProcessor.live())


def stop(*_: object) -> None:
    """Flush and exit. Python may run a signal handler in the event loop."""
    sys.exit(3 if flush() else 4)


if when == "import":
    importlib.import_module("infraprism.instrumentation")
    importlib.import_module("infraprism.exporter")
if when != "call":
    green = patch()
if when in ("first", "import"):
    from infraprism.instrumentation import instrument

    instrument()

from shop import calls  # noqa: E402 - after the patch

if when == "call":
    calls()
    green = patch()

signal.signal(signal.SIGTERM, stop)
workers = [green.spawn(calls) for _ in range(3)]
for worker in workers:
    worker.get() if package == "gevent" else worker.wait()

beats: list[float] = []


def beat() -> None:
    """Run again and again while the event loop runs."""
    while True:
        beats.append(time.monotonic())
        green.sleep(0.005)


green.spawn(beat)
green.sleep(0)
print("called", flush=True)
if end == "flush":
    before = len(beats)
    print("flushed", flush(), flush=True)
    print("beats", len(beats) - before, file=sys.stderr)
if end == "wait":
    green.sleep(60)
print("done", flush=True)
