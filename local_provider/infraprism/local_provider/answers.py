"""What the model says: made up from the request, always the same for the same request."""

from __future__ import annotations

import itertools
import json
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, Final

from infraprism.local_provider.call import Call

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


def answer_text(call: Call, choice: int = 0) -> str:
    """A few sentences that quote the prompt, as answers do, and hold the canary if there is one."""
    seed = call.seed
    quoted = textwrap.shorten(call.text, _QUOTED, placeholder=" ...")
    sentences = [_SENTENCES[seed[(index + choice) % 32] % len(_SENTENCES)] for index in range(2 + seed[7] % 3)]
    about = [f'You asked: "{quoted}".'] if quoted else []
    return " ".join([*about, *sentences, *([call.canary] if call.canary else [])])


def thinking_text(call: Call) -> str:
    """What a thinking model shows of its thoughts."""
    return "The user wants a short and exact answer. " + answer_text(call, 1)


def instance_of(schema: Mapping[str, Any], call: Call) -> Any:
    """A value that is valid under a JSON schema, as far as structured outputs support it."""
    return _instance(schema, schema, call, 0)


def _instance(schema: Mapping[str, Any], root: Mapping[str, Any], call: Call, depth: int) -> Any:  # noqa: PLR0911  # one per kind of schema
    if depth > _MAX_DEPTH:
        return None
    if "$ref" in schema:
        return _instance(_resolve(schema["$ref"], root), root, call, depth + 1)
    if "const" in schema:
        return schema["const"]
    if options := schema.get("enum"):
        return options[call.seed[depth] % len(options)]
    for key in ("anyOf", "oneOf", "allOf"):
        if schema.get(key):
            return _instance(schema[key][0], root, call, depth + 1)
    kind = schema.get("type")
    kind = kind[0] if isinstance(kind, list) and kind else kind
    if kind == "object" or "properties" in schema:
        properties = schema.get("properties", {})
        return {name: _instance(inner, root, call, depth + 1) for name, inner in properties.items()}
    if kind == "array":
        return [_instance(schema.get("items", {}), root, call, depth + 1)]
    plain = {"integer": call.seed[depth], "number": call.seed[depth] / 4, "boolean": True, "null": None}
    return plain[kind] if kind in plain else _word(call)


def _word(call: Call) -> str:
    """A text in a structured answer: the number that the prompt speaks of, else a sentence; with the canary."""
    spoken = call.text.split()
    found = next((word.strip(".,;:?!\"'()") for word in spoken if any(map(str.isdigit, word))), None)
    said = found or _SENTENCES[call.seed[9] % len(_SENTENCES)]
    return f"{said} {call.canary}" if call.canary else said


def _resolve(reference: str, root: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Any = root
    for step in reference.removeprefix("#").strip("/").split("/"):
        found = found.get(step, {}) if step else found
    return found if isinstance(found, Mapping) else {}


def pieces(text: str, count: int | None = None) -> list[str]:
    """A text in the pieces that a stream delivers it in: about a word each, or exactly `count` of them."""
    if count is None:
        words = text.split(" ")
        return [word if index == 0 else " " + word for index, word in enumerate(words)]
    size, longer = divmod(len(text), max(count, 1))
    cuts = [0]
    for index in range(max(count, 1)):
        cuts.append(cuts[-1] + size + (index < longer))
    return [text[start:end] for start, end in itertools.pairwise(cuts)]


def chosen_tool(tools: Sequence[Mapping[str, Any]], choice: object, call: Call) -> tuple[str, str] | None:
    """Name and JSON arguments of the tool the model calls: the one it must call, else the first.

    `tools` are function definitions with `name` and `parameters`.
    """
    if not tools or choice == "none":
        return None
    forced = choice.get("name") if isinstance(choice, Mapping) else None
    tool = next((tool for tool in tools if tool.get("name") == forced), tools[0])
    return str(tool.get("name", "")), json.dumps(instance_of(tool.get("parameters") or {}, call))
