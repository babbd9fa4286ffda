"""ClickHouse's HTTP interface over the embedded engine, for the parts that clickhouse-connect uses.

It is no ClickHouse server: replication and Distributed tables are missing. `python -m tests.kit.clickhouse_front DIR`
prints its port and serves until it is ended.
"""

from __future__ import annotations

import base64
import contextlib
import email.parser
import email.policy
import gzip
import json
import os
import re
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

import lz4.frame
from tests.kit.command import clean_environment

from infraprism.backend.store.quoting import literal

USER = "infraprism"
PASSWORD = "the-password-of-the-server"
DATABASE = "calls"
_NO_SETTINGS = frozenset({"database", "query", "query_id", "session_id", "compress", "client_protocol_version"})
_TRANSPORT = frozenset({"wait_end_of_query", "send_progress_in_http_headers", "http_headers_progress_interval_ms",
                        "enable_http_compression", "cancel_http_readonly_queries_on_client_close"})  # fmt: skip
_FORMAT = re.compile(r"\s+FORMAT\s+(\w+)\s*;?\s*$", re.IGNORECASE)
_INPUT = re.compile(r"\binput\(('(?:[^'\\]|\\.)*')\)")
_DATA_FORMAT = re.compile(r"^(\s*INSERT\s+INTO\s+.*?)\s+FORMAT\s+(\w+)\s*$", re.IGNORECASE | re.DOTALL)
_CODE = re.compile(r"Code: (\d+)")
_STATUS = {516: 403, 497: 403, 60: 404, 81: 404, 159: 408, 241: 500}


class _Failure(Exception):  # noqa: N818  # a response
    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"Code: {code}. DB::Exception: {message}")
        self.code = code


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 65_536
    disable_nagle_algorithm = True
    directory = ""
    version = ""

    def log_message(self, *_: Any) -> None:
        """Nothing is logged."""

    def do_GET(self) -> None:
        self._respond()

    def do_POST(self) -> None:
        self._respond()

    def _respond(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", "0")))
        parameters = dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True))
        if urlsplit(self.path).path == "/ping":
            self._send(200, b"Ok.\n", {})
            return
        try:
            self._authenticate()
            content, form = self._run(body, parameters)
        except _Failure as failure:
            code = failure.code
            self._send(_STATUS.get(code, 500), str(failure).encode(), {"X-ClickHouse-Exception-Code": str(code)})
        else:
            self._send(200, content, {"X-ClickHouse-Format": form, "X-ClickHouse-Summary": json.dumps({})})

    def _authenticate(self) -> None:
        scheme, _, credentials = self.headers.get("authorization", "").partition(" ")
        if scheme != "Basic" or base64.b64decode(credentials).decode() != f"{USER}:{PASSWORD}":
            raise _Failure(516, "default: Authentication failed: password is incorrect, or there is no such user")

    def _run(self, body: bytes, parameters: dict[str, str]) -> tuple[bytes, str]:
        import chdb  # noqa: PLC0415  # the tests import this module too

        body = _decompressed(body, self.headers.get("content-encoding", ""))
        with ExitStack() as stack:
            connection = chdb.connect(self.directory)
            stack.callback(connection.close)
            sql, data, tables = self._parts(body, parameters)
            sql, form = self._prepared(sql, data, stack)
            try:
                if database := parameters.get("database"):
                    connection.query(f"USE `{database}`")
                for name, (structure, table_format, content) in tables.items():
                    path = stack.enter_context(_file(content))
                    connection.query(f"CREATE TEMPORARY TABLE {name} ({structure})")
                    connection.query(
                        f"INSERT INTO {name} SELECT * FROM file('{path}', '{table_format}', '{structure}')"
                    )
                for name, value in parameters.items():
                    if name not in _NO_SETTINGS | _TRANSPORT and not name.startswith(("param_", *tables)):
                        connection.query(f"SET {name} = {literal(value)}")
                bound = {
                    name.removeprefix("param_"): value
                    for name, value in parameters.items()
                    if name.startswith("param_")
                }
                content = connection.query(sql, form, params=bound).bytes()
            except (RuntimeError, OSError) as error:
                raise _failure(str(error)) from None
            except Exception as error:  # noqa: BLE001  # the engine's own type
                raise _failure(str(error)) from None
        if self.version and "version()" in sql:
            content = self.version.encode() + content[content.index(b"\t") :]
        return content, form

    def _parts(self, body: bytes, parameters: dict[str, str]) -> tuple[str, bytes, dict[str, tuple[str, str, bytes]]]:
        """The SQL, the data of an INSERT, and the external tables."""
        if "multipart" in self.headers.get("content-type", ""):
            head = f"content-type: {self.headers['content-type']}\r\n\r\n".encode()
            message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + body)
            tables, sql = {}, parameters.get("query", "")
            for part in message.iter_parts():
                name = str(part.get_param("name", header="content-disposition"))
                content = part.get_payload(decode=True)
                assert isinstance(content, bytes)
                if name == "query":
                    sql = content.decode()
                elif name.startswith("param_"):  # the client sends long parameters in the body
                    parameters[name] = content.decode()
                else:
                    tables[name] = (parameters[f"{name}_structure"], parameters[f"{name}_format"], content)
            return sql, b"", tables
        if "query" in parameters:
            return parameters["query"], body, {}
        return body.decode(), b"", {}

    @staticmethod
    def _prepared(sql: str, data: bytes, stack: ExitStack) -> tuple[str, str]:
        """The statement for the embedded engine, and the format of its result."""
        if data and (insert := _DATA_FORMAT.match(sql)):
            path = stack.enter_context(_file(data))
            statement, form = insert[1], insert[2]
            if _INPUT.search(statement):
                return _INPUT.sub(lambda found: f"file('{path}', '{form}', {found[1]})", statement), "TabSeparated"
            return f"{statement} SELECT * FROM file('{path}', '{form}')", "TabSeparated"
        found = _FORMAT.search(sql)
        if found and not sql.lstrip().upper().startswith("INSERT"):
            return sql[: found.start()], found[1]
        return sql, "TabSeparated"

    def _send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        with contextlib.suppress(ConnectionError):
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(content)), "X-ClickHouse-Timezone": "UTC"}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)


def _failure(message: str) -> _Failure:
    found = _CODE.search(message)
    text = message.partition("DB::Exception: ")[2] or message
    return _Failure(int(found[1]) if found else 1001, text)


def _decompressed(body: bytes, encoding: str) -> bytes:
    if encoding == "gzip":
        return gzip.decompress(body)
    if encoding == "lz4":
        content: bytes = lz4.frame.decompress(body)
        return content
    assert not encoding, encoding
    return body


@contextmanager
def _file(content: bytes) -> Iterator[str]:
    with os.fdopen(os.memfd_create("data"), "wb") as file:
        file.write(content)
        file.flush()
        yield f"/dev/fd/{file.fileno()}"


def _serve(directory: str, port: int, version: str, certificate: str) -> None:
    import chdb  # noqa: PLC0415  # as above

    kept = chdb.connect(directory)  # the engine stays open between requests
    kept.query(f"CREATE DATABASE IF NOT EXISTS {DATABASE}")
    _Handler.directory, _Handler.version = directory, version
    server = ThreadingHTTPServer(("127.0.0.1", port), _Handler)
    server.daemon_threads = True
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    print(server.server_address[1], flush=True)  # noqa: T201  # read by the test
    server.serve_forever()


class ClickHouseFront:
    """A running front. `version` replaces the version that it reports; `certificate` is a file with key and chain."""

    def __init__(self, directory: Path, port: int = 0, version: str = "", certificate: str = "") -> None:
        self._arguments = (str(directory), version, certificate)
        self._start(port)

    def _start(self, port: int) -> None:
        directory, version, certificate = self._arguments
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.kit.clickhouse_front", directory, str(port), version, certificate],
            cwd=Path(__file__).resolve().parents[2],
            env=clean_environment(),
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def url(self, password: str = PASSWORD, database: str = DATABASE, options: str = "?secure=false") -> str:
        """The URL for `--store`."""
        return f"clickhouse://{USER}:{password}@127.0.0.1:{self.port}/{database}{options}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def restart(self) -> None:
        """End the process as a crash would, and start it again."""
        self.stop()
        self._start(self.port)

    def stop(self) -> None:
        """End the process as a crash would."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.communicate(timeout=30)


if __name__ == "__main__":
    _serve(sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4])
