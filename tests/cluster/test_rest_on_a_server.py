"""The tests of tests/backend/test_rest.py, with the events on a ClickHouse server."""

from tests.backend.test_rest import *  # noqa: F403  # pytest collects what is imported
