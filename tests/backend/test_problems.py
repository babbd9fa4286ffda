"""Errors are problem details of RFC 9457, and each code has a page."""

from __future__ import annotations

import ast
import http.client
import re
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.kit.backend import Answer, Backend

import infraprism.backend
from infraprism.backend.api.problems import MEDIA_TYPE, PROBLEMS, problem

SOURCES = sorted(Path(infraprism.backend.__path__[0]).rglob("*.py"))
DOCS = (Path(__file__).parents[2] / "docs" / "api.md").read_text("utf-8")
_EXTERNAL = re.compile(r"""(?:src|href)=(?!["']?[/#])|url\(|@import|<script|\son\w+=""", re.IGNORECASE)


def request(backend: Backend, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
    address = urllib.parse.urlsplit(backend.url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=30)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
    finally:
        connection.close()


def codes() -> Iterator[tuple[int, str]]:
    """The statuses and codes of the errors in the source of the backend."""
    for source in SOURCES:
        for node in ast.walk(ast.parse(source.read_text("utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("ApiError", "error_response"):
                status, code = node.args[:2]
                if isinstance(status, ast.Constant) and isinstance(code, ast.Constant):
                    yield int(str(status.value)), str(code.value)


def test_every_code_of_the_source_is_in_the_table_and_in_the_documentation() -> None:
    found = set(codes())
    assert len(found) > 5
    for status, code in found:
        assert code in PROBLEMS, code
        assert re.search(rf"^\| {status} \| .*`{code}`", DOCS, re.MULTILINE), (status, code)


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/events?limit=0", 400, "invalid_parameter"),
        ("GET", "/v1/events?colour=red", 400, "unknown_parameter"),
        ("GET", "/v1/none", 404, "not_found"),
        ("GET", "/none", 404, "not_found"),
        ("PUT", "/v1/events", 405, "method_not_allowed"),
        ("GET", "/v1/traces", 405, "method_not_allowed"),
        ("GET", "/errors/none", 404, "not_found"),
    ],
)
def test_an_error_is_a_problem_with_the_earlier_form_as_one_member(
    backend: Backend, method: str, path: str, status: int, code: str
) -> None:
    answer = request(backend, method, path, authorization=f"Bearer {backend.key}")
    assert (answer.status, answer.headers["content-type"]) == (status, MEDIA_TYPE)
    body = answer.json
    assert set(body) == {"type", "title", "status", "detail", "error"}
    assert (body["type"], body["status"]) == (f"/errors/{code}", status)
    assert body["error"] == {"code": code, "message": body["detail"]}
    assert (status == 405) == ("allow" in answer.headers)


def test_no_key_is_a_problem_too(backend: Backend) -> None:
    answer = request(backend, "GET", "/v1/events")
    assert (answer.status, answer.headers["content-type"]) == (401, MEDIA_TYPE)
    assert answer.json["type"] == "/errors/unauthenticated"


def test_a_code_that_has_no_page_has_no_type() -> None:
    assert problem(409, "other", "text")["type"] == "about:blank"
    assert problem(409, "other", "text")["title"] == "Conflict"


@pytest.mark.parametrize("code", PROBLEMS)
def test_each_code_has_a_page_without_scripts_and_other_servers(backend: Backend, code: str) -> None:
    answer = request(backend, "GET", f"/errors/{code}")
    assert answer.status == 200
    assert PROBLEMS[code].title in answer.body.decode()
    assert_closed(answer)


def assert_closed(answer: Answer) -> None:
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert not _EXTERNAL.search(answer.body.decode())
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "unsafe" not in answer.headers["content-security-policy"]


def test_the_page_of_the_reference_has_every_operation(backend: Backend) -> None:
    answer = request(backend, "GET", "/docs")
    assert answer.status == 200
    assert_closed(answer)
    document = backend.http("/openapi.json", None, {}).json
    for path, methods in document["paths"].items():
        for method in methods:
            assert f"<code>{method.upper()} {path}</code>" in answer.body.decode()
