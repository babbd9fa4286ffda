"""The data inventory of the README: a Markdown table generated from the field table."""

from __future__ import annotations

from typing import Final

from infraprism.schema.fields import FIELDS, Field

_PRESENCE: Final = {
    "always": "always, if known",
    "attribution": "when your code sets it",
    "failure": "on failure",
    "opt_in": "only with `INFRAPRISM_USAGE_DETAIL=true`",
}


def markdown() -> str:
    """The table, one row per field. The timestamp, which is the start time of the span, is the first row."""
    rows = [
        ("Field", "Type", "Present", "Description", "Example"),
        ("---", "---", "---", "---", "---"),
        ("`timestamp`", "ISO 8601", "always", "When the request was made, UTC", "`2025-01-15T10:30:00Z`"),
        *map(_row, FIELDS),
    ]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"


def _row(field: Field) -> tuple[str, ...]:
    described = field.description
    if field.values and len(field.values) < 20:  # noqa: PLR2004  # longer lists are in schema/fields.py
        described += ": " + ", ".join(field.values)
    kind = {"tags": "object", "bool": "boolean", "int": "integer"}.get(field.kind, field.kind)
    if field.unit and field.kind in ("int", "decimal"):
        kind += f", {field.unit}"
    return f"`{field.name}`", kind, _PRESENCE[field.presence], described, f"`{field.example}`"


if __name__ == "__main__":
    print(markdown(), end="")  # noqa: T201  # run after a change of the table
