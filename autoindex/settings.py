"""Every setting, read once from the environment (`AUTOINDEX_*`) and passed down."""

import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from difflib import get_close_matches
from email.headerregistry import Address
from hashlib import sha256
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final, Literal, Self
from urllib.parse import quote

from pydantic import Field, ModelWrapValidatorHandler, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from autoindex import mail_address, masking
from autoindex.errors import ConfigurationError
from autoindex.labels import Name
from autoindex.setting_types import (
    ApiKey,
    ArchiveUrl,
    Calendar,
    Count,
    Dsn,
    Folder,
    Host,
    Hours,
    Instant,
    KeySetUrl,
    Line,
    MailAddress,
    MailAddresses,
    Origins,
    Paper,
    Password,
    Port,
    PostgresqlUrl,
    RedisUrl,
    Seconds,
    SecretWebUrl,
    SigningSecret,
    WebUrl,
)

# A Unix socket's whole path must fit into 108 bytes on Linux and 104 on macOS.
_LONGEST_SOCKET_FOLDER: Final = 80
# PostgreSQL and libpq read these as separators in a list of folders.
_LISTED: Final = re.compile('[,"]')
_PREFIX: Final = "AUTOINDEX_"
# The prefix that pydantic adds to the text of our errors.
_OURS: Final = "Value error, "
# Variables that a worker sets for the processes of its runs.
_FOR_RUNS: Final = frozenset({"LEASE_TOKEN", "MEMORY_LIMIT_MB", "ORDER"})


class Settings(BaseSettings):
    """The settings of one process; frozen.

    Raises `ConfigurationError`, which names the invalid variables. White space around a value is
    ignored: a file may add line ends. From now on, this process masks the secrets in its logs: see
    `autoindex.masking`.
    """

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX, env_ignore_empty=True, frozen=True, extra="ignore"
    )

    data_dir: Folder = Field(
        default=Path("var"), description="Where the embedded parts, reports and archives live."
    )
    database_url: PostgresqlUrl | None = Field(
        default=None, description="PostgreSQL 14.9 or newer; the embedded server when unset."
    )
    redis_url: RedisUrl | None = Field(
        default=None, description="Cache and rate limits; in process when unset."
    )

    twelve_data_api_key: ApiKey | None = Field(
        default=None, description="Prices from Twelve Data; from the sandbox when unset."
    )
    twelve_data_base_url: WebUrl = Field(
        default="https://api.twelvedata.com", description="Where Twelve Data's API is."
    )
    calendar: Calendar = Field(
        default="XNYS",
        description="Trading calendar, a code of exchange_calendars; set before the first import.",
    )
    clock: Instant | None = Field(
        default=None,
        description="The instant the data stand at. Unset: the wall clock, or the sandbox's end.",
    )

    api_host: Host = Field(default="127.0.0.1", description="Address the facade listens on.")
    api_port: Port = Field(default=8000, description="Port of the facade.")
    api_processes: int = Field(
        default=1, ge=1, le=64, description="How many processes serve the facade."
    )
    api_answer_seconds: Seconds = Field(
        default=4.5, ge=1, description="How long the facade takes for an answer, at most."
    )
    api_docs: bool = Field(
        default=False, description="Show the facade's documentation at /docs to everybody."
    )
    api_url: WebUrl | None = Field(
        default=None,
        description="Where users reach the facade, for links; its own address if unset.",
    )
    api_origins: Origins | None = Field(
        default=None,
        description="Origins whose pages may call the facade from a browser, with spaces between.",
    )
    prefect_port: Port = Field(
        default=4200, description="Port of the local stack's Prefect server."
    )
    sandbox_port: Port = Field(default=8001, description="Port of the local stack's sandbox.")

    jwt_secret: SigningSecret | None = Field(
        default=None,
        description="HS256 secret of 32 bytes or more; the local stack makes its own.",
    )
    jwt_jwks_url: KeySetUrl | None = Field(
        default=None, description="Key set for RS256 and ES256, instead of a secret."
    )
    jwt_issuer: Line = Field(default="autoindex", description="Issuer a token must name.")
    jwt_audience: Line = Field(default="autoindex", description="Audience a token must name.")

    provisional_after_hours: Hours = Field(
        default=20.0,
        description="How long after its close a session waits for missing prices.",
    )
    correction_sessions: int = Field(
        default=10,
        ge=1,
        le=1_000,
        description="How many of the newest published levels a corrected price changes by itself.",
    )
    retry_delay_seconds: Seconds = Field(
        default=60.0, ge=0, description="About how long a task waits before it tries again."
    )
    drain_seconds: Seconds = Field(
        default=30.0, ge=0, description="How long a worker that is stopped lets its runs go on."
    )
    lease_seconds: Seconds = Field(
        default=15.0, ge=1, description="Silence after which a worker's runs are taken over."
    )
    result_ttl_hours: Hours = Field(default=24.0, description="How long a task's result is served.")
    requests_per_minute: Count = Field(
        default=600, description="Rate limit per user, all requests."
    )
    tasks_per_minute: Count = Field(
        default=60, description="Rate limit per user, requests that start a new task."
    )

    queued_tasks_per_kind: Count = Field(
        default=1_000, description="Bound on the tasks of one kind that wait to begin."
    )

    webhook_private_addresses: bool = Field(
        default=False, description="Let users' webhooks go to private addresses, and by http."
    )

    archive_url: ArchiveUrl | None = Field(
        default=None,
        description="fsspec URL of the archive; `archive` in the data folder if unset.",
    )

    report_publisher: Name | None = Field(
        default=None, description="Who publishes the reports, as named in them."
    )
    report_contact: Name | None = Field(
        default=None, description="Where readers of a report can ask, as named in it."
    )
    report_paper: Paper = Field(
        default="a4", description="Paper of the PDF: `a4`, or `letter` as in the US."
    )

    smtp_host: Host | None = Field(default=None, description="Mail server; mail is off when unset.")
    smtp_port: Port = Field(default=587, description="Port of the mail server.")
    smtp_security: Literal["starttls", "tls", "none"] = Field(
        default="starttls", description="How the connection to the mail server is protected."
    )
    smtp_user: Line | None = Field(default=None, description="Login at the mail server.")
    smtp_password: Password | None = Field(default=None, description="Its password.")
    mail_from: MailAddress = Field(
        default="Autoindex <autoindex@localhost>", description="Sender of the reports."
    )
    alert_email: MailAddresses | None = Field(
        default=None,
        description="Who is told by mail when a report fails; several with commas between.",
    )
    slack_webhook_url: SecretWebUrl | None = Field(
        default=None, description="Slack's incoming webhook; off when unset."
    )
    sentry_dsn: Dsn | None = Field(default=None, description="Error tracking; off when unset.")

    @model_validator(mode="wrap")
    @classmethod
    def _named(cls, values: Any, build: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return build(_stripped(values))
        except ValidationError as error:
            # The value is not shown: it may be a secret.
            found = error.errors(include_input=False)
            wrong = {f"{_PREFIX}{one['loc'][0]}".upper(): one["msg"] for one in found}
            reasons = [f"{name}: {text.removeprefix(_OURS)}" for name, text in wrong.items()]
            raise ConfigurationError("; ".join(reasons)) from None

    def model_post_init(self, _: Any) -> None:
        """Mask the secrets from now on."""
        masking.hide(value for _, value in self)

    @property
    def embedded(self) -> bool:
        """Whether the embedded PostgreSQL is used."""
        return self.database_url is None

    @property
    def sandbox(self) -> bool:
        """Whether prices come from the sandbox."""
        return self.twelve_data_api_key is None

    @property
    def socket_dir(self) -> Path:
        """Folder of the embedded PostgreSQL's socket; short and plain whatever `data_dir` is."""
        folder = self.data_dir / "run"
        path = os.fsencode(folder)
        if len(path) <= _LONGEST_SOCKET_FOLDER and not _LISTED.search(str(folder)):
            return folder
        # Not TMPDIR: each part of the stack has its own, and all must find the same socket.
        name = f"autoindex-{sha256(path).hexdigest()[:12]}"
        return Path("/tmp") / name  # noqa: S108

    def database(self, name: str = "autoindex") -> str:
        """SQLAlchemy URL of our database, or of the embedded server's database `name`."""
        if self.database_url is None:
            return f"postgresql+psycopg://postgres@/{name}?host={quote(str(self.socket_dir))}"
        url = self.database_url.get_secret_value()
        scheme, _, rest = url.partition("://")
        return f"postgresql+psycopg://{rest}" if scheme.startswith("postgres") else url

    @property
    def own_url(self) -> str:
        """Where the facade answers on its own machine."""
        host = _reachable(self.api_host)
        return f"http://{f'[{host}]' if ':' in host else host}:{self.api_port}"

    @property
    def public_url(self) -> str:
        """Where users reach the facade, without a trailing slash."""
        return (self.api_url or self.own_url).rstrip("/")

    @property
    def reports_dir(self) -> Path:
        """Where report files are kept."""
        return self.data_dir / "reports"

    @property
    def temporary_dir(self) -> Path:
        """Where files are written before they are renamed into place."""
        return self.data_dir / "tmp"

    @property
    def archive(self) -> str:
        """fsspec URL of the archive."""
        return self.archive_url or (self.data_dir / "archive").as_uri()

    @property
    def alert_recipients(self) -> tuple[Address, ...]:
        """Who is told by mail when a report fails."""
        return mail_address.parse_several(self.alert_email) if self.alert_email else ()

    def environment(self) -> dict[str, str]:
        """These settings as environment variables, for a child process."""
        chosen = self.model_dump(exclude_defaults=True)
        return {f"{_PREFIX}{name.upper()}": _as_text(value) for name, value in chosen.items()}

    def now(self) -> datetime:
        """The instant the data stands at, in UTC."""
        return (self.clock or datetime.now(UTC)).astimezone(UTC)


def _reachable(host: str) -> str:
    """The loopback address where the host means every address."""
    try:
        address = ip_address(host)
    except ValueError:  # a name
        return host
    loopback = "127.0.0.1" if address.version == 4 else "::1"
    return loopback if address.is_unspecified else host


def _as_text(value: object) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return value.isoformat() if isinstance(value, datetime) else str(value)


def misspelt(environment: Mapping[str, str]) -> list[str]:
    """Variables that look like settings but are not: a sentence each, with the nearest setting.

    They are not errors: a host may have variables of its own with this prefix.
    """
    settings = [name.upper() for name in Settings.model_fields]
    written = {name.removeprefix(_PREFIX) for name in environment if name.startswith(_PREFIX)}
    sentences = []
    for name in sorted(written - {*settings, *_FOR_RUNS}):
        nearest = get_close_matches(name, settings, n=1)
        hint = f"; did you mean {_PREFIX}{nearest[0]}?" if nearest else ""
        sentences.append(f"{_PREFIX}{name} is not a setting of Autoindex{hint}")
    return sentences


def _stripped(values: Any) -> Any:
    """The values without white space around them; an empty one counts as unset."""
    if not isinstance(values, Mapping):
        return values
    texts = {name: value.strip() for name, value in values.items() if isinstance(value, str)}
    hidden = {
        name: SecretStr(value.get_secret_value().strip())
        for name, value in values.items()
        if isinstance(value, SecretStr)
    }
    stripped = {**values, **texts, **hidden}
    return {name: value for name, value in stripped.items() if texts.get(name) != ""}
