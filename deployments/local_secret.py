"""The local stack's own signing secret, made once and kept beside its data."""

import os
import secrets
from pathlib import Path

from pydantic import SecretStr

from autoindex.errors import ConfigurationError
from autoindex.settings import Settings


def ensure(data_dir: Path) -> str:
    """The secret of the stack in `data_dir`; made on first use, readable by its owner only."""
    existing = find(data_dir)
    if existing is not None:
        return existing
    data_dir.mkdir(parents=True, exist_ok=True)
    made = secrets.token_urlsafe(48)
    handle = os.open(_path(data_dir), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(made)
    return made


def find(data_dir: Path) -> str | None:
    """The secret, or None where no stack was ever started."""
    path = _path(data_dir)
    try:
        return path.read_text() or None
    except FileNotFoundError:
        return None
    except PermissionError as error:
        raise ConfigurationError(
            f"{path} belongs to another user: ask whoever started that stack, "
            "or set AUTOINDEX_DATA_DIR to the folder of your own"
        ) from error


def _path(data_dir: Path) -> Path:
    return data_dir / "jwt_secret"


def fill_in(settings: Settings) -> Settings:
    """The settings with the local stack's secret, where none is set.

    Raises `ConfigurationError` where no stack has made one.
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
