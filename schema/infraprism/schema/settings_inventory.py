"""Writes docs/settings.md from the settings table.

python -m infraprism.schema.settings_inventory > docs/settings.md
"""

from __future__ import annotations

from typing import Final

from infraprism.schema.settings import ALLOWED_BOOLEANS, SETTINGS, Setting

_PARTS: Final = {
    "exporter": "`InfraPrismSpanExporter`",
    "processor": "`InfraPrismSpanProcessor`",
    "instrumentation": "`instrument()` and `opentelemetry-instrument`",
    "pricing": "pricing",
    "backend": "`infraprism serve`",
    "cli": "the `infraprism` commands",
    "collector": "the collector (docs/collector.md)",
}

_HEAD: Final = f"""\
<!-- Generated from schema/infraprism/schema/settings.py by python -m infraprism.schema.settings_inventory -->

# Settings

Environment variables. All are optional. Arguments of `InfraPrismSpanExporter` win over them. `infraprism doctor`
reports unknown names and unreadable values.

A boolean is {ALLOWED_BOOLEANS}, in upper or lower case. Empty is the same as unset. Any other value
is reported in one line of the log. A setting that restricts what is sent then fails closed, as the last column says.

How the exporter connects (certificates, timeout, compression, headers) is also set by the standard variables
`OTEL_EXPORTER_OTLP_*`; those for traces (`OTEL_EXPORTER_OTLP_TRACES_*`) win. Standard certificates and headers are used
only if no standard endpoint (`OTEL_EXPORTER_OTLP_ENDPOINT`) is set, or if its host is that of `INFRAPRISM_ENDPOINT`; on
the local machine the port must be the same too. Otherwise they belong to another endpoint and are ignored.
`OTEL_SDK_DISABLED=true` turns InfraPrism off too.

"""


def markdown() -> str:
    """The page."""
    rows = [
        ("Variable", "Type", "Default", "Description", "Read by", "If unreadable"),
        ("---",) * 6,
        *map(_row, SETTINGS),
    ]
    return _HEAD + "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"


def _row(setting: Setting) -> tuple[str, ...]:
    return (
        f"`{setting.name}`",
        setting.kind,
        f"`{setting.default}`" if setting.default else "",
        setting.description,
        ", ".join(_PARTS[part] for part in setting.read_by),
        setting.unreadable,
    )


if __name__ == "__main__":
    print(markdown(), end="")  # noqa: T201  # the command that a contributor runs after a change of the table
