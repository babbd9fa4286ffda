"""Deletion: what an account asks to delete, its steps, and the receipts."""

from infraprism.backend.deletions.deletions import Deletions
from infraprism.backend.deletions.receipts import Receipts
from infraprism.backend.deletions.refusals import Refusals
from infraprism.backend.deletions.scope import Scope

__all__ = ["Deletions", "Receipts", "Refusals", "Scope"]
