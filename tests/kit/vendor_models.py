"""Compare the pydantic models of the vendors' packages with the responses that they were parsed from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel


def differences(model: BaseModel, path: str = "") -> Iterator[str]:
    """Fields that the vendor's model does not declare, required fields that are missing, and values of a wrong type."""
    name = path or type(model).__name__
    yield from (f"{name}.{key} is unknown" for key in (model.model_extra or {}))
    fields = model.model_fields_set
    for key, field in type(model).model_fields.items():
        if field.is_required() and key not in fields:
            yield f"{name}.{key} is missing"
        elif key in fields:
            yield from _nested(getattr(model, key), f"{name}.{key}")
    yield from _wrong_types(model, name)


def _nested(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, BaseModel):
        yield from differences(value, path)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _nested(item, f"{path}[{index}]")


def _wrong_types(model: BaseModel, name: str) -> Iterator[str]:
    """The vendors' packages do not validate the models, so they are validated here."""
    try:
        type(model).model_validate(model.model_dump(by_alias=True))
    except ValueError as error:
        yield f"{name}: {error}"
