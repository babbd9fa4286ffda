"""The tests of tests/backend/test_rejections.py, with the events on a ClickHouse server."""

from tests.backend.test_rejections import *  # noqa: F403  # pytest collects what is imported
