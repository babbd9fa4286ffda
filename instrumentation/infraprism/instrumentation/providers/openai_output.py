"""Hosted tools in the `output` of a response of OpenAI: counted by type, since `tool_usage` can be absent.

Of an item only its types are read: `type`, and that of its action or environment. Source of the fees:
https://developers.openai.com/api/docs/pricing, read on 2026-11-30.
"""

from __future__ import annotations

from typing import Final

from infraprism.instrumentation import conventions as key
from infraprism.instrumentation.usage_reader import Attribute, get_field, items_of

_WITHOUT_FEE: Final = frozenset(
    {
        *("message", "reasoning", "compaction", "additional_tools", "local_shell_call"),
        *("function_call", "custom_tool_call", "computer_call", "apply_patch_call", "tool_search_call"),
        *("mcp_call", "mcp_list_tools", "mcp_approval_request", "mcp_approval_response", "tool_search_output"),
    }
)
"""Billed by tokens alone. File searches have a fee, and images, containers and unknown tools have costs that a response
does not report."""
_PAGES: Final = frozenset({"open_page", "find_in_page", "find"})
"""Actions of a web search that are not billed."""


def read(value: object, attributes: dict[str, Attribute]) -> None:
    """Count the searches that `tool_usage` did not report, and note tools with other costs."""
    searches = 0
    for item in items_of(value):
        kind = get_field(item, "type")
        if kind in _WITHOUT_FEE or type(kind) is not str:
            continue
        if kind == "web_search_call":
            action = get_field(get_field(item, "action"), "type")
            if action is None or action == "search":
                searches += 1
            elif action not in _PAGES:
                attributes[key.UNPRICED_USAGE] = True
        elif not kind.endswith("_output") and not _is_local_shell(item, kind):
            attributes[key.UNPRICED_USAGE] = True
    if searches:
        attributes.setdefault(key.WEB_SEARCHES, searches)


def _is_local_shell(item: object, kind: str) -> bool:
    return kind == "shell_call" and get_field(get_field(item, "environment"), "type") == "local"
