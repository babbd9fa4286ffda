"""How long data is kept: the periods, what is expired, and its deletion."""

from infraprism.backend.retention.retention import Retention

__all__ = ["Retention"]
