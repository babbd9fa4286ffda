"""What a dialect is, as data: by which keys it is recognised, and under which keys it says what.

A dialect is one file with one `Dialect`; the engine has no knowledge of any of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from infraprism.processor.dialects import values
from infraprism.processor.dialects.values import Reader

FIELDS: Final[dict[str, Reader]] = {
    "operation": values.text,
    "request_model": values.text,
    "response_model": values.text,
    "provider": values.text,
    "host": values.text,
    "error": values.text,
    "http_status": values.count,
    "streamed": values.flag,
    "time_to_first_token_ms": values.seconds,
    "service_tier": values.tier,
    "reported_cost_usd": values.money,
    "input_tokens": values.count,
    "output_tokens": values.count,
    "cache_read_tokens": values.count,
    "cache_write_tokens": values.count,
    "cache_write_1h_tokens": values.count,
    "reasoning_tokens": values.count,
    "audio_input_tokens": values.count,
    "audio_output_tokens": values.count,
    "web_searches": values.count,
    "entity_type": values.text,
    "entity_id": values.text,
    "session_id": values.text,
}
"""All that a span can say about a call, and how its values are read unless a dialect says otherwise."""


class As(NamedTuple):
    """A key whose values are read in another way than the field's own, for example in another unit."""

    key: str
    reader: Reader


class Slot(NamedTuple):
    """Where the value of one key goes. A lower rank is the better source of its field."""

    field: str
    rank: int
    reader: Reader


@dataclass(frozen=True)
class Dialect:
    """One way in which instrumentations write about an LLM call.

    `markers`: keys of which each span of a billed call of this dialect has at least one.
    `operations`: the values of the operation that are billed calls, and what an event calls them. Spans with another
    value are no events, nor are those without one, unless another marker is there and an `unnamed_operation`.
    `keys`: for each field of FIELDS its keys, best first.
    `input_excludes_cache`: whether the input count leaves cache reads and writes out; where it is False they are only
    added if the counts prove it.
    `json_texts`: keys whose value is a JSON text with counts in it. A number in it is named in `keys` by the key and
    the path to it, `<key>.<name>.<name>`: the collector takes such texts apart into attributes of these names.
    """

    name: str
    markers: frozenset[str]
    operations: Mapping[str, str]
    keys: Mapping[str, tuple[str | As, ...]]
    input_excludes_cache: bool = False
    unnamed_operation: str | None = None
    json_texts: frozenset[str] = frozenset()
    slots: Mapping[str, Slot] = field(init=False, repr=False)
    other_markers: frozenset[str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        slots = {}
        for name, keys in self.keys.items():
            for rank, entry in enumerate(keys):
                key, reader = entry if isinstance(entry, As) else (entry, FIELDS[name])
                slots[key] = Slot(name, rank, reader)
        object.__setattr__(self, "slots", slots)
        object.__setattr__(self, "other_markers", self.markers.difference(self.keys["operation"]))
