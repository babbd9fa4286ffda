"""The tests of tests/backend/test_counted_once.py, with the events on a ClickHouse server."""

from tests.backend.test_counted_once import *  # noqa: F403  # pytest collects what is imported
