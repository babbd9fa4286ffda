"""The tests of tests/backend/test_costs.py, with the events on a ClickHouse server."""

from tests.backend.test_costs import *  # noqa: F403  # pytest collects what is imported
