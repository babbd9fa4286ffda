"""Stores the events of a request: those of own shards here, the others at their owners, by HTTP."""

from __future__ import annotations

import asyncio
import hmac
import json
from collections import Counter, defaultdict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import urllib3
from starlette.requests import Request
from starlette.responses import Response

from infraprism.backend.accounts.accounts import bearer_token, only_header
from infraprism.backend.cluster import routing
from infraprism.backend.cluster.database import ClusterDatabase
from infraprism.backend.ingest import wire_format
from infraprism.backend.ingest.batch_writer import BatchWriter, RejectedSpans
from infraprism.backend.ingest.event_inserter import Cutoff, Refusing
from infraprism.backend.ingest.otlp_requests import EncodedSpans, parse_protobuf
from infraprism.backend.ingest.rejections import STORE_FAILED, TOO_LARGE, UNREADABLE, RejectedError
from infraprism.backend.store.identities import NONE, Hashes, Identities

PATH: Final = "/internal/v1/events"
_ACCOUNT: Final = "x-infraprism-account"
_USAGE_DETAIL: Final = "x-infraprism-usage-detail"
_MAX_BODY_BYTES: Final = 64 * 2**20
"""A request of at most 16 MiB, with its resources and scopes repeated for each shard."""
MAX_RECEIVED_BYTES: Final = 256 * 2**20
"""Of requests of other nodes that are not stored yet."""
_REQUESTS_AT_ONCE: Final = 32
_TIMEOUT: Final = urllib3.Timeout(connect=3, read=10)
"""As long as exporters wait for an answer by default."""


class _NoIndex:
    """Takes the place of the index of one table: each shard has its own index."""

    @property
    def is_loaded(self) -> bool:
        """Always."""
        return True

    def matching(self, hashes: Hashes) -> Identities:
        """No identities."""
        del hashes
        return NONE

    def load(self) -> None:
        """Do nothing."""

    def cancel_load(self) -> None:
        """Do nothing."""

    def discard(self) -> None:
        """Do nothing."""

    def add(self, identities: Identities) -> None:
        """Do nothing."""

    def on_inserted(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class ClusterWriter(BatchWriter):
    """A writer that passes events to the owners of their shards. `secret` is known to the nodes of the cluster only.

    A request is acknowledged when every owner has stored its part. Otherwise it is rejected with a retryable error;
    the parts that are stored already count once when it is sent again.
    """

    def __init__(
        self,
        database: ClusterDatabase,
        secret: bytes,
        cutoff_ms: Cutoff = lambda _: None,
        refusals: Refusing | None = None,
    ) -> None:
        super().__init__(database, ids=_NoIndex(), cutoff_ms=cutoff_ms, refusals=refusals)
        self._cluster = database
        self._secret = secret.hex()
        self._received_bytes = 0
        self._http = urllib3.PoolManager(maxsize=_REQUESTS_AT_ONCE, block=True, retries=False, timeout=_TIMEOUT)
        self._requests_threads = ThreadPoolExecutor(_REQUESTS_AT_ONCE, thread_name_prefix="infraprism-forward")

    async def store(self, account_id: str, spans: EncodedSpans, *, usage_detail: bool) -> RejectedSpans:
        """See BatchWriter."""
        parts = await asyncio.to_thread(self._by_owner, spans)
        results = await asyncio.gather(
            *(self._store_at(owner, account_id, part, usage_detail=usage_detail) for owner, part in parts.items()),
            return_exceptions=True,
        )
        rejected: Counter[str] = Counter()
        for result in results:
            if isinstance(result, BaseException):
                raise result
            rejected.update(result)
        return rejected

    def _by_owner(self, spans: EncodedSpans) -> Mapping[str, EncodedSpans]:
        """The parts by address; that of this node is empty. Raises RejectedError."""
        try:
            wire_format.limit_nesting(spans.body)
            parts = routing.split(spans, self._cluster.shards)
        except wire_format.TooManyError:
            raise RejectedError(TOO_LARGE) from None
        except (wire_format.MalformedError, ValueError):
            raise RejectedError(UNREADABLE) from None
        by_owner: defaultdict[str, list[EncodedSpans]] = defaultdict(list)
        for shard, part in parts.items():
            owner = self._cluster.owner(shard)
            if owner is None:
                raise RejectedError(STORE_FAILED)
            by_owner[owner].append(part)
        return {owner: routing.joined(found) for owner, found in by_owner.items()}

    async def _store_at(self, owner: str, account_id: str, part: EncodedSpans, *, usage_detail: bool) -> RejectedSpans:
        if not owner:
            return await super().store(account_id, part, usage_detail=usage_detail)
        return await asyncio.get_running_loop().run_in_executor(
            self._requests_threads, self._forward, owner, account_id, part.body, usage_detail
        )

    def _forward(self, owner: str, account_id: str, body: bytes, usage_detail: bool) -> RejectedSpans:  # noqa: FBT001  # run_in_executor passes positional arguments only
        headers = {
            "authorization": f"Bearer {self._secret}",
            "content-type": "application/x-protobuf",
            _ACCOUNT: account_id,
            _USAGE_DETAIL: str(int(usage_detail)),
        }
        try:
            response = self._http.request("POST", owner + PATH, body=body, headers=headers, redirect=False)
        except urllib3.exceptions.HTTPError:
            raise RejectedError(STORE_FAILED) from None
        if response.status == UNREADABLE.http_status:
            raise RejectedError(UNREADABLE)
        if response.status != 200:  # noqa: PLR2004  # OK
            raise RejectedError(STORE_FAILED)
        rejected: dict[str, int] = json.loads(response.data)
        return rejected

    async def receive(self, request: Request) -> Response:
        """Store the part of a request that another node has passed on. It is never passed on again."""
        token = bearer_token(only_header(request.headers.getlist("authorization")))
        account_id = request.headers.get(_ACCOUNT, "")
        if not hmac.compare_digest(token.encode(), self._secret.encode()) or not account_id:
            return Response(status_code=401)
        size = int(request.headers.get("content-length", "0"))
        if size > _MAX_BODY_BYTES:
            return Response(status_code=TOO_LARGE.http_status)
        if self._received_bytes + size > MAX_RECEIVED_BYTES:
            return Response(status_code=STORE_FAILED.http_status)
        self._received_bytes += size
        try:
            spans = (await asyncio.to_thread(parse_protobuf, await request.body())).events
            usage_detail = request.headers.get(_USAGE_DETAIL) == "1"
            rejected = await super().store(account_id, spans, usage_detail=usage_detail)
        except RejectedError as error:
            return Response(status_code=error.rejection.http_status)
        finally:
            self._received_bytes -= size
        return Response(json.dumps(dict(rejected)), media_type="application/json")

    async def close(self) -> None:
        """See BatchWriter."""
        await super().close()
        self._requests_threads.shutdown()
        self._http.clear()
