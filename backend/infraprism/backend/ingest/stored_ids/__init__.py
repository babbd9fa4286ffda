"""An index of all stored ids: tells which events of a batch may be stored already, and with which start time.

It is derived from the table of events. It finds candidates by 64-bit hash; the table decides.
"""

from infraprism.backend.ingest.stored_ids.run import DamagedRunError
from infraprism.backend.ingest.stored_ids.stored_ids import StoredIds

__all__ = ["DamagedRunError", "StoredIds"]
