"""The local stack's own secrets, made once and kept in its data folder for its owner."""

import os
import secrets
from pathlib import Path

from pydantic import SecretStr

from autoindex.errors import ConfigurationError
from autoindex.settings import Settings


def ensure(data_dir: Path) -> str:
    """The signing secret of the stack in `data_dir`; made on first use."""
    return _made(_signing(data_dir), secrets.token_urlsafe(48))


def find(data_dir: Path) -> str | None:
    """The signing secret, or None if no stack was ever started."""
    return _read(_signing(data_dir))


def ensure_prefect_login(data_dir: Path) -> str:
    """The Prefect server's password, as `user:password`; made on first use."""
    return _made(prefect_login(data_dir), f"admin:{secrets.token_urlsafe(24)}")


def prefect_login(data_dir: Path) -> Path:
    """The file that holds it: what to paste into the Prefect UI."""
    return data_dir / "prefect_login"


def _signing(data_dir: Path) -> Path:
    return data_dir / "jwt_secret"


def _made(path: Path, new: str) -> str:
    existing = _read(path)
    if existing is not None:
        return existing
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(f"{new}\n")
    return new


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip() or None
    except FileNotFoundError:
        return None
    except PermissionError as error:
        raise ConfigurationError(
            f"{path} belongs to another user: ask who started that stack, "
            "or set AUTOINDEX_DATA_DIR to the folder of your own"
        ) from error


def fill_in(settings: Settings) -> Settings:
    """The settings with the local stack's secret, unless one is set.

    Raises `ConfigurationError` if no stack has made one.
    """
    if settings.jwt_secret is not None or settings.jwt_jwks_url is not None:
        return settings
    made = find(settings.data_dir)
    if made is None:
        raise ConfigurationError(
            f"no stack has been started in {settings.data_dir}, so there is no key to sign with: "
            "start one with `make up`, set AUTOINDEX_DATA_DIR to the folder of the one that runs, "
            "or set AUTOINDEX_JWT_SECRET"
        )
    return settings.model_copy(update={"jwt_secret": SecretStr(made)})
