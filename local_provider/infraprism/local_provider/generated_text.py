"""Generated content of responses: derived from the request, always the same for the same request."""

from __future__ import annotations

import itertools
import json
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, Final

from infraprism.local_provider.provider_request import ProviderRequest

_SENTENCES: Final = (
    "Thanks for writing in.",
    "The order left our warehouse this morning and is on its way.",
    "I have looked at the account and everything is in order there.",
    "A refund takes three to five working days to arrive.",
    "You can change the delivery address until the parcel is handed over.",
    "The invoice was sent to the address on file.",
    "Please restart the device once and try again.",
    "I have passed this on to a colleague who knows that product well.",
    "Your plan renews at the end of the month unless you cancel it before.",
    "Is there anything else that I can help you with?",
)
_QUOTED = 48
_MAX_DEPTH: Final = 12


def generated_text(request: ProviderRequest, choice: int = 0) -> str:
    """A few sentences that quote the prompt, and contain the canary if there is one."""
    seed = request.seed
    quoted = textwrap.shorten(request.text, _QUOTED, placeholder=" ...")
    sentences = [_SENTENCES[seed[(index + choice) % 32] % len(_SENTENCES)] for index in range(2 + seed[7] % 3)]
    quote = [f'You asked: "{quoted}".'] if quoted else []
    return " ".join([*quote, *sentences, *([request.canary] if request.canary else [])])


def generated_thinking(request: ProviderRequest) -> str:
    """The thinking text of a model with extended thinking."""
    return "The user wants a short and exact answer. " + generated_text(request, 1)


def instance_of(schema: Mapping[str, Any], request: ProviderRequest) -> Any:
    """A value that is valid under a JSON schema, as far as structured outputs support it."""
    return _instance(schema, schema, request, 0)


def _instance(schema: Mapping[str, Any], root: Mapping[str, Any], request: ProviderRequest, depth: int) -> Any:  # noqa: PLR0911  # one per kind of schema
    if depth > _MAX_DEPTH:
        return None
    if "$ref" in schema:
        return _instance(_resolve(schema["$ref"], root), root, request, depth + 1)
    if "const" in schema:
        return schema["const"]
    if options := schema.get("enum"):
        return options[request.seed[depth] % len(options)]
    for key in ("anyOf", "oneOf", "allOf"):
        if schema.get(key):
            return _instance(schema[key][0], root, request, depth + 1)
    kind = schema.get("type")
    kind = kind[0] if isinstance(kind, list) and kind else kind
    if kind == "object" or "properties" in schema:
        properties = schema.get("properties", {})
        return {name: _instance(inner, root, request, depth + 1) for name, inner in properties.items()}
    if kind == "array":
        return [_instance(schema.get("items", {}), root, request, depth + 1)]
    plain = {"integer": request.seed[depth], "number": request.seed[depth] / 4, "boolean": True, "null": None}
    return plain[kind] if kind in plain else _word(request)


def _word(request: ProviderRequest) -> str:
    """A text for structured output: a number from the prompt, else a sentence; with the canary."""
    words = request.text.split()
    found = next((word.strip(".,;:?!\"'()") for word in words if any(map(str.isdigit, word))), None)
    text = found or _SENTENCES[request.seed[9] % len(_SENTENCES)]
    return f"{text} {request.canary}" if request.canary else text


def _resolve(reference: str, root: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Any = root
    for step in reference.removeprefix("#").strip("/").split("/"):
        found = found.get(step, {}) if step else found
    return found if isinstance(found, Mapping) else {}


def split_text(text: str, count: int | None = None) -> list[str]:
    """A text in the parts in which a stream sends it: one word each, or exactly `count` parts."""
    if count is None:
        words = text.split(" ")
        return [word if index == 0 else " " + word for index, word in enumerate(words)]
    size, longer = divmod(len(text), max(count, 1))
    cuts = [0]
    for index in range(max(count, 1)):
        cuts.append(cuts[-1] + size + (index < longer))
    return [text[start:end] for start, end in itertools.pairwise(cuts)]


def chosen_tool(tools: Sequence[Mapping[str, Any]], choice: object, request: ProviderRequest) -> tuple[str, str] | None:
    """Name and JSON arguments of the tool the model calls: the one that is required, else the first.

    `tools` are function definitions with `name` and `parameters`.
    """
    if not tools or choice == "none":
        return None
    forced = choice.get("name") if isinstance(choice, Mapping) else None
    tool = next((tool for tool in tools if tool.get("name") == forced), tools[0])
    return str(tool.get("name", "")), json.dumps(instance_of(tool.get("parameters") or {}, request))
