"""Ends of a process at which nothing that was registered with `atexit` runs.

Children of `multiprocessing` leave by `os._exit` after their own finalizers, and Celery's prefork workers even without
those. What each of them does offer is used, where the application has imported it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

_watched: set[tuple[int, str]] = set()
_BEFORE_EXPORTERS = 10
"""Finalizers of a higher priority run first."""


def before_end(work: Callable[[], None]) -> None:
    """Do this work at such an end of this process; only the first of a process counts. `work` must not raise."""
    for name, register in (("multiprocessing.util", _of_multiprocessing), ("celery.signals", _of_celery)):
        module = sys.modules.get(name)
        if module is not None and (os.getpid(), name) not in _watched:
            _watched.add((os.getpid(), name))
            register(module, work)


def _of_multiprocessing(util: Any, work: Callable[[], None]) -> None:
    util.Finalize(None, work, exitpriority=_BEFORE_EXPORTERS)


def _of_celery(signals: Any, work: Callable[[], None]) -> None:
    def ended(**_: object) -> None:
        work()

    signals.worker_process_shutdown.connect(ended, weak=False)
