"""Every `INFRAPRISM_*` environment variable, in one table, and the one parser of booleans.

A boolean is 1, true, yes or on, or 0, false, no or off, in upper or lower case; empty is the same as unset. Any other
value is reported in one line of the log. A setting that restricts what is sent then fails closed.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

from infraprism.schema.native_threads import run_on_application_thread

_log: Final = logging.getLogger("infraprism.settings")

_BOOLEANS: Final = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("0", "false", "no", "off"), False),
}
ALLOWED_BOOLEANS: Final = "1, true, yes or on, or 0, false, no or off"

KEY_PREFIX: Final = "ip-"
"""How every key of an account starts. A key of another service is never sent."""
NOT_A_KEY: Final = f"is not an InfraPrism key, since it does not start with {KEY_PREFIX}; it is not sent"

Kind = Literal[
    "boolean", "URL", "secret", "choice", "file", "directory", "address", "command", "duration", "number", "text"
]


class Setting(NamedTuple):
    """One environment variable.

    `default` is as a user would write it, empty where there is none. `read_by` are the parts that read it.
    `restricts_sending`: what is set here decides whether anything, or some field, leaves the process; `unreadable` is
    what happens where its value is not a boolean, and `unreadable_value` the value that is used then. That is None
    where no value is used and nothing is exported.
    """

    name: str
    kind: Kind
    default: str
    description: str
    read_by: tuple[str, ...]
    restricts_sending: bool = False
    unreadable: str = ""
    unreadable_value: bool | None = None


SETTINGS: Final = (
    Setting(
        "INFRAPRISM_ENDPOINT",
        "URL",
        "http://localhost:4318",
        "Where events are sent: an http or https URL. `/v1/traces` is added for HTTP. The default for gRPC is "
        "`http://localhost:4317`. The commands that read from the backend use it too.",
        ("exporter", "cli", "collector"),
    ),
    Setting(
        "INFRAPRISM_API_KEY",
        "secret",
        "",
        "The key of the account; it starts with `ip-`. Without it nothing is sent. `infraprism serve` uses it as the "
        "key of the first account of a new data directory; unset, it creates one and prints it.",
        ("exporter", "cli", "backend", "collector"),
    ),
    Setting(
        "INFRAPRISM_CERTIFICATE",
        "file",
        "",
        "PEM file of the certificate authorities that may have issued the certificate of the endpoint. It wins over "
        "`OTEL_EXPORTER_OTLP_CERTIFICATE`.",
        ("exporter",),
    ),
    Setting(
        "INFRAPRISM_CLIENT_CERTIFICATE",
        "file",
        "",
        "PEM file of the client certificate for the endpoint. It wins over `OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE`.",
        ("exporter",),
    ),
    Setting(
        "INFRAPRISM_CLIENT_KEY",
        "file",
        "",
        "PEM file of the key of the client certificate, unless that file contains it. It wins over "
        "`OTEL_EXPORTER_OTLP_CLIENT_KEY`.",
        ("exporter",),
    ),
    Setting(
        "INFRAPRISM_PROTOCOL",
        "choice",
        "http/protobuf",
        "`http/protobuf`, `grpc`, or `preview`, which is the same as `INFRAPRISM_PREVIEW=true`.",
        ("exporter",),
        restricts_sending=True,
        unreadable="nothing is exported",
    ),
    Setting(
        "INFRAPRISM_PREVIEW",
        "boolean",
        "false",
        "Print each event on stderr as OTLP/JSON and send nothing.",
        ("exporter",),
        restricts_sending=True,
        unreadable="nothing is exported",
    ),
    Setting(
        "INFRAPRISM_DISABLED",
        "boolean",
        "false",
        "Turn InfraPrism off. `opentelemetry-instrument` and `instrument()` patch no client package, "
        "`InfraPrismSpanProcessor` ignores all spans, and `InfraPrismSpanExporter` counts all events as dropped "
        "(`disabled`). `ContentFreeSpanExporter` keeps removing content. Read at start.",
        ("instrumentation", "processor", "exporter"),
        restricts_sending=True,
        unreadable="InfraPrism is disabled",
        unreadable_value=True,
    ),
    Setting(
        "INFRAPRISM_USAGE_DETAIL",
        "boolean",
        "false",
        "Send the opt-in fields too: cached, reasoning and audio tokens, web searches, time to first token, service "
        "tier and streaming.",
        ("processor", "exporter"),
        restricts_sending=True,
        unreadable="the opt-in fields are not sent",
        unreadable_value=False,
    ),
    Setting(
        "INFRAPRISM_SESSION_FROM_SPAN",
        "boolean",
        "false",
        "Use the session, conversation or user id that another instrumentation recorded on a span as the event's "
        "session id, where the application set none. `infraprism serve` applies it to the spans that it receives.",
        ("processor",),
        restricts_sending=True,
        unreadable="no session id is read from spans",
        unreadable_value=False,
    ),
    Setting(
        "INFRAPRISM_STREAM_USAGE",
        "boolean",
        "false",
        "Request the usage of streamed chat completions and completions of the `openai` package, where the application "
        "does not set `stream_options.include_usage`, and hide the additional chunk from the application. Applies to "
        "OpenAI, Azure OpenAI's v1 API, and servers with a private address or a name without a dot. Requests to "
        "other servers remain unchanged, since some reject the parameter. Where the application reads the bytes of a "
        "compressed response undecoded, as with `iter_raw`, the additional chunk is in them and the call has no usage: "
        "set `include_usage` in such a request. Read when a package is instrumented.",
        ("instrumentation",),
        unreadable="the usage of streams is not requested",
        unreadable_value=False,
    ),
    Setting(
        "INFRAPRISM_PRICES",
        "file",
        "",
        "A YAML or JSON file of your own prices (see docs/prices.md). If it cannot be used, calls have no cost, and "
        "`infraprism serve` does not start.",
        ("pricing", "backend"),
    ),
    Setting(
        "INFRAPRISM_STORE",
        "secret",
        "",
        "The ClickHouse server of `infraprism serve`: `clickhouse://user:password@host:8443/database`. Unset, events "
        "are stored in the data directory. `--store` wins over it.",
        ("cli",),
    ),
    Setting(
        "INFRAPRISM_ACCOUNTS",
        "secret",
        "",
        "The database of accounts and leases: `postgresql://user:password@host/database`. Unset, accounts are stored "
        "in the data directory. `--accounts` wins over it.",
        ("cli",),
    ),
    Setting(
        "INFRAPRISM_TLS_CERT",
        "file",
        "",
        "PEM file of the certificate of `infraprism serve`, with the intermediate certificates after it. `--tls-cert` "
        "wins over it.",
        ("cli",),
    ),
    Setting(
        "INFRAPRISM_TLS_KEY",
        "file",
        "",
        "PEM file of the private key of that certificate, without a passphrase. `--tls-key` wins over it.",
        ("cli",),
    ),
    Setting(
        "INFRAPRISM_BEHIND_PROXY",
        "boolean",
        "false",
        "A proxy in front of `infraprism serve` uses TLS, so that it may listen on other addresses than the loopback "
        "without TLS. The same as `--behind-proxy`.",
        ("cli",),
        unreadable="`infraprism serve` does not start",
    ),
    Setting(
        "INFRAPRISM_CLIENT_ADDRESS_HEADER",
        "choice",
        "",
        "The header in which that proxy passes on the address of the client, such as `CF-Connecting-IP`. It limits "
        "logins, and is neither stored nor logged. `--client-address-header` wins over it.",
        ("cli",),
    ),
    Setting(
        "INFRAPRISM_TRUSTED_PROXIES",
        "address",
        "",
        "The networks of proxies of which that header is used, such as `10.0.0.0/8, 2001:db8::/32`; empty: of every "
        "connection. `--trusted-proxies` wins over it.",
        ("cli",),
    ),
    Setting(
        "INFRAPRISM_SMTP",
        "secret",
        "",
        "The SMTP server of `infraprism serve`: `smtps://user:password@host:465`, or `smtp://user:password@host:587` "
        "with STARTTLS. Unset, no mail is sent, and the operator gets the links from the commands.",
        ("cli",),
    ),
    Setting(
        "INFRAPRISM_MAIL_FROM",
        "address",
        "",
        "The sender of these mails, such as `noreply@example.com`. Required with `INFRAPRISM_SMTP`.",
        ("cli",),
    ),
    Setting(
        "INFRAPRISM_PUBLIC_URL",
        "URL",
        "",
        "Where browsers reach `infraprism serve`, such as `https://infraprism.example.com`: the beginning of links of "
        "setup, invitations and passwords. Unset, it is where the server listens. `--public-url` wins over it.",
        ("cli",),
    ),
    Setting(
        "INFRAPRISM_STRIPE_KEY",
        "secret",
        "",
        "The secret key of Stripe for `infraprism serve`. Unset, there is no billing.",
        ("cli",),
    ),
    Setting(
        "INFRAPRISM_STRIPE_WEBHOOK_SECRET",
        "secret",
        "",
        "The secret of the webhook endpoint `/billing/webhook` at Stripe.",
        ("cli",),
    ),
    Setting(
        "INFRAPRISM_STRIPE_PRICES",
        "choice",
        "",
        "The plan of each price at Stripe: `price_1=growth,price_2=scale`.",
        ("cli",),
    ),
    Setting(
        "INFRAPRISM_REGION",
        "text",
        "",
        "The region of `infraprism serve`, such as `us` or `eu`: it serves the accounts of this region only (see "
        "docs/regions.md). `--region` wins over it.",
        ("cli",),
    ),
    Setting(
        "INFRAPRISM_REGIONS",
        "text",
        "",
        "Where the servers of all regions are, for accounts of other regions: "
        "`us=https://us.example.com,eu=https://eu.example.com`. `--regions` wins over it.",
        ("cli",),
    ),
    Setting(
        "INFRAPRISM_BACKUP_TO",
        "URL",
        "",
        "The storage of backups: an absolute path, `file:///path`, or `s3://bucket/prefix` (see docs/backups.md). With "
        "it `infraprism serve` makes backups. `--backup-to` and `--storage` win over it.",
        ("cli",),
    ),
    Setting(
        "INFRAPRISM_BACKUP_EVERY",
        "duration",
        "24h",
        "How often `infraprism serve` makes a backup: a number with `m`, `h` or `d`. `--backup-every` wins over it.",
        ("cli",),
    ),
    Setting(
        "INFRAPRISM_BACKUP_KEEP_DAYS",
        "number",
        "30",
        "After how many days a backup expires, 1 to 30. `--backup-keep-days` and `--keep-days` win over it.",
        ("cli",),
    ),
    Setting(
        "INFRAPRISM_BACKUP_RECIPIENT",
        "text",
        "",
        "The public keys that backups are encrypted to, `age1...`, separated by commas. `--backup-recipient` and "
        "`--recipient` win over it.",
        ("cli",),
    ),
    Setting(
        "INFRAPRISM_BACKUP_IDENTITY",
        "secret",
        "",
        "The secret key that decrypts backups, `AGE-SECRET-KEY-1...`. Never set it for `infraprism serve`.",
        ("cli",),
    ),
    Setting(
        "INFRAPRISM_BACKUP_IDENTITY_FILE",
        "file",
        "",
        "The file with the secret key that decrypts backups. `--identity-file` wins over it.",
        ("cli",),
    ),
    Setting(
        "INFRAPRISM_BACKUP_IDENTITY_COMMAND",
        "command",
        "",
        "A command that prints the secret key that decrypts backups. It runs without a shell.",
        ("cli",),
    ),
    Setting(
        "INFRAPRISM_QUEUE_DIRECTORY",
        "directory",
        "/var/lib/otelcol/infraprism",
        "Where the collector keeps its queue.",
        ("collector",),
    ),
    Setting(
        "INFRAPRISM_HEALTH_ENDPOINT",
        "address",
        "0.0.0.0:13133",
        "Where the collector answers health checks.",
        ("collector",),
    ),
    Setting(
        "INFRAPRISM_COLLECTOR",
        "address",
        "localhost:4317",
        "The second collector in the example of docs/collector.md.",
        ("collector",),
    ),
)
_BY_NAME: Final = {setting.name: setting for setting in SETTINGS}


class UnreadableSettingError(ValueError):
    """The value of a boolean setting is not a boolean. The message names the variable and never has the value."""


def read_boolean(name: str, environment: Mapping[str, str] = os.environ) -> bool:
    """The value of a boolean setting; False where it is unset or empty.

    `name` is one of SETTINGS. Raises UnreadableSettingError for a value that is not a boolean.
    """
    text = environment.get(name, "").strip()
    if not text:
        return False
    value = _BOOLEANS.get(text.lower())
    if value is None:
        raise UnreadableSettingError(f"{name} must be {ALLOWED_BOOLEANS}")
    return value


def boolean(name: str, environment: Mapping[str, str] = os.environ) -> bool:
    """The same, for settings with an `unreadable_value`: logs one line for a value that is not a boolean.

    Raises UnreadableSettingError only for a setting that has no such value.
    """
    try:
        return read_boolean(name, environment)
    except UnreadableSettingError as error:
        setting = _BY_NAME[name]
        if setting.unreadable_value is None:
            raise
        log_once(_log, logging.ERROR, "InfraPrism: %s; until then %s.", str(error), setting.unreadable)
        return setting.unreadable_value


logged: Final[set[tuple[str, tuple[str, ...]]]] = set()
"""What `log_once` has logged in this process."""


def log_once(log: logging.Logger, level: int, text: str, *details: str) -> None:
    """Log a line about the settings, once in a process; `text` is a constant and neither holds a secret."""
    if (text, details) not in logged:
        logged.add((text, details))
        run_on_application_thread(lambda: log.log(level, text, *details))
