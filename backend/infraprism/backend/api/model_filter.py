"""The model filter: a name selects the model and its snapshots, with and without a provider's prefix."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

_SNAPSHOT: Final = (
    r"(?:[-@](?:"
    r"(?:19|20)[0-9]{2}-?[01][0-9]-?[0-3][0-9]"  # gpt-4o-2024-08-06, claude-haiku-4-5-20251001, ...@20251001
    r"|[01][0-9]-(?:[0-3][0-9]|20[0-9]{2})"  # gemini-2.5-pro-preview-05-06, command-r-08-2024
    r"|[0-9]{4}"  # gpt-4-0613, mistral-large-2411
    r"|00[0-9]"  # gemini-2.0-flash-001
    r"|latest|default)(?:-v[0-9]+(?::[0-9]+)?)?"  # Bedrock adds -v1:0
    r"|-v[0-9]+:[0-9]+)"
)
"""The suffixes that name a dated or numbered version of one model. A size or a variant (`-mini`) is another model."""
_SEGMENT: Final = "[A-Za-z0-9_.-]+"
"""A part of a prefix. A name that starts with a slash is a path of a file, and has no prefix."""
_PREFIXED: Final = re.compile(f"(?:{_SEGMENT}/)+[^/]+")

CONDITION: Final = "match(model, {model_pattern:String})"
"""The SQL condition with the bound parameter `model_pattern`."""


def pattern(names: Iterable[str]) -> str:
    """The RE2 pattern of the models that any of the names selects."""
    return "|".join(map(_pattern, names))


def _pattern(name: str) -> str:
    """The pattern of one name.

    The models are the name, the name after a prefix, and, if the name has a prefix, the name without it; each also with
    the suffix of a snapshot. Another prefix in place of the name's own is another model.
    """
    *prefix, model = name.split("/") if _PREFIXED.fullmatch(name) else [name]
    before = f"(?:{_SEGMENT}/)*"
    for segment in prefix:
        before = f"(?:{before}{re.escape(segment)}/)?"
    return f"^{before}{re.escape(model)}{_SNAPSHOT}?$"
