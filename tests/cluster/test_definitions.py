"""The definitions of the tables for a server and a cluster."""

from __future__ import annotations

import re
from collections.abc import Iterator

import clickhouse_connect
import pytest
from clickhouse_connect.driver.client import Client

from infraprism.backend.cluster import definitions
from infraprism.backend.store import schema

SERVER = definitions.for_server("calls")
CLUSTER = definitions.for_cluster("calls", "main", 16)


@pytest.fixture(scope="module")
def engine() -> Iterator[Client]:
    client = clickhouse_connect.get_client(interface="chdb")
    yield client
    client.close()


@pytest.mark.parametrize("sql", [*SERVER, *CLUSTER])
def test_the_parser_of_the_engine_reads_every_definition(engine: Client, sql: str) -> None:
    assert "CreateQuery" in str(engine.command(f"EXPLAIN AST {sql}"))


def test_server_cluster_and_embedded_store_have_the_same_columns_order_and_partitions() -> None:
    def body(sql: str) -> str:
        columns = sql[sql.index("\n(\n") : sql.index("ENGINE")]
        return columns + re.sub(r".*(PARTITION BY .* ORDER BY .*?) SETTINGS .*", r"\1", sql.replace("\n", " "))

    embedded = schema.statement(schema.EVENTS)
    assert body(SERVER[0]) == body(CLUSTER[0]) == body(embedded[embedded.index("CREATE") :])


def test_no_definition_drops_or_replaces_a_table() -> None:
    for sql in (*SERVER, *CLUSTER):
        assert sql.lstrip("- ").split("CREATE", 1)[1].startswith(" TABLE IF NOT EXISTS calls.")
        assert not re.search(r"\b(DROP|REPLACE|TRUNCATE|DETACH)\b", sql)


def test_the_shard_of_an_event_is_the_same_in_python_and_sql(engine: Client) -> None:
    from infraprism.backend.cluster.routing import shard_of  # noqa: PLC0415  # imported after the engine

    for number in range(300):
        event_id = number.to_bytes(2, "big") + bytes([number % 256]) * 14
        found = engine.command(
            f"SELECT {definitions.shard_of(16)} FROM (SELECT CAST(unhex('{event_id.hex()}'), 'FixedString(16)') AS id)"
        )
        assert found == shard_of(event_id, 16)
