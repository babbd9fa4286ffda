"""Reads a user's file of prices: JSON or YAML in which a key given twice is an error, and numbers stay as written."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any


class Section(dict[str, Any]):
    """A mapping of a file. `repeated` is a key that it gives twice, or None."""

    repeated: str | None = None


class UnreadableError(ValueError):
    """A file that is not valid JSON or YAML; the message contains the reason and, where known, the line."""


def load(path: Path) -> Any:
    """The content of a .json, .yaml or .yml file, with `Section` for each mapping.

    Raises OSError if it cannot be read, and UnreadableError if it is not valid.
    """
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableError(f"it is not UTF-8 text: {error.reason}") from None
    try:
        return _yaml(text) if path.suffix.lower() in {".yaml", ".yml"} else _json(text)
    except RecursionError:
        raise UnreadableError("it is nested too deeply") from None


def repeated_key(value: Any) -> str | None:
    """The first key that a mapping, or one in it, gives twice."""
    parts: Iterable[Any] = ()
    if isinstance(value, Section):
        if value.repeated is not None:
            return value.repeated
        parts = value.values()
    elif isinstance(value, list):
        parts = value
    return next((key for key in map(repeated_key, parts) if key is not None), None)


def _section(pairs: Iterable[tuple[Any, Any]]) -> Section:
    section = Section()
    for key, value in pairs:
        name = str(key)
        if name in section and section.repeated is None:
            section.repeated = name
        section[name] = value
    return section


def _json(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_section)
    except json.JSONDecodeError as error:
        raise UnreadableError(f"it is not JSON: {error.msg} in line {error.lineno}, column {error.colno}") from None


def _yaml(text: str) -> Any:
    try:
        import yaml  # noqa: PLC0415 - the light client install has no PyYAML, and only such a file needs it
    except ImportError:
        raise UnreadableError("YAML needs PyYAML (pip install pyyaml); JSON always works") from None

    class Loader(yaml.SafeLoader):
        """Dates and words such as `yes` stay text, and a key given twice is seen."""

    def mapping(loader: Any, node: Any) -> Section:
        return _section(
            (loader.construct_object(key), loader.construct_object(value, deep=True)) for key, value in node.value
        )

    def as_text(loader: Any, node: Any) -> Any:
        return loader.construct_scalar(node)

    Loader.add_constructor("tag:yaml.org,2002:map", mapping)
    for tag in ("bool", "timestamp"):
        Loader.add_constructor(f"tag:yaml.org,2002:{tag}", as_text)
    try:
        return yaml.load(text, Loader=Loader)  # noqa: S506 - a SafeLoader
    except yaml.MarkedYAMLError as error:
        line = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise UnreadableError(f"it is not YAML: {error.problem}{line}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise UnreadableError(f"it is not YAML: {error}") from None
