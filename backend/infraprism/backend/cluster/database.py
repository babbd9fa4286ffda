"""The store of a node: events are inserted by shard into ClickHouse, and read from there."""

from __future__ import annotations

import itertools
import json
import logging
import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from infraprism.backend.cluster import definitions
from infraprism.backend.cluster.leases import ClusterState, Leases
from infraprism.backend.cluster.owned_shard import OwnedShard
from infraprism.backend.cluster.ownership import LeaseLostError
from infraprism.backend.cluster.server import UNREACHABLE, Server
from infraprism.backend.cluster.server_address import ServerAddress
from infraprism.backend.cluster.staging import StagedEvents, Staging
from infraprism.backend.relational import DatabaseUnavailableError
from infraprism.backend.store.database import Layout, Parameter, Staged, StoredPart, StoreError
from infraprism.backend.store.identities import Identities
from infraprism.backend.store.quoting import events_filter
from infraprism.backend.store.status import StoreStatus

_RENEWALS: Final = 4
"""Per duration of a lease."""
_STATE_S: Final = 1.0
_LANES: Final = 2
_FIRST_LANE: Final = 100
"""The numbers of the lanes: the embedded store of the same engine has others."""
_INSERTS_AT_ONCE: Final = 8
_PROBE_S: Final = 1
_FREE_SPACE: Final = "SELECT min(unreserved_space) AS free FROM system.disks"
_NOT_OWNED: Final = 0
"""The code of a StoreError without an error of ClickHouse."""

_log = logging.getLogger(__name__)


class ClusterDatabase:
    """See Database. `node` is unique to this process.

    A thread takes free shards, up to an equal share of the live nodes, and gives back what exceeds the share.
    """

    def __init__(
        self,
        address: ServerAddress,
        leases: Leases,
        node: str,
        derived_directory: Path,
        engine_directory: Path | None = None,
    ) -> None:
        """Raises ServerError, StoreError, DatabaseUnavailableError."""
        self._is_cluster = address.cluster is not None
        self._leases = leases
        self._node = node
        self.derived_directory = derived_directory
        self._server = Server(address)
        self._server.define(
            definitions.for_server(address.database)
            if address.cluster is None
            else definitions.for_cluster(address.database, address.cluster, leases.shards)
        )
        self._lanes = [
            Staging(leases.shards, lane, engine_directory) for lane in range(_FIRST_LANE, _FIRST_LANE + _LANES)
        ]
        self._owned: dict[int, OwnedShard] = {}
        self._numbers = itertools.count(1)
        self._writing = threading.Lock()
        self._inserts = ThreadPoolExecutor(_INSERTS_AT_ONCE, thread_name_prefix="infraprism-insert")
        self._failure: str | None = None
        self._free_bytes = 0
        self._stopping = threading.Event()
        self._changed = threading.Event()
        self._leases.renew()
        self._state = self._leases.state()
        self._take_shards()
        self._threads = [
            threading.Thread(target=self._run_renewal, name="infraprism-leases", daemon=True),
            threading.Thread(target=self._run_ownership, name="infraprism-shards", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    @property
    def shards(self) -> int:
        """The number of shards of the cluster."""
        return self._leases.shards

    @property
    def owns_all(self) -> bool:
        """Whether this node owns every shard."""
        return len(self._owned) == self.shards

    def owner(self, shard: int) -> str | None:
        """The address of the owner of a shard: empty for this node, None if there is none now."""
        if shard in self._owned:
            return ""
        state = self._state.shards[shard]
        return state.address if state.is_held and state.node != self._node and state.address else None

    @property
    def lanes(self) -> int:
        """See Database."""
        return len(self._lanes)

    def stage(self, lane: int, sql: str, pieces: Sequence[bytes], layout: Layout, rows: int) -> Staged:
        """See Database."""
        return self._lanes[lane].stage(sql, pieces, layout, rows)

    def insert_staged(self, lane: int, columns: Sequence[str], recorded: Identities, *, has_doubles: bool) -> None:
        """See Database. Each shard has its own index of stored ids.

        Raises StoreError if one of the events belongs to a shard that this node does not own.
        """
        del columns, recorded, has_doubles
        self._insert(self._lanes[lane], None)

    def copy(self, source: str) -> None:
        """Insert the rows of a table in the engine of the lanes (SQL after FROM), except those that are stored."""
        self._insert(self._lanes[0], source)

    def _insert(self, staging: Staging, source: str | None) -> None:
        with self._writing:
            staged = staging.by_shard(source)
            stores = [self._inserts.submit(self._store, shard, staging, events) for shard, events in staged.items()]
            failures = [error for stored in stores if (error := stored.result()) is not None]
        if failures:
            raise failures[0]

    def _store(self, shard: int, staging: Staging, events: StagedEvents) -> StoreError | None:
        owned = self._owned.get(shard)
        if owned is None:
            return StoreError(_NOT_OWNED)
        try:
            owned.store(staging, events)
        except StoreError as error:
            self._drop(shard, owned)
            return error
        except (LeaseLostError, DatabaseUnavailableError) as error:
            _log.warning("shard %d is given up: %s", shard, str(error) or "another node owns it")
            self._drop(shard, owned)
            return StoreError(_NOT_OWNED)
        except BaseException:
            self._drop(shard, owned)
            raise
        return None

    def _drop(self, shard: int, owned: OwnedShard) -> None:
        if self._owned.get(shard) is owned:
            del self._owned[shard]
        self._changed.set()

    def _run_renewal(self) -> None:
        while not self._stopping.wait(self._leases.lease_s / _RENEWALS):
            if self._failure is not None:
                continue  # a node that cannot use the store must not keep shards from others
            try:
                self._leases.renew()
            except DatabaseUnavailableError as error:
                _log.warning("the leases of the shards could not be renewed: %s", error)

    def _run_ownership(self) -> None:
        while not self._stopping.is_set():
            self._changed.wait(_STATE_S)
            self._changed.clear()
            if self._stopping.is_set():
                return
            try:
                self._state = self._leases.state()
                (row,) = self._server.connection().read(_FREE_SPACE, {})
                self._free_bytes = int(json.loads(row)["free"])
                self._give_back_surplus()
                self._take_shards()
                self._failure = None
            except DatabaseUnavailableError as error:
                self._failed(f"PostgreSQL does not answer ({error})")
            except StoreError as error:
                self._failed(f"ClickHouse does not answer (code {error.code})")
            except Exception as error:  # noqa: BLE001  # the thread must go on
                self._failed(f"the shards could not be taken ({type(error).__name__})")

    def _failed(self, reason: str) -> None:
        if reason != self._failure:
            _log.warning("%s", reason)
        self._failure = reason

    def _share(self, state: ClusterState) -> int:
        return math.ceil(len(state.shards) / max(1, len(state.nodes | {self._node})))

    def _take_shards(self) -> None:
        state = self._state
        for shard, owner in state.shards.items():
            if len(self._owned) >= self._share(state) or self._stopping.is_set():
                return
            if shard in self._owned or (owner.is_held and owner.node != self._node):
                continue
            owned = OwnedShard(
                shard,
                f"{self._node}/{next(self._numbers)}",
                self._leases,
                self._server.connection(),
                shards=len(state.shards),
                is_cluster=self._is_cluster,
            )
            try:
                owned.take()
            except LeaseLostError:
                continue
            self._owned[shard] = owned

    def _give_back_surplus(self) -> None:
        surplus = len(self._owned) - self._share(self._state)
        if surplus <= 0:
            return
        with self._writing:
            for shard in list(self._owned)[:surplus]:
                self._leases.give_back(shard, self._owned.pop(shard).holder)

    def can_parse(self, lane: int, pieces: Sequence[bytes], layout: Layout) -> bool:
        """See Database."""
        return self._lanes[lane].can_parse(pieces, layout)

    def read(self, sql: str, parameters: Mapping[str, Parameter], *, events: str | None = None) -> list[bytes]:
        """See Database. A host that does not answer is replaced by the next one."""
        settings = events_filter(events)
        try:
            return self._server.connection().read(sql, parameters, settings=settings)
        except StoreError as error:
            if error.code != UNREACHABLE:
                raise
            return self._server.connection().read(sql, parameters, settings=settings)

    def read_as(self, form: str, sql: str, parameters: Mapping[str, Parameter], *, events: str | None = None) -> bytes:
        """See Database."""
        settings = events_filter(events)
        try:
            return self._server.connection().read_as(form, sql, parameters, settings=settings)
        except StoreError as error:
            if error.code != UNREACHABLE:
                raise
            return self._server.connection().read_as(form, sql, parameters, settings=settings)

    def convert(self, source: Path, structure: str, target: Path, should_stop: Callable[[], bool]) -> bool:
        """See Database. The engine of the lanes, in this process, does it."""
        return self._lanes[0].convert(source, structure, target, should_stop)

    def table_id(self) -> str:
        """See Database. The index of a table is not used: each shard has its own."""
        return ""

    def stored_parts(self) -> list[StoredPart]:
        """See Database."""
        return []

    def identities_of(self, part: StoredPart) -> Iterator[Identities]:
        """See Database."""
        del part
        return iter(())

    def on_load(self, loaded: Callable[[], None]) -> None:
        """See Database. The table is never loaded again."""

    def cancel_long_reads(self) -> None:
        """Reads end by the time limit of a query."""

    def status(self) -> StoreStatus:
        """See Database."""
        return StoreStatus(self._failure is None, self._failure, self._free_bytes, 0, merges_stopped=False)

    def write_fault(self) -> str | None:
        """See Database. Nothing is written to the server: `status` has the failure of the last INSERT."""
        return self._failure

    def probe(self) -> None:
        """See Database."""
        self._server.connection().read("SELECT account FROM events LIMIT 1", {}, timeout_s=_PROBE_S)

    def close(self) -> None:
        """Give back all shards, and close the connections."""
        self._stopping.set()
        self._changed.set()
        for thread in self._threads:
            thread.join()
        self._inserts.shutdown()
        try:
            for shard, owned in self._owned.items():
                self._leases.give_back(shard, owned.holder)
            self._leases.leave()
        except DatabaseUnavailableError as error:
            _log.warning(
                "the shards could not be given back (%s): other nodes take them in %d s", error, self._leases.lease_s
            )
        self._leases.close()
        self._server.close()
        for lane in self._lanes:
            lane.close()
