"""The body of `POST /v1/exports`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

from pydantic import model_validator

from infraprism.backend.api.errors import ApiError
from infraprism.backend.api.filters import Filters

_LISTS: Final = (
    "entity_type", "entity_id", "model", "provider", "operation", "cost_status", "error_type", "session_id", "none",
)  # fmt: skip
_OWN: Final = ("kind", "format", "compression")


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _tag_list(value: object) -> object:
    """Tags as the REST API has them in query strings; also an object of keys and values."""
    if isinstance(value, Mapping):
        return [f"{key}:{str(text).replace(',', chr(92) + ',')}" for key, text in value.items()]
    return _listed(value)


class ExportRequest(Filters):
    """What is exported: the events of a period that the filters select, or an archive.

    A filter is a value or a list of values. `tags` is also an object of keys and values. Both dates are inclusive, and
    days of `time_zone`. An archive has everything that the account holds, or with `entity_type` and `entity_id` what it
    holds of that entity.
    """

    @model_validator(mode="before")
    @classmethod
    def _with_lists(cls, body: object) -> object:
        if not isinstance(body, Mapping):
            return body
        lists = {name: _listed(value) for name, value in body.items() if name in _LISTS}
        tags = {"tags": _tag_list(body["tags"])} if "tags" in body else {}
        return {**body, **lists, **tags}

    kind: Literal["events", "archive"] = "events"
    format: Literal["csv", "json", "parquet"] | None = None
    compression: Literal["none", "gzip"] = "none"

    def parameters(self, *, usage_detail: bool) -> dict[str, Any]:
        """The parameters of the job. Raises ApiError."""
        if self.kind == "archive":
            return self._archive()
        if self.format is None:
            raise ApiError(400, "invalid_parameter", "format: one of csv, json, parquet")
        if self.start_date is None or self.end_date is None:
            raise ApiError(400, "invalid_parameter", "start_date, end_date: set both")
        if self.format == "parquet" and self.compression != "none":
            raise ApiError(400, "invalid_parameter", "compression: a Parquet file is compressed in any case")
        first_ms, end_ms = self.bounds_ms()
        filters = self.model_dump(exclude={*_OWN, "start_date", "end_date"}, exclude_defaults=True)
        return {
            "kind": self.kind,
            "format": self.format,
            "compression": self.compression,
            "start_date": self.start_date,
            "end_date": self.end_date,
            "first_ms": first_ms,
            "end_ms": end_ms,
            "filters": filters,
            "usage_detail": usage_detail,
        }

    def _archive(self) -> dict[str, Any]:
        if self.model_fields_set - {"kind", "entity_type", "entity_id"}:
            raise ApiError(400, "invalid_parameter", "kind: an archive has no parameters but entity_type and entity_id")
        entity = {"entity_type": self.entity_type, "entity_id": self.entity_id}
        if [len(values) for values in entity.values()] not in ([0, 0], [1, 1]):
            raise ApiError(400, "invalid_parameter", "entity_type, entity_id: set both, with one value each, or none")
        return {
            "kind": self.kind,
            "first_ms": None,
            "end_ms": None,
            "filters": {name: values for name, values in entity.items() if values},
            # Everything that is stored, whatever the setting is now.
            "usage_detail": True,
        }
