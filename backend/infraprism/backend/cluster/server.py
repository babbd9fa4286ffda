"""A connection to ClickHouse over HTTP: the first host that answers, and errors without values of the data."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError
from clickhouse_connect.driver.external import ExternalData

from infraprism.backend.cluster.server_address import ServerAddress
from infraprism.backend.store.database import MAX_QUERY_BYTES, MAX_QUERY_S, Parameter, StoreError
from infraprism.backend.store.quoting import NO_SETTINGS

MIN_VERSION: Final = (25, 8)
_CONNECT_TIMEOUT_S: Final = 5
_TIMEOUT_S: Final = 60
_REFUSED: Final = frozenset({192, 193, 194, 516})
_NOT_ALLOWED: Final = 497
UNREACHABLE: Final = 210
"""ClickHouse's code for an error of the network."""
_READ_SETTINGS: Final = {
    "readonly": "2",
    "max_execution_time": str(MAX_QUERY_S),
    "max_memory_usage": str(MAX_QUERY_BYTES),
    "date_time_output_format": "iso",
    "output_format_json_quote_64bit_integers": "0",
    "output_format_json_quote_decimals": "0",
}


class ServerError(Exception):
    """The server cannot be used. The message is shown to the user; it has no password."""


class Server:
    """Runs SQL on the server. Thread-safe. Raises ServerError if it cannot be used, later StoreError."""

    def __init__(self, address: ServerAddress) -> None:
        # It logs each error, in addition to raising it.
        logging.getLogger("clickhouse_connect").setLevel(logging.CRITICAL)
        self._address = address
        self._lock = threading.Lock()
        self._host = 0
        self._connection: Connection | None = None
        with self._setup_errors():
            client = self._connect()
        self._check_version(client.server_version or "")
        client.close()

    def define(self, statements: list[str]) -> None:
        """Create the database and the tables that are missing. Raises ServerError."""
        cluster = f" ON CLUSTER '{self._address.cluster}'" if self._address.cluster else ""
        with self._setup_errors():
            client = self._connect()
            self._check_cluster(client)
            client.command(f"CREATE DATABASE IF NOT EXISTS {self._address.database}{cluster}", use_database=False)
            for statement in statements:
                client.command(statement, use_database=False)
            client.close()

    def _check_cluster(self, client: Client) -> None:
        if self._address.cluster is None:
            return
        sql = "SELECT uniqExact(shard_num) FROM system.clusters WHERE cluster = {cluster:String}"
        shards = int(str(client.command(sql, parameters={"cluster": self._address.cluster}, use_database=False)))
        if shards != 1:
            raise ServerError(
                f"{self._address} has no cluster of this name: check ?cluster= and system.clusters"
                if shards == 0
                else f"the cluster of {self._address} has {shards} shards: one shard with replicas is supported"
            )

    @contextmanager
    def _setup_errors(self) -> Iterator[None]:
        try:
            yield
        except ClickHouseError as error:
            raise ServerError(self._explained(error)) from None

    def _explained(self, error: ClickHouseError) -> str:
        code = getattr(error, "code", None) or 0
        text = str(error)
        if code in _REFUSED:
            return f"{self._address} refused the user and the password of --store"
        if code == _NOT_ALLOWED:
            return f"the user of --store may not create the tables in {self._address}: grant CREATE, SELECT and INSERT"
        if code:
            return f"{self._address} cannot be used (code {code})"
        if re.search(r"certificate verify failed", text, re.IGNORECASE):
            return f"the certificate of {self._address} is not trusted: set SSL_CERT_FILE to its authority"
        if re.search(r"SSL|TLS|wrong version number", text):
            return f"{self._address} does not answer in TLS: check the port, or add ?secure=false for HTTP"
        return f"{self._address} does not answer: check host, port and secure of --store"

    def _check_version(self, version: str) -> None:
        numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:2])
        if numbers < MIN_VERSION:
            wanted = ".".join(map(str, MIN_VERSION))
            raise ServerError(f"{self._address} is ClickHouse {version}: {wanted} or newer is needed")

    def _connect(self) -> Client:
        """A client of the first host that answers, beginning with the last one that did."""
        failure: ClickHouseError | None = None
        hosts = self._address.hosts
        for place in range(len(hosts)):
            number = (self._host + place) % len(hosts)
            host, port = hosts[number]
            try:
                client = clickhouse_connect.get_client(
                    host=host,
                    port=port,
                    username=self._address.user,
                    password=self._address.password,
                    secure=self._address.is_secure,
                    autogenerate_session_id=False,  # a session runs one query at a time
                    connect_timeout=_CONNECT_TIMEOUT_S,
                    send_receive_timeout=_TIMEOUT_S,
                    query_retries=0,
                )
            except ClickHouseError as error:
                failure = failure or error
                continue
            self._host = number
            client.database = self._address.database
            return client
        assert failure is not None
        raise failure

    def connection(self) -> Connection:
        """The connection to the host that is used now."""
        with self._lock:
            if self._connection is None:
                with _store_errors():
                    self._connection = Connection(self._connect(), self._change_host)
            return self._connection

    def _change_host(self, failed: Connection) -> None:
        with self._lock:
            if self._connection is failed:
                self._connection = None
                self._host = (self._host + 1) % len(self._address.hosts)

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None


class Connection:
    """Runs SQL on one host, never on another. Thread-safe. Raises StoreError."""

    def __init__(self, client: Client, on_failure: Callable[[Connection], None]) -> None:
        self._client = client
        self._on_failure = on_failure

    def read(
        self,
        sql: str,
        parameters: Mapping[str, Parameter],
        timeout_s: int = MAX_QUERY_S,
        settings: Mapping[str, str] = NO_SETTINGS,
    ) -> list[bytes]:
        """The rows of a SELECT, each as one JSON object."""
        return self.read_as("JSONEachRow", sql, parameters, timeout_s, settings).splitlines()

    def read_as(
        self,
        form: str,
        sql: str,
        parameters: Mapping[str, Parameter],
        timeout_s: int = MAX_QUERY_S,
        settings: Mapping[str, str] = NO_SETTINGS,
    ) -> bytes:
        """The rows of a SELECT in a format of the engine."""
        settings = {**_READ_SETTINGS, "max_execution_time": str(timeout_s), **settings}
        with self._errors():
            found: bytes = self._client.raw_query(sql, parameters=dict(parameters), fmt=form, settings=settings)
        return found

    def binary(self, sql: str, external: ExternalData | None = None) -> bytes:
        """The rows of a SELECT as RowBinary. The limits of queries do not apply."""
        with self._errors():
            return self._client.raw_query(sql, fmt="RowBinary", external_data=external)

    def command(self, sql: str, data: bytes | None = None, settings: Mapping[str, Any] | None = None) -> None:
        """Run a statement without result; `data` is what it inserts."""
        with self._errors():
            self._client.command(sql, data=data, settings=dict(settings or {}))

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            with _store_errors():
                yield
        except StoreError as error:
            if error.code == UNREACHABLE:
                self._on_failure(self)
            raise

    def close(self) -> None:
        """Close the connection."""
        self._client.close()


@contextmanager
def _store_errors() -> Iterator[None]:
    try:
        yield
    except ClickHouseError as error:
        raise StoreError(getattr(error, "code", None) or UNREACHABLE) from None
