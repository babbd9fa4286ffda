"""Regular expressions that are compiled on first use, to keep imports fast."""

from __future__ import annotations

import re
from functools import cache
from typing import Final

compiled: Final = cache(re.compile)
"""Like `re.compile`, cached without a bound: only for constant patterns."""
