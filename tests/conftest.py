"""What holds for all tests."""

from __future__ import annotations

from hypothesis import settings

# How long an example takes says more about what else the machine does. Speed is measured in benchmarks/.
settings.register_profile("infraprism", deadline=None)
settings.load_profile("infraprism")
