"""Environment variables: names, booleans, the price file and the resource attributes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from importlib.metadata import entry_points
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from infraprism.cli.doctor.finding import Finding
from infraprism.pricing import Prices, PricesFileError
from infraprism.schema import fields
from infraprism.schema.event import fits
from infraprism.schema.settings import ALLOWED_BOOLEANS, SETTINGS, Setting, UnreadableSettingError, read_boolean

_PREFIX: Final = "INFRAPRISM_"
_SIMILAR: Final = 0.85
"""How similar another prefix must be, such as INFRAPRSIM_, by difflib."""
_RESOURCE: Final = "OTEL_RESOURCE_ATTRIBUTES"
_OF_RESOURCE: Final = tuple(field.key for field in (fields.ENTITY_TYPE, fields.ENTITY_ID, fields.SESSION_ID))
_TAG: Final = "infraprism.tags."


def unknown() -> Iterator[Finding]:
    """Variables that no part of InfraPrism reads, such as misspelt ones."""
    known = {setting.name.removeprefix(_PREFIX): setting.name for setting in SETTINGS}
    of_apps = [setting.name.removeprefix(_PREFIX) for setting in SETTINGS if setting.read_by != ("cli",)]
    for name in sorted(os.environ):
        if name in known.values():
            continue
        if name.upper().startswith(_PREFIX):
            given = name.upper().removeprefix(_PREFIX)
            # Those of an application first: a short name is meant as the API key, and not as a file of the server.
            nearest = get_close_matches(given, of_apps, n=1) or get_close_matches(given, known, n=1)
            advice = f"Did you mean {known[nearest[0]]}?" if nearest else f"Known are {', '.join(known.values())}."
            yield Finding("problem", name, "is not a setting of InfraPrism and has no effect", advice)
        elif similar := get_close_matches(name.upper(), known.values(), n=1, cutoff=_SIMILAR):
            finding = "is similar to a setting of InfraPrism and has no effect"
            yield Finding("problem", name, finding, f"Did you mean {similar[0]}?")


def booleans() -> Iterator[Finding]:
    """Booleans that cannot be read, and the one that turns everything off."""
    for setting in SETTINGS:
        if setting.kind == "boolean":
            yield from _boolean(setting)


def _boolean(setting: Setting) -> Iterator[Finding]:
    try:
        if read_boolean(setting.name) and setting.name == "INFRAPRISM_DISABLED":
            yield Finding("problem", setting.name, "is true, so no call is recorded", f"Unset {setting.name}.")
    except UnreadableSettingError:
        advice = f"Set it to {ALLOWED_BOOLEANS}, or unset it."
        yield Finding("problem", setting.name, f"is not a boolean, so {setting.unreadable}", advice)


def disabled() -> Iterator[Finding]:
    """Variables of OpenTelemetry that turn InfraPrism off."""
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        yield Finding("problem", "OTEL_SDK_DISABLED", "is true, so no call is recorded", "Unset OTEL_SDK_DISABLED.")
    names = set(listed("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS"))
    for entry_point in entry_points(group="opentelemetry_instrumentor"):
        if entry_point.value.startswith("infraprism.") and names & {entry_point.name, "*"}:
            advice = f"Remove {entry_point.name} from it."
            yield Finding("warning", "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", f"disables {entry_point.name}", advice)


def price_file() -> Iterator[Finding]:
    """Whether the user's own prices can be used. A message of the file's reader names the place in the file."""
    named = os.environ.get("INFRAPRISM_PRICES", "").strip()
    if not named:
        return
    try:
        Prices(Path(named))
    except PricesFileError as error:
        advice = "Correct the file (docs/prices.md), or unset INFRAPRISM_PRICES. Until then calls have no cost."
        finding = " ".join(str(error).replace(named, "the file").split())
        yield Finding("problem", "INFRAPRISM_PRICES", finding, advice)
    else:
        yield Finding("ok", "INFRAPRISM_PRICES", "the prices in the file can be used")


def resource_attributes() -> Iterator[Finding]:
    """The default attribution of the process, in the resource attributes. No value is shown."""
    found = _attributes()
    entity_type, entity_id = (found.get(field.key) for field in (fields.ENTITY_TYPE, fields.ENTITY_ID))
    kinds = ", ".join(fields.ENTITY_TYPES[:-1]) + f" or {fields.ENTITY_TYPES[-1]}"
    if entity_type is not None and entity_type not in fields.ENTITY_TYPES:
        yield _attribute(fields.ENTITY_TYPE.key, "is not an entity type, so the entity is ignored", f"Use {kinds}.")
    if (entity_type is None) != (entity_id is None):
        missing = (fields.ENTITY_TYPE if entity_type is None else fields.ENTITY_ID).key
        yield _attribute(missing, "is missing, so the entity is ignored", f"Set {missing} too.")
    for field in (fields.ENTITY_ID, fields.SESSION_ID):
        if (value := found.get(field.key)) is not None and not fits(field, value):
            yield _attribute(field.key, "is not valid and ignored", "Use 1 to 256 printable characters on one line.")
    for key, value in found.items():
        if key.startswith(_TAG):
            if not fields.TAG_KEY.fullmatch(key.removeprefix(_TAG).lower()) or not fits(fields.TAGS, value):
                advice = f"The key must match {fields.TAG_KEY.pattern}, the value be printable and on one line."
                yield _attribute(key, "is not a valid tag and is ignored", advice)
        elif key not in _OF_RESOURCE:
            nearest = get_close_matches(key, _OF_RESOURCE, n=1)
            advice = f"Did you mean {nearest[0]}?" if nearest else f"Known are {', '.join(_OF_RESOURCE)} and {_TAG}*."
            yield _attribute(key, "is not an attribute of InfraPrism and has no effect", advice)


def _attribute(key: str, finding: str, advice: str) -> Finding:
    name = "".join(letter if letter.isprintable() else "?" for letter in key)[:128]
    return Finding("problem", _RESOURCE, f"{name} {finding}", advice)


def _attributes() -> Mapping[str, str]:
    """Those of InfraPrism, by the rules of OpenTelemetry: `key=value,key=value`, percent-encoded."""
    pairs = (pair.partition("=") for pair in listed(_RESOURCE))
    decoded = {unquote(key.strip()): unquote(value.strip()) for key, equals, value in pairs if equals}
    return {key: value for key, value in decoded.items() if key.lower().startswith("infraprism.")}


def listed(variable: str) -> list[str]:
    """The entries of a comma-separated variable."""
    return [entry.strip() for entry in os.environ.get(variable, "").split(",") if entry.strip()]
