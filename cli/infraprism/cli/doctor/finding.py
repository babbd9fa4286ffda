"""The result of one check."""

from __future__ import annotations

from typing import Literal, NamedTuple

Level = Literal["ok", "warning", "problem"]


class Finding(NamedTuple):
    """The result of one check. `advice` is one line that says what to do, and empty where there is nothing to do.

    No text has the value of a variable that may be secret. A problem makes the exit status 1.
    """

    level: Level
    subject: str
    finding: str
    advice: str = ""
