"""Counts the warnings and errors that the server logs: where and of which level, without the message."""

from __future__ import annotations

import logging

from infraprism.backend.usage_data.usage_data import UsageData


class ErrorLog(logging.Handler):
    """A handler of the logger `infraprism`. The place is a module and a function."""

    def __init__(self, usage: UsageData) -> None:
        super().__init__(logging.WARNING)
        self._usage = usage

    def emit(self, record: logging.LogRecord) -> None:
        """Count a record."""
        self._usage.record_error(f"{record.name}.{record.funcName}", record.levelname)
        # Python prints a record to stderr only if no logger has a handler, and this one is a handler.
        if logging.lastResort is not None and not logging.getLogger().handlers:
            logging.lastResort.handle(record)
