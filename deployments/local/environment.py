"""Which environment variables of the shell the processes of a stack inherit."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from autoindex.errors import ConfigurationError
from autoindex.settings import Settings
from worker.prefect_yaml import PROJECT

# They choose another interpreter, other modules, another server or other charts.
_MISLEADING: Final = ("PYTHON", "UVICORN_", "WEB_CONCURRENCY", "MATPLOTLIBRC", "PROMETHEUS_")
# libpq and asyncpg read them in every process; the embedded server's URL is complete.
_POSTGRESQL: Final = "PG"
_PROXIES: Final = frozenset(
    f"{scheme}_PROXY" for scheme in ("ALL", "HTTP", "HTTPS", "WS", "WSS", "SOCKS", "NO")
)
_CERTIFICATES: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")
_SETTINGS: Final = ("AUTOINDEX_", "PREFECT_")
# Their hosts may be behind a proxy, or have a certificate of a private authority.
_OUTSIDE: Final = (
    *("database_url", "redis_url", "twelve_data_api_key", "jwt_jwks_url", "archive_url"),
    *("smtp_host", "slack_webhook_url", "sentry_dsn"),
)


def clean(environ: Mapping[str, str], settings: Settings) -> dict[str, str]:
    """An environment without variables that mislead our processes.

    Proxies and certificates stay if a setting names another host. They never apply to the loopback
    address.
    """
    kept = {name: value for name, value in environ.items() if not _misleads(name, settings)}
    if not _PROXIES.isdisjoint(name.upper() for name in kept):
        spared = kept.get("no_proxy") or kept.get("NO_PROXY", "")
        kept["NO_PROXY"] = kept["no_proxy"] = _with_loopback(spared)
    return kept


def inherited(settings: Settings) -> dict[str, str]:
    """The shell's variables that a part of the stack gets: no settings, which it is given apart."""
    cleaned = clean(os.environ, settings)
    return {name: value for name, value in cleaned.items() if not name.startswith(_SETTINGS)}


def read_settings() -> Settings:
    """The settings; also removes misleading variables from this process's environment."""
    settings = Settings()
    sanitize(settings)
    return settings


def sanitize(settings: Settings) -> None:
    """Remove misleading variables from this process, and entries of PYTHONPATH from `sys.path`.

    Call it before anything is imported that only some commands need.
    """
    foreign = _python_path() - {str(PROJECT)}
    sys.path[:] = [entry for entry in sys.path if entry not in foreign]
    _replace(clean(os.environ, settings))
    try:
        Path.home()
    except RuntimeError:  # Prefect does not load without one
        os.environ["HOME"] = str(settings.data_dir)


def enter(settings: Settings) -> None:
    """Give this process the environment of a part of the stack.

    Call it before Prefect is imported, which reads the environment at once. Raises
    `ConfigurationError` if the shell's proxies or certificates can't be used.
    """
    sanitize(settings)
    _replace(inherited(settings) | {"PREFECT_HOME": str(settings.data_dir / "prefect")})
    check_network()


def check_network() -> None:
    """Raise `ConfigurationError` if no HTTP client can use the proxies and certificates."""
    import httpx  # noqa: PLC0415 - most commands do without

    for name in _CERTIFICATES:
        path = os.environ.get(name)
        if path and not os.access(path, os.R_OK):
            raise ConfigurationError(f"{name} names {path}, which can't be read: fix or unset it")
    try:
        httpx.Client().close()
    except (ImportError, OSError, ValueError, httpx.InvalidURL) as error:
        set_here = sorted(name for name in os.environ if _is_network(name))
        raise ConfigurationError(f"{', '.join(set_here)} can't be used: {error}") from error


def _misleads(name: str, settings: Settings) -> bool:
    if name.upper().startswith(_MISLEADING):
        return True
    if name.startswith(_POSTGRESQL):
        return settings.embedded
    return _is_network(name) and not any(getattr(settings, field) for field in _OUTSIDE)


def _is_network(name: str) -> bool:
    return name.upper() in _PROXIES or name in _CERTIFICATES


def _with_loopback(spared: str) -> str:
    hosts = [host.strip() for host in spared.split(",") if host.strip()]
    if "*" in hosts:
        return "*"
    return ",".join([*hosts, *(host for host in _LOOPBACK if host not in hosts)])


def _python_path() -> set[str]:
    entries = os.environ.get("PYTHONPATH")
    return {os.path.abspath(one) for one in entries.split(os.pathsep)} if entries else set()  # noqa: PTH100


def _replace(environ: Mapping[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environ)
