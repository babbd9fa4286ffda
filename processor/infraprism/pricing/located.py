"""JSON and YAML files in which every mapping knows the line that it begins on."""

from __future__ import annotations

import json
import json.decoder
import json.scanner
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Located(dict[str, Any]):
    """A mapping of a file, and the line that it begins on."""

    line = 1


class UnreadableError(ValueError):
    """A file that is not what its name says; `line` is where."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(reason)
        self.line = line


def load(path: Path) -> Any:
    """The content of a .json, .yaml or .yml file.

    Raises OSError if it cannot be read and UnreadableError if it cannot be understood.
    """
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableError(1, f"it is no UTF-8 text: {error.reason}") from None
    return _yaml(text) if path.suffix.lower() in {".yaml", ".yml"} else _json(text)


class _Decoder(json.JSONDecoder):
    """The standard decoder, in its Python form, which says where an object begins."""

    def __init__(self) -> None:
        super().__init__(object_pairs_hook=_distinct)
        self.parse_object = self._object
        self.scan_once = json.scanner.py_make_scanner(self)  # type: ignore[attr-defined]

    def _object(self, text_and_end: tuple[str, int], *args: Any) -> tuple[Located, int]:
        text, end = text_and_end
        parse: Callable[..., tuple[Located, int]] = json.decoder.JSONObject  # type: ignore[attr-defined]
        line = text.count("\n", 0, end) + 1
        try:
            value, end = parse(text_and_end, *args)
        except _DuplicateError as error:
            raise UnreadableError(line, str(error)) from None
        value.line = line
        return value, end


class _DuplicateError(ValueError):
    pass


def _distinct(pairs: list[tuple[str, Any]]) -> Located:
    found = Located(pairs)
    if len(found) != len(pairs):
        twice = next(key for key, _ in pairs if [name for name, _ in pairs].count(key) > 1)
        raise _DuplicateError(f"{twice!r} is given twice")
    return found


def _json(text: str) -> Any:
    try:
        return _Decoder().decode(text)
    except json.JSONDecodeError as error:
        raise UnreadableError(error.lineno, f"it is no JSON: {error.msg} in column {error.colno}") from None
    except RecursionError:
        raise UnreadableError(1, "it is nested too deeply") from None


def _yaml(text: str) -> Any:
    try:
        import yaml  # noqa: PLC0415 - the light client install has no PyYAML, and only such a file needs it
    except ImportError:
        raise UnreadableError(1, "YAML needs PyYAML (pip install pyyaml); JSON always works") from None
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise UnreadableError(line, f"it is no YAML: {error.problem}") from None
    except yaml.YAMLError as error:
        raise UnreadableError(1, f"it is no YAML: {error}") from None
    return None if node is None else _value(node, yaml)


def _value(node: Any, yaml: Any) -> Any:
    line = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        found = Located()
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.value in found:
                raise UnreadableError(key.start_mark.line + 1, "a key is given twice, or is no plain text")
            found[key.value] = _value(value, yaml)
        found.line = line
        return found
    if isinstance(node, yaml.SequenceNode):
        return [_value(item, yaml) for item in node.value]
    kind = node.tag.rpartition(":")[2]
    if kind == "null":
        return None
    if kind in {"int", "float"}:
        return _Bare(node.value)
    return node.value


class _Bare:
    """A number without quotes: told apart from text, so that it is refused where digits matter."""

    def __init__(self, written: str) -> None:
        self._written = written

    def __repr__(self) -> str:
        return self._written
