"""Runs a function when a process ends without running its `atexit` functions.

Children of `multiprocessing` run their own finalizers and then `os._exit`. Prefork workers of Celery skip the
finalizers as well, but send a signal. The hook of each is used if the application has imported the package.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

_registered: set[tuple[int, str]] = set()
_BEFORE_EXPORTERS = 10
"""Finalizers of a higher priority run first. Exporters have 0."""


def run_at_process_exit(function: Callable[[], None]) -> None:
    """Run `function` at such an exit of this process; later calls of the same process do nothing. It must not raise."""
    for name, register in (("multiprocessing.util", _with_multiprocessing), ("celery.signals", _with_celery)):
        module = sys.modules.get(name)
        if module is not None and (os.getpid(), name) not in _registered:
            _registered.add((os.getpid(), name))
            register(module, function)


def _with_multiprocessing(util: Any, function: Callable[[], None]) -> None:
    util.Finalize(None, function, exitpriority=_BEFORE_EXPORTERS)


def _with_celery(signals: Any, function: Callable[[], None]) -> None:
    def on_shutdown(**_: object) -> None:
        function()

    signals.worker_process_shutdown.connect(on_shutdown, weak=False)
