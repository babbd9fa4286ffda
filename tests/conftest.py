"""What holds for all tests."""

from __future__ import annotations

import pytest
from hypothesis import settings

# How long an example takes says more about what else the machine does. Speed is measured in benchmarks/.
settings.register_profile("infraprism", deadline=None)
settings.load_profile("infraprism")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep a file's tests in one worker, with the server they share, and let no worker wait for another at the end.

    Tests marked `early` begin first, since they take long. Those marked `each_alone` share nothing: each goes to
    whichever worker is free, after all files were given out.
    """
    for item in items:
        if not item.get_closest_marker("each_alone"):
            item.add_marker(pytest.mark.xdist_group(item.location[0]))
    items.sort(key=_turn)


def _turn(item: pytest.Item) -> int:
    if item.get_closest_marker("early"):
        return 0
    return 2 if item.get_closest_marker("each_alone") else 1
