"""The tests of tests/backend/test_model_filter.py, with the events on a ClickHouse server."""

from tests.backend.test_model_filter import *  # noqa: F403  # pytest collects what is imported
