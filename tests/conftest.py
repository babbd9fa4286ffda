"""Settings of Hypothesis, and the distribution of tests to workers."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import settings
from xdist.scheduler import LoadFileScheduling

# No deadline: the duration of an example depends on other load. Speed is measured in benchmarks/.
settings.register_profile("infraprism", deadline=None)
settings.load_profile("infraprism")

EARLY: Final = ("tests/collector/test_mutations.py", "tests/leaks/test_bytes.py")
"""Long files start first, so that no worker is idle at the end."""
INDEPENDENT: Final = (
    "tests/collector/test_mutations.py",
    "tests/instrumentation/test_same_app.py",
    "tests/zero_code/test_green_threads.py",
    "tests/zero_code/test_telemetry.py",
    "tests/zero_code/test_workers.py",
)
"""Files whose tests share no server: each test runs on any free worker."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort: long files, then all other files, then tests that run on any worker."""
    items.sort(key=lambda item: _order(item.location[0]))


def _order(file: str) -> int:
    if file in EARLY:
        return 0
    return 2 if file in INDEPENDENT else 1


class _FilesAndTests(LoadFileScheduling):  # type: ignore[misc]  # the package has no types
    """Keeps the tests of a file in one worker, except those of `INDEPENDENT`."""

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        return nodeid if file in INDEPENDENT else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling | None:
    """Use `_FilesAndTests` for `--dist loadfile`."""
    files = (Path(config.rootpath, name) for name in (*EARLY, *INDEPENDENT))
    assert all(file.exists() for file in files), "a file in these lists does not exist"
    return _FilesAndTests(config, log) if config.getvalue("dist") == "loadfile" else None
