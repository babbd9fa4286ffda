"""The lines of the data policy, each with the test that verifies it and the command that shows it.

A test verifies that the tests and commands exist.
"""

from __future__ import annotations

from typing import Final, NamedTuple

_BYTES: Final = "tests/leaks/test_bytes.py::test_no_route_exports_a_canary"
_STORE: Final = (
    "tests/leaks/test_store.py::test_the_store_contains_every_call_exactly_once_and_no_file_contains_a_canary"
)
_PREVIEW: Final = "infraprism preview -- python app.py"


class Promise(NamedTuple):
    """A line of the policy; `test` is a file and a function, `command` shows it on your own data."""

    line: str
    test: str
    command: str


PROMISES: Final = (
    Promise(
        "An event has the fields of the table and nothing else",
        "tests/leaks/test_bytes.py::test_an_event_is_a_span_with_only_fields_of_the_table",
        "infraprism events --limit 1 --json",
    ),
    Promise(
        "Tokens and cost equal the bill",
        "tests/leaks/test_bytes.py::test_the_events_equal_the_billing_records_of_the_provider",
        "infraprism costs",
    ),
    Promise("No content leaves the process: prompts, responses, tools, images, audio, files, keys", _BYTES, _PREVIEW),
    Promise("No content is logged", "tests/leaks/test_bytes.py::test_no_route_logs_a_canary", _PREVIEW),
    Promise("No content is stored", _STORE, "infraprism events --json"),
    Promise(
        "Of a person: email, name, role and password hash only",
        "tests/accounts/test_members.py::test_nothing_is_stored_of_a_person_but_email_name_role_and_hash",
        "infraprism members list",
    ),
    Promise(
        "Passwords are stored as bcrypt hashes",
        "tests/accounts/test_passwords.py::test_a_password_of_any_script_is_stored_as_bcrypt_hash_and_verified",
        "infraprism members list",
    ),
    Promise(
        "Payment information stays with Stripe",
        "tests/billing/test_billing.py::test_only_the_id_of_the_customer_is_stored",
        "infraprism account show",
    ),
    Promise(
        "Usage data is kept 7, 30 or 90 days",
        "tests/usage_data/test_usage_data.py::test_expired_rows_are_excluded_at_once_and_then_deleted",
        "infraprism usage-data",
    ),
    Promise(
        "API request logs have no query string, id or address",
        "tests/usage_data/test_usage_data.py::test_a_server_logs_requests_without_query_id_and_address",
        "infraprism usage-data",
    ),
    Promise(
        "Error logs have no value",
        "tests/usage_data/test_usage_data.py::test_a_logged_error_has_its_place_and_no_value",
        "infraprism usage-data",
    ),
    Promise(
        "Events are kept as long as the plan says",
        "tests/retention/test_expiry.py::test_each_account_loses_the_events_of_its_own_period_and_keeps_all_sums",
        "infraprism account show",
    ),
    Promise(
        "Expired events are excluded from every query at once",
        "tests/retention/test_expired_events.py::test_a_question_about_events_is_answered_without_the_expired_ones",
        "infraprism events",
    ),
    Promise(
        "Sums of days are kept, without details of single events",
        "tests/retention/test_expiry.py::test_no_session_and_no_event_id_outlives_the_events",
        "infraprism costs --by day",
    ),
    Promise(
        "Data stays in the region of the account",
        "tests/regions/test_two_regions.py::test_no_byte_of_an_account_is_in_another_region",
        "infraprism account show",
    ),
    Promise(
        "Data can be exported at any time",
        "tests/exports/test_formats.py::test_a_file_has_the_filtered_events_and_the_sums_of_analytics",
        "infraprism export --start 2026-01-01 --end 2026-01-31 --format csv --output january.csv",
    ),
    Promise(
        "Everything that is held of an account can be exported",
        "tests/exports/test_archive.py::test_every_table_with_an_account_is_archived_or_has_a_reason",
        "infraprism export --archive --output archive.zip",
    ),
    Promise(
        "Events can be deleted, and no byte of the identifier is left",
        "tests/deletions/test_deletion_requests.py::test_no_byte_of_the_identifier_is_left_in_the_data_directory",
        "infraprism delete --entity customer:acme-corp",
    ),
    Promise(
        "A deletion has a receipt that can be verified",
        "tests/deletions/test_deletion_requests.py::test_receipts_are_a_chain_that_shows_a_change",
        "infraprism receipt verify --all",
    ),
    Promise(
        "An account can be deleted with everything",
        "tests/deletions/test_account_deletion.py::test_a_deleted_account_is_gone_from_every_table_and_file_and_the_other_stays",
        "infraprism delete --help",
    ),
    Promise(
        "Backups expire within 30 days",
        "tests/backups/test_backups.py::test_an_expired_backup_is_deleted_with_what_no_other_uses",
        "infraprism backup list",
    ),
    Promise(
        "Backups are encrypted",
        "tests/backups/test_backups.py::test_nothing_of_the_data_can_be_read_in_the_storage",
        "infraprism backup verify",
    ),
    Promise(
        "The backend connects to nothing that is not configured",
        "tests/backend/test_sockets.py::test_without_settings_of_third_parties_it_connects_to_nothing",
        "infraprism doctor",
    ),
    Promise(
        "A mail has the address, a fixed text and a link",
        "tests/mail/test_smtp.py::test_a_mail_has_a_fixed_text_and_the_link_and_of_the_member_only_the_address",
        "infraprism members list",
    ),
    Promise(
        "Connections from other machines are encrypted",
        "tests/backend/test_tls.py::test_it_does_not_listen_for_other_machines_without_tls",
        "infraprism serve --help",
    ),
    Promise(
        "Who did what is recorded, and a change of the record is found",
        "tests/audit/test_audit_log.py::test_a_changed_entry_is_found",
        "infraprism audit verify",
    ),
    Promise(
        "Databases, files and this page have the same content",
        "tests/docs/test_data_we_collect.py::test_every_column_of_the_database_is_listed",
        "infraprism export --archive --output archive.zip",
    ),
)
