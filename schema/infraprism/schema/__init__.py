"""The event and its field table: the contract that every other part is built on."""

from infraprism.schema.event import Event, cost_text, event_id
from infraprism.schema.fields import FIELDS, Field

__all__ = ["FIELDS", "Event", "Field", "cost_text", "event_id"]
