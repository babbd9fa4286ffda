"""The event, its field table and its wire form; all other packages depend on it."""

from infraprism.schema.event import Event, cost_text, event_id
from infraprism.schema.fields import FIELDS, Field

__all__ = ["FIELDS", "Event", "Field", "cost_text", "event_id"]
