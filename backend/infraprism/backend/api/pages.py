"""The pages `/docs` and `/errors/CODE`: HTML without scripts and without anything of another server."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from hashlib import sha256
from html import escape
from typing import Any, Final

from fastapi import FastAPI, Response

from infraprism.backend.api.errors import ApiError
from infraprism.backend.api.problems import PROBLEMS, TYPE_PREFIX

HTML: Final = "text/html; charset=utf-8"
_STYLE: Final = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a}"
    "code{font-family:ui-monospace,monospace}table{border-collapse:collapse;width:100%;margin:.5rem 0 1rem}"
    "th,td{text-align:left;vertical-align:top;padding:.25rem .75rem .25rem 0;border-bottom:1px solid #ddd}"
    "h2{margin:2rem 0 .25rem;font-size:1.1rem}"
)
_HEADERS: Final = {
    "content-security-policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none';"
    f" style-src 'sha256-{base64.b64encode(sha256(_STYLE.encode()).digest()).decode()}'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}


def add_pages(app: FastAPI) -> None:
    """Add the pages. They need no key."""

    @app.get("/docs", response_class=Response, responses=_described("The page"))
    def docs() -> Response:
        """The operations of this server, as a page. Needs no key."""
        return _page("InfraPrism REST API", _operations(app.openapi()))

    @app.get(TYPE_PREFIX + "{code}", response_class=Response, responses=_described("The page", "404"))
    def error_page(code: str) -> Response:
        """What an error code means, as a page. Needs no key."""
        found = PROBLEMS.get(code)
        if found is None:
            raise ApiError(404, "not_found", "no error has this code: docs/api.md lists them")
        return _page(found.title, f"<p><code>{escape(code)}</code></p><p>{_inline(found.advice)}</p>")


def _described(text: str, *errors: str) -> dict[int | str, dict[str, Any]]:
    page = {"description": text, "content": {HTML.partition(";")[0]: {"schema": {"type": "string"}}}}
    return {"200": page, **{status: {"description": "No such page"} for status in errors}}


def _page(title: str, body: str) -> Response:
    text = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}</style></head><body><main><h1>{escape(title)}</h1>{body}</main></body></html>"
    )
    return Response(text, media_type=HTML, headers=_HEADERS)


def _operations(document: Mapping[str, Any]) -> str:
    introduction = (
        '<p>The machine-readable form is <a href="/openapi.json">/openapi.json</a>. Send the key of the account as'
        " <code>Authorization: Bearer ip-...</code>.</p>"
    )
    return introduction + "".join(
        _operation(method, path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    )


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> str:
    parameters = (
        (found["name"], found["in"], "yes" if found.get("required") else "no", _type(found.get("schema", {})))
        for found in operation.get("parameters", ())
    )
    body = operation.get("requestBody", {}).get("content", {})
    responses = (
        (status, response.get("description", ""), ", ".join(response.get("content", {})))
        for status, response in operation["responses"].items()
    )
    return (
        f"<section><h2><code>{escape(method.upper())} {escape(path)}</code></h2>"
        f"<p>{_inline(operation.get('description', operation.get('summary', '')))}</p>"
        + (f"<p>Body: <code>{escape(', '.join(body))}</code></p>" if body else "")
        + _table(("parameter", "in", "required", "type"), parameters)
        + _table(("status", "response", "media type"), responses)
        + "</section>"
    )


def _type(schema: Mapping[str, Any]) -> str:
    options = [_type(option) for option in schema.get("anyOf", ()) if option.get("type") != "null"]
    if options:
        return " or ".join(options)
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    if "enum" in schema:
        return ", ".join(map(str, schema["enum"]))
    return str(schema.get("type", ""))


def _table(headings: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    lines = "".join(f"<tr>{''.join(f'<td>{escape(str(cell))}</td>' for cell in row)}</tr>" for row in rows)
    if not lines:
        return ""
    head = "".join(f'<th scope="col">{heading}</th>' for heading in headings)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>"


def _inline(text: str) -> str:
    """Text with `code` between backticks, as HTML."""
    parts = escape(text).split("`")
    return "".join(f"<code>{part}</code>" if index % 2 else part for index, part in enumerate(parts))
