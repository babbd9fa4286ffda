"""What the instrumentations of this world write on their spans: one table per dialect, and the engine that reads them.

A new dialect is one file with one table, named here. The order matters: the first dialect that recognises a span
decides what it is.
"""

from __future__ import annotations

from typing import Final

from infraprism.processor.dialects.semconv import SEMCONV
from infraprism.processor.dialects.table import Dialect

DIALECTS: Final[tuple[Dialect, ...]] = (SEMCONV,)
