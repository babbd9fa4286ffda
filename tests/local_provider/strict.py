"""Whether a model of a vendor's package fits the bytes it was made of: nothing missing, nothing more."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel


def misfits(model: BaseModel, path: str = "") -> Iterator[str]:
    """Places where the bytes have what the vendor's model does not know, or lack what it needs."""
    name = path or type(model).__name__
    yield from (f"{name}.{key} is unknown" for key in (model.model_extra or {}))
    given = model.model_fields_set
    for key, field in type(model).model_fields.items():
        if field.is_required() and key not in given:
            yield f"{name}.{key} is missing"
        elif key in given:
            yield from _nested(getattr(model, key), f"{name}.{key}")
    yield from _wrong_types(model, name)


def _nested(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, BaseModel):
        yield from misfits(value, path)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _nested(item, f"{path}[{index}]")


def _wrong_types(model: BaseModel, name: str) -> Iterator[str]:
    """The vendors' packages build models without validating them; so it is done here."""
    try:
        type(model).model_validate(model.model_dump(by_alias=True))
    except ValueError as error:
        yield f"{name}: {error}"
