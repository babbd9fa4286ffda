"""What holds for all tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import settings
from xdist.scheduler import LoadFileScheduling

# How long an example takes says more about what else the machine does. Speed is measured in benchmarks/.
settings.register_profile("infraprism", deadline=None)
settings.load_profile("infraprism")

EARLY: Final = ("tests/collector/test_mutations.py", "tests/leaks/test_bytes.py")
"""What takes long begins first, so that no worker waits for another at the end."""
EACH_ALONE: Final = (
    "tests/collector/test_mutations.py",
    "tests/instrumentation/test_same_app.py",
    "tests/zero_code/test_telemetry.py",
    "tests/zero_code/test_workers.py",
)
"""Many tests, or long ones, that share nothing that takes long to start: each goes to whichever worker is free."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """First what is long, then all files, and at last what goes wherever there is room."""
    items.sort(key=lambda item: _turn(item.location[0]))


def _turn(file: str) -> int:
    if file in EARLY:
        return 0
    return 2 if file in EACH_ALONE else 1


class _FilesAndTests(LoadFileScheduling):  # type: ignore[misc]  # the package has no types
    """Keeps a file's tests in one worker, with the server they share, but for those that share none."""

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        return nodeid if file in EACH_ALONE else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling | None:
    """How `--dist loadfile` gives tests to workers."""
    files = (Path(config.rootpath, name) for name in (*EARLY, *EACH_ALONE))
    assert all(file.exists() for file in files), "a file that is named above is gone"
    return _FilesAndTests(config, log) if config.getvalue("dist") == "loadfile" else None
