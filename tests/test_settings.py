"""Wrong settings are named by their variable, and never shown."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from autoindex.errors import ConfigurationError
from autoindex.settings import Settings, misspelt

RANDOM = "k3PzQ8vN1mXr7cTyB5aHw2LdJf9sGe4uVo6iYbWq"
# Each setting, what it must not be, and words of what is said about it.
WRONG = {
    "AUTOINDEX_DATA_DIR": (["~no-such-user/var"], "cannot be resolved"),
    "AUTOINDEX_DATABASE_URL": (
        [
            "mysql://me:hunter2@there/mine",
            "postgresql://me:hunter2@there",
            "postgresql://me:hunter2@there:54x/mine",
            "postgresql://me:hunter2@there:99999/mine",
            "postgresql://me:hunter2\t@there/mine",
        ],
        "must be as postgresql://user:password@host:5432/autoindex",
    ),
    "AUTOINDEX_REDIS_URL": (
        [
            "http://:hunter2@there",
            "redis://",
            "redis://:hunter2@the re",
            "redis://:hunter2@there:0x1",
            "unix://",
            "redis:hunter2",
        ],
        "rediss://",
    ),
    "AUTOINDEX_TWELVE_DATA_API_KEY": (
        ["hunter2\r\nhunter2", "hunter2é", "hunter2\x7f", "hunter2 hunter2"],
        "must be",
    ),
    "AUTOINDEX_TWELVE_DATA_BASE_URL": (
        [
            "api.example.com",
            "ftp://api.example.com",
            "https://",
            "https://a b.example.com",
            "https://a\tb.example.com",
            "https://api.example.com/a b",
            "https://api.example.com:70000",
            "https://api.example.com:x",
            "https://[::1",
            "https://1.2.3.256",
            "https://-a.example.com",
            "https:\\\\api.example.com",
            "https://api.example.com\\@other.example.com",
        ],
        "with scheme and host",
    ),
    "AUTOINDEX_CALENDAR": (
        ["xnys", "New York", "NYSE2", "ASEX", "XTAE"],
        "calendar",
    ),
    "AUTOINDEX_CLOCK": (
        ["0", "1672264800", "2022-12-28T22:00:00", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"],
        "",
    ),
    "AUTOINDEX_API_HOST": (
        [
            "http://127.0.0.1",
            "127.0.0.1:8000",
            "[::1]",
            "a b",
            "1.2.3",
            "a." * 126 + "ab",
            "a..b",
            "-a",
        ],
        "host's name or address",
    ),
    "AUTOINDEX_API_PORT": (["eighty", "99999", "0", "8000.5"], ""),
    "AUTOINDEX_API_PROCESSES": (["0", "65"], ""),
    "AUTOINDEX_API_ANSWER_SECONDS": (["nan", "0", "86401"], ""),
    "AUTOINDEX_API_DOCS": (["perhaps"], ""),
    "AUTOINDEX_API_URL": (["app.example.com", "javascript://x"], "with scheme and host"),
    "AUTOINDEX_API_ORIGINS": (["https://app.example.com/page"], "must be origins"),
    "AUTOINDEX_JWT_SECRET": (["hunter2", "hunter2" * 10, f"{RANDOM}ü", f"{RANDOM}\n{RANDOM}"], ""),
    "AUTOINDEX_JWT_JWKS_URL": (["http://issuer.example.com/keys", "https://"], "https://"),
    "AUTOINDEX_JWT_ISSUER": (["a\nb"], "ASCII"),
    "AUTOINDEX_RETRY_DELAY_SECONDS": (["nan", "inf", "-1", "1e400", "86401"], ""),
    "AUTOINDEX_DRAIN_SECONDS": (["nan", "inf", "-inf", "86401"], ""),
    "AUTOINDEX_LEASE_SECONDS": (["nan", "inf", "0", "86401"], ""),
    "AUTOINDEX_RESULT_TTL_HOURS": (["nan", "inf", "0", "8785"], ""),
    "AUTOINDEX_REQUESTS_PER_MINUTE": (["0", "1e9", "1000001"], ""),
    "AUTOINDEX_QUEUED_TASKS_PER_KIND": (["0", "1000001"], ""),
    "AUTOINDEX_ARCHIVE_URL": (
        ["archive", "nothing://there", "s3:/x", "file://", "file://srv/archive"],
        "fsspec",
    ),
    "AUTOINDEX_SMTP_HOST": (["smtp://mail.example.com", "mail.example.com:25"], "host's name"),
    "AUTOINDEX_SMTP_SECURITY": (["ssl"], "'starttls', 'tls' or 'none'"),
    "AUTOINDEX_SMTP_USER": (["a\nb"], "ASCII"),
    "AUTOINDEX_SMTP_PASSWORD": (["hunter2\x00", "hunter2ü"], "ASCII"),
    "AUTOINDEX_MAIL_FROM": (
        [
            "nobody",
            "a@example.com, b@example.com",
            "a@example.com\nBcc: b@example.com",
            "Ann\u202e <a@example.com>",
            f"{'Ann ' * 130}<a@example.com>",
        ],
        "one mail address",
    ),
    "AUTOINDEX_ALERT_EMAIL": (
        [
            "ops",
            "ops@10.0.0.1",
            "a@example.com,",
            "a@example.com; b@example.com",
            "=?utf-8?q?x?=@example.com",
        ],
        "one mail address",
    ),
    "AUTOINDEX_SLACK_WEBHOOK_URL": (["hooks.slack.com/hunter2", "https:///hunter2"], "scheme"),
    "AUTOINDEX_SENTRY_DSN": (
        [
            "https://sentry.example.com/42",
            "https://hunter2@sentry.example.com/",
            "hunter2@x/42",
            "ftp://hunter2@sentry.example.com/42",
        ],
        "must be a DSN",
    ),
}


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [(name, value, reason) for name, (values, reason) in WRONG.items() for value in values],
)
def test_a_wrong_setting_is_named_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, reason: str
) -> None:
    # What no environment can hold comes by way of an argument.
    if "\0" in value:
        given = {variable.removeprefix("AUTOINDEX_").lower(): value}
    else:
        monkeypatch.setenv(variable, value)
        given = {}
    with pytest.raises(ConfigurationError) as refused:
        Settings(**given)  # type: ignore[arg-type]
    said = str(refused.value)
    assert said.startswith(f"{variable}: ")
    assert reason in said
    assert "\n" not in said
    assert "hunter2" not in said


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("AUTOINDEX_API_HOST", "::1"),
        ("AUTOINDEX_API_HOST", "fe80::1%eth0"),
        ("AUTOINDEX_API_HOST", "0.0.0.0"),  # noqa: S104
        ("AUTOINDEX_SMTP_HOST", "mail_relay.internal"),
        ("AUTOINDEX_SMTP_HOST", "bücher.example"),
        ("AUTOINDEX_TWELVE_DATA_BASE_URL", "http://[::1]:8001/v1"),
        ("AUTOINDEX_REDIS_URL", "unix:///run/redis.sock"),
        ("AUTOINDEX_REDIS_URL", "rediss://:p%23w@there:6380/1"),
        ("AUTOINDEX_ARCHIVE_URL", "/srv/archive of prices"),
        ("AUTOINDEX_ARCHIVE_URL", "simplecache::s3://bucket/archive"),
        ("AUTOINDEX_CLOCK", "2022-12-28T22:00:00+01:00"),
        ("AUTOINDEX_ALERT_EMAIL", "Operators <ops@example.com>, root@localhost"),
        ("AUTOINDEX_JWT_JWKS_URL", "http://127.0.0.1:9000/keys"),
        ("AUTOINDEX_SENTRY_DSN", "http://key@127.0.0.1:9000/prefix/42"),
        ("AUTOINDEX_SMTP_PASSWORD", "four words with spaces"),
    ],
)
def test_what_is_right_in_an_unusual_way_is_taken(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    assert variable in Settings().environment()


def test_white_space_around_a_value_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a file with the line ends of Windows leaves it."""
    monkeypatch.setenv("AUTOINDEX_TWELVE_DATA_API_KEY", " 0123456789abcdef\r\n")
    monkeypatch.setenv("AUTOINDEX_API_PORT", "8000\r")
    monkeypatch.setenv("AUTOINDEX_SMTP_HOST", "\r")
    settings = Settings()
    assert settings.twelve_data_api_key is not None
    assert settings.twelve_data_api_key.get_secret_value() == "0123456789abcdef"
    assert settings.api_port == 8000
    assert settings.smtp_host is None
    given = Settings(redis_url=SecretStr("redis://there\n"))
    assert given.redis_url == SecretStr("redis://there")


def test_a_misspelt_variable_is_named_with_the_nearest_setting() -> None:
    environment = {
        "AUTOINDEX_SMPT_HOST": "mail.example.com",
        "AUTOINDEX_RELEASE_TRAIN": "7",
        "AUTOINDEX_API_PORT": "8000",
        "AUTOINDEX_LEASE_TOKEN": "3",
        "PATH": "/bin",
    }
    assert misspelt(environment) == [
        "AUTOINDEX_RELEASE_TRAIN is not a setting of Autoindex",
        "AUTOINDEX_SMPT_HOST is not a setting of Autoindex; did you mean AUTOINDEX_SMTP_HOST?",
    ]


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:p#/w@there/mine?sslmode=verify-full",
        "postgres://there:5433/mine",
        "postgresql+psycopg://postgres@/mine?host=/run/mine",
        "postgresql:///mine?host=/run/mine&options=-c%20search_path%3Dme@home",
        "postgresql://me@[::1]:5432/mine",
    ],
)
def test_databases_are_named_in_several_ways(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("AUTOINDEX_DATABASE_URL", url)
    assert Settings().database().startswith("postgresql+psycopg://")


def test_every_wrong_setting_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOINDEX_API_PORT", "0")
    monkeypatch.setenv("AUTOINDEX_RESULT_TTL_HOURS", "0")
    with pytest.raises(ConfigurationError, match=r"AUTOINDEX_API_PORT: .*; AUTOINDEX_RESULT_TTL"):
        Settings()


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a compose file leaves it for `${AUTOINDEX_REDIS_URL:-}`."""
    monkeypatch.setenv("AUTOINDEX_REDIS_URL", "")
    monkeypatch.setenv("AUTOINDEX_API_PORT", "")
    assert Settings().redis_url is None
    assert Settings().api_port == Settings.model_fields["api_port"].default


def test_a_folder_below_one_that_is_gone_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(ConfigurationError, match=r"^AUTOINDEX_DATA_DIR: var cannot be resolved"):
        Settings()
    monkeypatch.setenv("AUTOINDEX_DATA_DIR", "~nobody-of-this-name/var")
    with pytest.raises(
        ConfigurationError, match=r"^AUTOINDEX_DATA_DIR: ~nobody.* cannot be resolved"
    ):
        Settings()
    monkeypatch.setenv("AUTOINDEX_DATA_DIR", str(tmp_path))
    assert Settings().data_dir == tmp_path


def test_a_folder_whose_name_the_locale_cannot_read_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AUTOINDEX_DATA_DIR", f"{tmp_path}/gr\udcf6\udcdfe")  # in Latin-1
    with pytest.raises(ConfigurationError, match=r"^AUTOINDEX_DATA_DIR: is not text in UTF-8"):
        Settings()
