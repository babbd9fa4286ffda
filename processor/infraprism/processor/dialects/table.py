"""What a dialect is, as data: by which keys it is recognised, and under which keys it says what.

A dialect is one file with one `Dialect`; the engine has no knowledge of any of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final, NamedTuple

from infraprism.processor.dialects import values
from infraprism.processor.dialects.values import Reader


class Said(NamedTuple):
    """All that a span can say about a call; None where it does not. Durations are in milliseconds.

    The counts from `input_tokens` on are those of `Usage`, in its order.
    """

    operation: str | None
    request_model: str | None
    response_model: str | None
    provider: str | None
    host: str | None
    error: str | None
    entity_type: str | None
    entity_id: str | None
    session_id: str | None

    input_tokens: int | None
    output_tokens: int | None
    cache_read_tokens: int | None
    cache_write_tokens: int | None
    cache_write_1h_tokens: int | None
    reasoning_tokens: int | None
    audio_input_tokens: int | None
    audio_output_tokens: int | None
    web_searches: int | None
    http_status: int | None

    streamed: bool | None
    time_to_first_token_ms: int | None
    service_tier: str | None
    reported_cost_usd: Decimal | None
    response_id: str | None


READERS: Final[dict[str, Reader]] = {
    **dict.fromkeys(Said._fields, values.count),
    **dict.fromkeys(("operation", "request_model", "response_model", "provider", "host", "error"), values.text),
    **dict.fromkeys(("entity_type", "entity_id", "session_id", "response_id"), values.text),
    "streamed": values.flag,
    "time_to_first_token_ms": values.seconds,
    "service_tier": values.tier,
    "reported_cost_usd": values.money,
}
"""How the values of a field are read, unless a dialect says otherwise."""


class Slot(NamedTuple):
    """Where the value of one key goes: the field's position in `Said`; a lower rank is a better source."""

    position: int
    rank: int
    reader: Reader


class As(NamedTuple):
    """A key whose values are read in another way than the field's own, for example in another unit."""

    key: str
    reader: Reader


@dataclass(frozen=True)
class Dialect:
    """One way in which instrumentations write about an LLM call.

    `markers`: keys of which each span of a billed call of this dialect has at least one.
    `operations`: the values of the operation that are billed calls, and what an event calls them. Spans with another
    value are no events, nor are those without one, unless another marker is there and an `unnamed_operation`.
    `keys`: for each field of `Said` its keys, best first.
    `input_excludes_cache`: whether the input count leaves cache reads and writes out; where it is False they are only
    added if the counts prove it.
    `json_texts`: keys whose value is a JSON text with counts in it. A number in it is named in `keys` by the key and
    the path to it, `<key>.<name>.<name>`: the collector takes such texts apart into attributes of these names.

    Raises ValueError for a field that `Said` does not have.
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
            if name not in Said._fields:
                raise ValueError(f"{self.name} has keys for {name}, which is no field")
            for rank, entry in enumerate(keys):
                key, reader = entry if isinstance(entry, As) else (entry, READERS[name])
                slots[key] = Slot(Said._fields.index(name), rank, reader)
        operation = {key for key, slot in slots.items() if slot.position == 0}
        object.__setattr__(self, "slots", slots)
        object.__setattr__(self, "other_markers", self.markers - operation)
