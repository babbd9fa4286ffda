"""The leases of the shards, and the nodes, in PostgreSQL. Times are those of its clock."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from sqlalchemy import CursorResult, Engine, text

from infraprism.backend.cluster.ownership import Acquire, Advance, Lease
from infraprism.backend.relational.database import errors, postgresql_engine

_SETUP_LOCK: Final = 5_201_315
_TABLES: Final = (
    """CREATE TABLE IF NOT EXISTS cluster_nodes
    (
        node TEXT PRIMARY KEY,
        address TEXT NOT NULL,
        seen TIMESTAMPTZ NOT NULL
    )""",
    """CREATE TABLE IF NOT EXISTS cluster_shards
    (
        shard INTEGER PRIMARY KEY,
        holder TEXT NOT NULL DEFAULT '',
        node TEXT NOT NULL DEFAULT '',
        last BIGINT NOT NULL DEFAULT 0,
        months TEXT NOT NULL DEFAULT '',
        expires TIMESTAMPTZ NOT NULL DEFAULT '-infinity'
    )""",
)
_RENEW: Final = (
    "INSERT INTO cluster_nodes (node, address, seen) VALUES (:node, :address, now())"
    " ON CONFLICT (node) DO UPDATE SET address = excluded.address, seen = now()"
)
_ADDRESS: Final = "COALESCE((SELECT address FROM cluster_nodes WHERE node = cluster_shards.node), '')"


class ShardState(NamedTuple):
    """The owner of a shard: its node and address. Without `is_held` the lease has expired or was given back."""

    node: str
    address: str
    is_held: bool


class ClusterState(NamedTuple):
    """The shards, and the nodes that are alive."""

    shards: Mapping[int, ShardState]
    nodes: frozenset[str]


class Leases:
    """The leases as one node sees them. `node` is unique to this process; `address` is the URL for other nodes.

    A lease that is not renewed ends after `lease_s`. Nothing depends on its length but how long a shard has no owner.

    Every method raises DatabaseUnavailableError. Thread-safe.
    """

    def __init__(self, url: str, node: str, address: str, shards: int, lease_s: int) -> None:
        self.lease_s: Final = lease_s
        self._node = node
        self._address = address
        with errors():
            self._engine: Engine = postgresql_engine(url)
        self.shards: Final = self._set_up(shards)

    def _set_up(self, shards: int) -> int:
        """Create the tables and, in a new cluster, the shards. Returns the number of shards of the cluster."""
        with errors(), self._engine.connect() as connection:
            connection.exec_driver_sql(f"SELECT pg_advisory_lock({_SETUP_LOCK})")
            try:
                for table in _TABLES:
                    connection.exec_driver_sql(table)
                if not connection.exec_driver_sql("SELECT count(*) FROM cluster_shards").scalar_one():
                    connection.execute(
                        text("INSERT INTO cluster_shards (shard) SELECT generate_series(0, :last)"),
                        {"last": shards - 1},
                    )
                return int(connection.exec_driver_sql("SELECT count(*) FROM cluster_shards").scalar_one())
            finally:
                connection.exec_driver_sql(f"SELECT pg_advisory_unlock({_SETUP_LOCK})")

    def acquire(self, command: Acquire) -> Lease | None:
        """See Acquire."""
        row = self._run(
            "UPDATE cluster_shards SET holder = :holder, node = :node, expires = now() + :lease * interval '1 second'"
            " WHERE shard = :shard AND (expires < now() OR node = :node) RETURNING last, months",
            {"shard": command.shard, "holder": command.holder, "node": self._node, "lease": self.lease_s},
        )
        if not row:
            return None
        return Lease(row[0].last, frozenset(int(month) for month in row[0].months.split()))

    def advance(self, command: Advance) -> bool:
        """See Advance."""
        rows = self._run(
            "UPDATE cluster_shards SET last = :to, months = :months"
            " WHERE shard = :shard AND holder = :holder AND last = :last RETURNING shard",
            {
                "shard": command.shard,
                "holder": command.holder,
                "last": command.last,
                "to": command.to.last,
                "months": " ".join(str(month) for month in sorted(command.to.months)),
            },
        )
        return bool(rows)

    def give_back(self, shard: int, holder: str) -> None:
        """Let another node take the shard at once."""
        self._run(
            "UPDATE cluster_shards SET expires = '-infinity', holder = '' WHERE shard = :shard AND holder = :holder"
            " RETURNING shard",
            {"shard": shard, "holder": holder},
        )

    def renew(self) -> None:
        """Report that this node is alive, and keep its leases."""
        with errors(), self._engine.connect() as connection:
            connection.execute(text(_RENEW), {"node": self._node, "address": self._address})
            connection.execute(
                text(
                    "UPDATE cluster_shards SET expires = now() + :lease * interval '1 second'"
                    " WHERE node = :node AND holder != ''"
                ),
                {"node": self._node, "lease": self.lease_s},
            )

    def leave(self) -> None:
        """Report that this node has stopped."""
        self._run("DELETE FROM cluster_nodes WHERE node = :node RETURNING node", {"node": self._node})

    def state(self) -> ClusterState:
        """The owners of the shards, and the nodes."""
        shards = self._run(
            f"SELECT shard, node, {_ADDRESS} AS address, expires >= now() AS is_held FROM cluster_shards"
        )
        nodes = self._run(
            "SELECT node FROM cluster_nodes WHERE seen > now() - :lease * interval '1 second'", {"lease": self.lease_s}
        )
        return ClusterState(
            {row.shard: ShardState(row.node, row.address, row.is_held) for row in shards},
            frozenset(row.node for row in nodes),
        )

    def _run(self, sql: str, values: Mapping[str, Any] | None = None) -> list[Any]:
        with errors(), self._engine.connect() as connection:
            result: CursorResult[Any] = connection.execute(text(sql), dict(values or {}))
            return list(result.all())

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()
