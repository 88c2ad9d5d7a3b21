"""Every setting, read once from the environment (`AUTOINDEX_*`) and passed down."""

import re
from datetime import UTC, datetime
from hashlib import sha256
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import (
    AwareDatetime,
    Field,
    ModelWrapValidatorHandler,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from autoindex.errors import ConfigurationError

# A Unix socket's whole path must fit into 108 bytes on Linux and 104 on macOS.
_LONGEST_SOCKET_FOLDER = 80
# What pydantic puts before the text of an error of ours.
_PREFIX = "Value error, "
# A user, a host and a port may be missing, the database may not: one of any name would be made.
_POSTGRESQL = re.compile(
    r"postgres(?:ql)?(?:\+\w+)?://(?:.*@)?(?:\[[^]]*\]|[^:/?@]*)(?::\d+)?/[^/?]+(?:\?.*)?"
)
_REDIS = ("redis://", "rediss://", "unix://")
_ORIGIN = re.compile(r"https?://[^/\s*?#]+")


class Settings(BaseSettings):
    """The settings of one process; frozen, so that nobody changes them underway.

    Raises `ConfigurationError`, which names the variables that are wrong.
    """

    model_config = SettingsConfigDict(
        env_prefix="AUTOINDEX_", env_ignore_empty=True, frozen=True, extra="ignore"
    )

    data_dir: Path = Field(
        default=Path("var"), description="Where the embedded parts, reports and archives live."
    )
    database_url: SecretStr | None = Field(
        default=None, description="PostgreSQL 14.9 or newer; the embedded server when unset."
    )
    redis_url: SecretStr | None = Field(
        default=None, description="Cache and rate limits; in process when unset."
    )

    twelve_data_api_key: SecretStr | None = Field(
        default=None, description="Prices from Twelve Data; from the sandbox when unset."
    )
    twelve_data_base_url: str = Field(
        default="https://api.twelvedata.com", description="Where Twelve Data's API is."
    )
    clock: AwareDatetime | None = Field(
        default=None, description="The instant the data stands at; the wall clock when unset."
    )

    api_host: str = Field(default="127.0.0.1", description="Address the facade listens on.")
    api_port: int = Field(default=8000, ge=1, le=65535, description="Port of the facade.")
    api_processes: int = Field(
        default=1, ge=1, le=64, description="How many processes serve the facade."
    )
    api_docs: bool = Field(
        default=False, description="Show the facade's documentation at /docs to everybody."
    )
    api_url: str | None = Field(
        default=None,
        description="Where users reach the facade, for links; its own address if unset.",
    )
    api_origins: str | None = Field(
        default=None,
        description="Origins whose pages may call the facade from a browser, with spaces between.",
    )
    prefect_port: int = Field(
        default=4200, ge=1, le=65535, description="Port of the local stack's Prefect server."
    )
    sandbox_port: int = Field(
        default=8001, ge=1, le=65535, description="Port of the local stack's sandbox."
    )

    jwt_secret: SecretStr | None = Field(
        default=None,
        description="HS256 secret of 32 bytes or more; the local stack makes its own.",
    )
    jwt_jwks_url: str | None = Field(
        default=None, description="Key set for RS256 and ES256, instead of a secret."
    )
    jwt_issuer: str = Field(default="autoindex", description="Issuer a token must name.")
    jwt_audience: str = Field(default="autoindex", description="Audience a token must name.")

    retry_delay_seconds: float = Field(
        default=60.0, ge=0, description="About how long a task waits before it tries again."
    )
    drain_seconds: float = Field(
        default=30.0, ge=0, description="How long a worker that is stopped lets its runs go on."
    )
    lease_seconds: float = Field(
        default=15.0, ge=1, description="Silence after which a worker's runs are taken over."
    )
    result_ttl_hours: float = Field(
        default=24.0, gt=0, description="How long a task's result is served."
    )
    requests_per_minute: int = Field(
        default=600, ge=1, description="Rate limit per user, all requests."
    )
    tasks_per_minute: int = Field(
        default=60, ge=1, description="Rate limit per user, requests that start a task."
    )

    queued_tasks_per_kind: int = Field(
        default=1_000, ge=1, description="Bound on the tasks of one kind that wait to begin."
    )

    archive_url: str | None = Field(
        default=None,
        description="fsspec URL of the archive; `archive` in the data folder if unset.",
    )

    smtp_host: str | None = Field(default=None, description="Mail server; mail is off when unset.")
    smtp_port: int = Field(default=587, ge=1, le=65535, description="Port of the mail server.")
    smtp_security: Literal["starttls", "tls", "none"] = Field(
        default="starttls", description="How the connection to the mail server is protected."
    )
    smtp_user: str | None = Field(default=None, description="Login at the mail server.")
    smtp_password: SecretStr | None = Field(default=None, description="Its password.")
    mail_from: str = Field(
        default="Autoindex <autoindex@localhost>", description="Sender of the reports."
    )
    alert_email: str | None = Field(
        default=None, description="Who is told by mail when a report fails."
    )
    slack_webhook_url: SecretStr | None = Field(
        default=None, description="Slack's incoming webhook; off when unset."
    )
    sentry_dsn: SecretStr | None = Field(
        default=None, description="Error tracking; off when unset."
    )

    @model_validator(mode="wrap")
    @classmethod
    def _named(cls, values: Any, build: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return build(values)
        except ValidationError as error:
            # The value is not shown: it may be a secret.
            found = error.errors(include_input=False)
            wrong = {f"AUTOINDEX_{one['loc'][0]}".upper(): one["msg"] for one in found}
            reasons = [f"{name}: {text.removeprefix(_PREFIX)}" for name, text in wrong.items()]
            raise ConfigurationError("; ".join(reasons)) from None

    @field_validator("api_origins")
    @classmethod
    def _origins(cls, origins: str | None) -> str | None:
        wrong = [one for one in (origins or "").split() if not _ORIGIN.fullmatch(one)]
        if wrong:
            raise ValueError("must be origins, as in https://app.example.com, without a path")
        return origins

    @field_validator("database_url")
    @classmethod
    def _postgresql(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None and not _POSTGRESQL.fullmatch(url.get_secret_value()):
            raise ValueError("must be as postgresql://user:password@host:5432/autoindex")
        return url

    @field_validator("redis_url")
    @classmethod
    def _redis(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None and not url.get_secret_value().startswith(_REDIS):
            raise ValueError(f"must begin with {' or '.join(_REDIS)}, as in redis://host:6379/0")
        return url

    @field_validator("data_dir")
    @classmethod
    def _absolute(cls, folder: Path) -> Path:
        try:
            return folder.expanduser().resolve()
        except (OSError, RuntimeError) as error:  # no current folder, or no home
            raise ValueError(f"{folder} leads nowhere ({error}): begin it with /") from error

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
        """Folder of the embedded PostgreSQL's Unix socket; short even where `data_dir` is long."""
        folder = self.data_dir / "run"
        if len(str(folder)) <= _LONGEST_SOCKET_FOLDER:
            return folder
        # Not TMPDIR: the stack's parts have one of their own, and all must find the same socket.
        name = f"autoindex-{sha256(str(folder).encode()).hexdigest()[:12]}"
        return Path("/tmp") / name  # noqa: S108

    def database(self, name: str = "autoindex") -> str:
        """SQLAlchemy URL of our database, or of the embedded server's database `name`."""
        if self.database_url is None:
            return f"postgresql+psycopg://postgres@/{name}?host={self.socket_dir}"
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
        """Where users reach the facade; without a slash at its end."""
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

    def environment(self) -> dict[str, str]:
        """These settings as environment variables, for a child process."""
        chosen = self.model_dump(exclude_defaults=True)
        return {f"AUTOINDEX_{name.upper()}": _as_text(value) for name, value in chosen.items()}

    def now(self) -> datetime:
        """The instant the data stands at, in UTC."""
        return (self.clock or datetime.now(UTC)).astimezone(UTC)


def _reachable(host: str) -> str:
    """The loopback address where the host stands for every address."""
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
