"""The model filter: a name selects the model and its snapshots."""

from __future__ import annotations

from typing import Final

_SNAPSHOT: Final = (
    r"^(?:[-@](?:"
    r"(?:19|20)[0-9]{2}-?[01][0-9]-?[0-3][0-9]"  # gpt-4o-2024-08-06, claude-haiku-4-5-20251001, ...@20251001
    r"|[01][0-9]-(?:[0-3][0-9]|20[0-9]{2})"  # gemini-2.5-pro-preview-05-06, command-r-08-2024
    r"|[0-9]{4}"  # gpt-4-0613, mistral-large-2411
    r"|00[0-9]"  # gemini-2.0-flash-001
    r"|latest|default)(?:-v[0-9]+(?::[0-9]+)?)?"  # Bedrock adds -v1:0
    r"|-v[0-9]+:[0-9]+)$"
)
"""The suffixes that name a dated or numbered version of one model. A size or a variant (`-mini`) is another model."""

CONDITION: Final = (
    "(model = {model:String} OR (startsWith(model, {model:String})"
    f" AND match(substring(model, length({{model:String}}) + 1), '{_SNAPSHOT}')))"
)
"""The SQL condition with the bound parameter `model`."""
