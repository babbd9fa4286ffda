"""The one line of the log for streams that report usage only on request."""

from __future__ import annotations

import logging
from typing import Final

from infraprism.schema.settings import log_once

_log: Final = logging.getLogger("infraprism.stream_usage")
_TEXT: Final = (
    "InfraPrism: a stream reported no tokens, so the call has no cost. OpenAI-compatible APIs report them only if the "
    "request has stream_options={'include_usage': True}. Pass it (in LangChain: stream_usage=True), or set "
    "INFRAPRISM_STREAM_USAGE=true where InfraPrism instruments the openai package. This is logged once."
)


def warn() -> None:
    """Log the line, once in a process."""
    log_once(_log, logging.WARNING, _TEXT)
