"""Wrong settings are named by their variable, and never shown."""

from pathlib import Path

import pytest

from autoindex.errors import ConfigurationError
from autoindex.settings import Settings


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        ("AUTOINDEX_API_PORT", "eighty", "valid integer"),
        ("AUTOINDEX_API_PORT", "99999", "less than or equal to 65535"),
        ("AUTOINDEX_CLOCK", "2022-12-28T22:00:00", "timezone"),
        ("AUTOINDEX_SMTP_SECURITY", "ssl", "'starttls', 'tls' or 'none'"),
        ("AUTOINDEX_DATABASE_URL", "mysql://me:hunter2@there/mine", "postgresql://"),
        ("AUTOINDEX_DATABASE_URL", "postgresql://me:hunter2@there", "host:5432/autoindex"),
        ("AUTOINDEX_DATABASE_URL", "postgresql://me:hunter2@there:54x/mine", "host:5432/autoindex"),
        ("AUTOINDEX_REDIS_URL", "http://:hunter2@there", "rediss://"),
    ],
)
def test_a_wrong_setting_is_named(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, reason: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError) as refused:
        Settings()
    assert str(refused.value).startswith(f"{variable}: ")
    assert reason in str(refused.value)
    assert "hunter2" not in str(refused.value)


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
    with pytest.raises(ConfigurationError, match=r"^AUTOINDEX_DATA_DIR: var leads nowhere"):
        Settings()
    monkeypatch.setenv("AUTOINDEX_DATA_DIR", "~nobody-of-this-name/var")
    with pytest.raises(ConfigurationError, match=r"^AUTOINDEX_DATA_DIR: ~nobody.* leads nowhere"):
        Settings()
    monkeypatch.setenv("AUTOINDEX_DATA_DIR", str(tmp_path))
    assert Settings().data_dir == tmp_path
