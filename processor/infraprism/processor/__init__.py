"""Spans of any dialect in, events out: what is no LLM call is dropped, what is one is priced and counted once."""

from infraprism.processor.spans import event_span
from infraprism.processor.tally import Tally
from infraprism.processor.usage import Usage

__all__ = ["Tally", "Usage", "event_span"]
