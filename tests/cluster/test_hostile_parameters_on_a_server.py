"""The tests of tests/backend/test_hostile_parameters.py, with the events on a ClickHouse server."""

from tests.backend.test_hostile_parameters import *  # noqa: F403  # pytest collects what is imported
