"""What the relational database, the store and the data directory contain.

A test compares these tables with the columns of every database and the files of a data directory.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

UNTIL_DELETION: Final = "until the account is deleted"
FOR_EVER: Final = "as long as the installation"


class Table(NamedTuple):
    """A table: its purpose, how long its rows are kept, and the content of each column."""

    purpose: str
    kept: str
    columns: Mapping[str, str]


TABLES: Final[Mapping[str, Table]] = {
    "accounts": Table(
        "Organisations",
        UNTIL_DELETION,
        {
            "id": "random id",
            "company": "company name",
            "plan": "name of the plan",
            "usage_detail": "whether the opt-in fields of events are stored",
            "created_at": "when the account was created",
            "time_zone": "reporting time zone",
            "requests_per_minute": "limit of an enterprise account",
            "retention_days": "retention period of an enterprise account",
            "region": "region whose server has the data of the account",
        },
    ),
    "members": Table(
        "People who log in",
        UNTIL_DELETION + ", or the member is removed",
        {
            "id": "random id",
            "account_id": "the account",
            "email": "email address",
            "name": "name",
            "role": "owner, admin or viewer",
            "password_hash": "bcrypt hash of the password",
            "email_verified_at": "when the address was verified",
        },
    ),
    "keys": Table(
        "API keys of InfraPrism",
        UNTIL_DELETION,
        {
            "hash": "SHA-256 of the key; the key itself is not stored",
            "prefix": "first characters, by which the owner recognises the key",
            "account_id": "the account",
            "created_at": "when the key was created",
            "revoked_at": "when the key was revoked",
            "name": "name that the owner chose",
            "scopes": "ingest, read, admin",
            "last_used_on": "day of last use",
            "expires_at": "when a rotated key ends",
        },
    ),
    "links": Table(
        "Links that can be used once",
        "until used, replaced or expired",
        {
            "hash": "SHA-256 of the token",
            "kind": "setup, invitation, verification or password reset",
            "account_id": "the account",
            "member_id": "the member",
            "expires_at": "when the link ends",
            "is_mailed": "whether the link was mailed",
        },
    ),
    "sessions": Table(
        "Logged-in browsers",
        "until logout or expiry",
        {
            "hash": "SHA-256 of the token in the cookie",
            "member_id": "the member",
            "created_at": "when the member logged in",
            "last_used_at": "when the session was used last",
        },
    ),
    "secrets": Table(
        "Random keys of the installation, which sign cursors and links",
        FOR_EVER,
        {"name": "purpose", "value": "random bytes"},
    ),
    "jobs": Table(
        "Exports and deletions in progress or ended",
        "30 days after the end",
        {
            "id": "random id",
            "account_id": "the account",
            "kind": "what the job does",
            "parameters": "period, format and filters of the request",
            "state": "queued, running, succeeded, failed or cancelled",
            "progress_done": "progress",
            "progress_total": "progress",
            "checkpoint": "where the job continues after a restart",
            "result": "counts and sums of the result",
            "error_code": "why the job failed",
            "error_message": "a fixed text",
            "created_ms": "when the job was created",
            "started_ms": "when the job was started",
            "ended_ms": "when the job ended",
            "expires_ms": "when the result is removed",
            "actor": "id of the key or member that asked for it",
            "idempotency_key": "value of the `Idempotency-Key` header",
            "is_cancel_requested": "whether the job is to be cancelled",
            "attempts": "number of attempts",
            "retry_ms": "when it is tried again",
            "lease_owner": "random id of the server process that runs it",
            "lease_until_ms": "until when that process runs it",
            "region": "region whose server runs the job",
        },
    ),
    "audit_log": Table(
        "Who did what, and when",
        UNTIL_DELETION,
        {
            "account_id": "the account",
            "number": "position in the chain",
            "time": "when it happened",
            "actor": "id of the key or member, `operator` or `system`",
            "action": "one of a closed list",
            "object": "id of the key, member or job",
            "hash": "SHA-256 of the entry and of the hash before it",
        },
    ),
    "account_retention": Table(
        "Retention of single accounts",
        UNTIL_DELETION,
        {
            "account_id": "the account",
            "days": "retention period, if not that of the plan",
            "deleted_before_day": "the day before which events were deleted",
        },
    ),
    "deletions": Table(
        "Scopes that were deleted, so that late events of them are refused",
        UNTIL_DELETION,
        {
            "id": "random id",
            "account_id": "the account",
            "kind": "entity, session, tag, period or everything",
            "scope": "the identifier, until the deletion is complete",
            "hash": "keyed hash of the identifier",
            "first_ms": "start of the period",
            "end_ms": "end of the period",
            "requested_ms": "when the deletion was requested",
        },
    ),
    "receipts": Table(
        "Receipts of deletions",
        UNTIL_DELETION,
        {
            "account_id": "the account",
            "number": "position in the chain",
            "id": "random id",
            "deletion_id": "the deletion",
            "content": "counts before and after, times, keyed hash of the scope",
            "hash": "SHA-256 of the receipt and of the hash before it",
        },
    ),
    "billing_customers": Table(
        "Customers at Stripe, if billing is configured",
        UNTIL_DELETION,
        {
            "account_id": "the account",
            "customer_id": "id of the customer at Stripe",
            "changed_at": "time of the newest event of the subscription",
        },
    ),
    "usage_requests": Table(
        "API request logs",
        "7 days",
        {
            "number": "position",
            "account_id": "the account",
            "time": "when the request was made",
            "key_id": "id of the key",
            "method": "HTTP method",
            "route": "template of the route, such as `/v1/events/{event_id}`",
            "status": "HTTP status",
            "duration_ms": "duration",
        },
    ),
    "usage_actions": Table(
        "Page views and feature usage",
        "90 days",
        {
            "account_id": "the account",
            "day": "the day",
            "kind": "page or feature",
            "name": "one of a closed list",
            "count": "how often",
        },
    ),
    "usage_errors": Table(
        "Error logs",
        "30 days",
        {
            "day": "the day",
            "place": "module and function of InfraPrism's code",
            "class": "level of the log record, or class of the error",
            "code": "code of the error",
            "count": "how often",
        },
    ),
    "usage_settings": Table(
        "Whether page views and feature usage are counted",
        UNTIL_DELETION,
        {"account_id": "the account", "counts_actions": "yes or no"},
    ),
    "closed_accounts": Table(
        "Results of deletions of accounts",
        "30 days",
        {
            "hash": "SHA-256 of the token that reads the result",
            "receipt": "the last receipt",
            "expires_ms": "when the row is removed",
        },
    ),
}
"""The tables of the relational database."""


EVENT_COLUMNS: Final[Mapping[str, str]] = {
    "account": "the account",
    "id": "id of the event, a hash of the trace id and span id",
    "timestamp": "when the request was made",
}
"""The columns of events that are no fields of the event."""
SUM_COLUMNS: Final[Mapping[str, str]] = {
    "account": "the account",
    "cube": "by which dimensions the row is grouped",
    "day": "the day",
    "version": "number of the computation",
    "time": "start of the day, or of the quarter-hour while events are kept",
    "tag_key": "key of a tag",
    "tag_value": "value of a tag",
}
"""The columns of sums that are neither fields of the event nor measures of them."""
FILES: Final[Mapping[str, str]] = {
    "accounts.sqlite": "the relational database without usage data; in PostgreSQL with `--accounts`",
    "usage.sqlite": "usage data; in PostgreSQL with `--accounts`",
    "calls.sqlite": "ids of calls that the Collector sent, to recognise those that are sent again",
    "store": "events and sums",
    "log": "acknowledged events that are not in the store yet",
    "aggregates.sqlite": "which days have sums",
    "finalised.sqlite": "days whose events were deleted",
    "inventory.json": "names and sizes of the files of the store",
    "quarantine": "damaged files of the store, until `infraprism store repair`; deletions reach them",
    "exports": "files of exports, for 7 days",
    "first-key": "the first key and setup link, until they were printed",
    "lock": "empty: a running server locks it",
}
"""The files and directories of the data directory."""
