"""The tests of tests/backend/test_days.py, with the events on a ClickHouse server."""

from tests.backend.test_days import *  # noqa: F403  # pytest collects what is imported
