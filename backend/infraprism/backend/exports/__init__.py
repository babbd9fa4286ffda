"""Exports: files with the events of a period, or with everything that an account or an entity has."""

from infraprism.backend.exports.export_files import ExportFiles
from infraprism.backend.exports.export_kind import EXPORT, ExportKind

__all__ = ["EXPORT", "ExportFiles", "ExportKind"]
