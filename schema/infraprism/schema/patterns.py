"""Patterns that are compiled when they are first needed: all of them take longer than to import what reads spans."""

from __future__ import annotations

import re
from functools import cache
from typing import Final

compiled: Final = cache(re.compile)
"""A pattern as `re.compile` gives it, for patterns that stand in our code: each is kept for good."""
