"""The tests of tests/backend/test_protocols.py, with the events on a ClickHouse server."""

from tests.backend.test_protocols import *  # noqa: F403  # pytest collects what is imported
