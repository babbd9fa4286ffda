"""The definitions of the tables on a ClickHouse server or cluster, rendered from the definition of the embedded store.

Every statement creates what is missing. None replaces or drops a table: other nodes insert into it.
"""

from __future__ import annotations

from typing import Final

from infraprism.backend.store import schema
from infraprism.backend.store.quoting import literal

LOCAL_EVENTS: Final = "events_local"
"""In a cluster: the table of one shard, into which rows are inserted. `events` is then the table of all shards."""
TOKENS: Final = 100_000
"""INSERTs whose deduplication tokens a table remembers."""
TOKENS_S: Final = 86_400
"""How long a cluster remembers them. It must be much longer than INSERT_DEADLINE_S."""
_CREATE: Final = "CREATE TABLE IF NOT EXISTS events\n"
_ENGINE: Final = "ENGINE = MergeTree\n"
_SETTINGS: Final = "\nSETTINGS "


def shard_of(shards: int) -> str:
    """The SQL expression for the shard of an event: from the first two bytes of its id, which is a hash."""
    return f"reinterpretAsUInt16(substring(id, 1, 2)) % {shards}"


def for_server(database: str) -> list[str]:
    """The statements for one server without replication."""
    return [
        _events(
            f"CREATE TABLE IF NOT EXISTS {database}.{schema.EVENTS}\n",
            _ENGINE,
            f"non_replicated_deduplication_window = {TOKENS}",
        )
    ]


def for_cluster(database: str, cluster: str, shards: int) -> list[str]:
    """The statements for a cluster, which one node of it runs on all.

    Its servers need the macros `shard` and `replica`. Rows of one event id are on one server and its replicas.
    """
    on_cluster = f"ON CLUSTER {literal(cluster)}"
    path = f"/clickhouse/tables/{{shard}}/{database}/{LOCAL_EVENTS}"
    local = _events(
        f"CREATE TABLE IF NOT EXISTS {database}.{LOCAL_EVENTS} {on_cluster}\n",
        f"ENGINE = ReplicatedMergeTree({literal(path)}, '{{replica}}')\n",
        f"replicated_deduplication_window = {TOKENS}, replicated_deduplication_window_seconds = {TOKENS_S}",
    )
    distributed = (
        f"CREATE TABLE IF NOT EXISTS {database}.{schema.EVENTS} {on_cluster} AS {database}.{LOCAL_EVENTS}\n"
        f"ENGINE = Distributed({literal(cluster)}, {database}, {LOCAL_EVENTS}, {shard_of(shards)})"
    )
    return [local, distributed]


def _events(create: str, engine: str, settings: str) -> str:
    sql = schema.statement(schema.EVENTS)
    for found in (_CREATE, _ENGINE, _SETTINGS):
        assert sql.count(found) == 1, f"events.sql has not exactly one {found!r}"
    return sql.replace(_CREATE, create).replace(_ENGINE, engine).replace(_SETTINGS, f"{_SETTINGS}{settings}, ")
