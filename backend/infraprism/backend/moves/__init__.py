"""Moves an account from the store of one region to that of another."""

from infraprism.backend.moves.kind import MoveKind
from infraprism.backend.moves.moving import KIND
from infraprism.backend.moves.target import PATH, MoveTarget

__all__ = ["KIND", "PATH", "MoveKind", "MoveTarget"]
