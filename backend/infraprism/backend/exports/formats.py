"""The formats of exported events, and the SQL that writes their rows."""

from __future__ import annotations

import gzip
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from infraprism.backend.store import event_columns
from infraprism.backend.store.schema import column_type
from infraprism.schema import fields
from infraprism.schema.fields import Field

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_GZIP_LEVEL: Final = 3
_TIMESTAMP_TYPE: Final = "DateTime64(3, 'UTC')"
_FORMULA: Final = r"^[=+\\-@\\t\\r\']"
"""What begins a formula in a spreadsheet, and the apostrophe, so that the protection can be undone."""


@dataclass(frozen=True)
class Format:
    """A format: the engine's format of a row, the end of the name of the file, its media type, and what compresses it.

    A compressed file is a sequence of frames, one for each chunk: it can be continued at the end of any.
    """

    row_format: str
    extension: str
    media_type: str
    compress: Callable[[bytes], bytes] | None = None
    has_header: bool = False
    is_converted: bool = False
    """Whether the file is written in RowBinary, and converted at its end: a Parquet file cannot be continued."""


def _gzip(text: bytes) -> bytes:
    return gzip.compress(text, _GZIP_LEVEL, mtime=0)


def _zstd(text: bytes) -> bytes:
    return zstd.compress(text)


FORMATS: Final = {
    ("json", "none"): Format("JSONEachRow", "ndjson", "application/x-ndjson"),
    ("json", "gzip"): Format("JSONEachRow", "ndjson.gz", "application/gzip", _gzip),
    ("csv", "none"): Format("CSV", "csv", "text/csv; charset=utf-8", has_header=True),
    ("csv", "gzip"): Format("CSV", "csv.gz", "application/gzip", _gzip, has_header=True),
    ("parquet", "none"): Format("RowBinary", "parquet", "application/vnd.apache.parquet", _zstd, is_converted=True),
}
"""By format and compression. The pages of a Parquet file are compressed in any case."""
MEDIA_TYPES: Final = {form.extension: form.media_type for form in FORMATS.values()} | {"zip": "application/zip"}
"""By extension."""


def column_names(*, usage_detail: bool) -> list[str]:
    """The columns of an exported event: those of the REST API."""
    return ["id", "timestamp", *(field.name for field in event_columns.shown(usage_detail=usage_detail))]


def header(*, usage_detail: bool) -> bytes:
    """The first line of a CSV file."""
    return ",".join(f'"{name}"' for name in column_names(usage_detail=usage_detail)).encode() + b"\n"


def row(form: Format, *, usage_detail: bool) -> str:
    """The SQL of the text of a row, on a relation `e` with the columns of `event_columns.event`."""
    names = [f"e.{name}" for name in column_names(usage_detail=usage_detail)]
    if form.row_format == "CSV":
        values = [_csv(field) for field in event_columns.shown(usage_detail=usage_detail)]
        names = [*names[:2], *values]
    elif form.row_format == "RowBinary":
        types = [one.partition(" ")[2] for one in _structure(usage_detail=usage_detail)]
        names = [f"CAST({name}, {_quoted(kind)})" for name, kind in zip(names, types, strict=True)]
    return f"formatRow('{form.row_format}', {', '.join(names)})"


def structure(*, usage_detail: bool) -> str:
    """The columns and types of a file in RowBinary, and of the Parquet file that is made of it."""
    return ", ".join(_structure(usage_detail=usage_detail))


def _structure(*, usage_detail: bool) -> list[str]:
    typed = [f"{field.name} {_type(field)}" for field in event_columns.shown(usage_detail=usage_detail)]
    return ["id String", f"timestamp {_TIMESTAMP_TYPE}", *typed]


def _type(field: Field) -> str:
    if field.kind == "string":
        return "String" if field.presence == "always" else "Nullable(String)"
    return "Map(String, String)" if field.kind == "tags" else column_type(field)


def _csv(field: Field) -> str:
    if field is fields.TAGS:
        return f"toJSONString(e.{field.name})"
    if field.kind != "string":
        return f"e.{field.name}"
    text = f"toString(e.{field.name})"
    return rf"if(match({text}, '{_FORMULA}'), concat('\'', {text}), {text})"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "\\'") + "'"
