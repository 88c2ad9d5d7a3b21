"""What the demonstration runs with: the embedded parts, beside whatever else is there."""

from typing import Final

from autoindex.settings import Settings
from deployments.local import ports

# The demonstration shows the embedded parts, whatever the environment is set to.
_IGNORED: Final = (
    *("database_url", "redis_url", "twelve_data_api_key", "clock", "archive_url"),
    *("jwt_secret", "jwt_jwks_url", "smtp_host", "slack_webhook_url", "sentry_dsn"),
)


def of(settings: Settings) -> Settings:
    """Of the caller's settings only where to listen and where to write.

    The demonstration has a data folder of its own, so that sample prices never meet real ones.
    """
    free = {field: _free_or_next(field, settings) for field in ports.FIELDS}
    blank = dict.fromkeys(_IGNORED)
    folder = {"data_dir": settings.data_dir / "demo"}
    return settings.model_copy(update={**free, **blank, **folder})


def _free_or_next(field: str, settings: Settings) -> int:
    # Steps of ten keep the three ports apart.
    first: int = getattr(settings, field)
    host = ports.host(field, settings)
    return next(port for port in range(first, 65_536, 10) if ports.is_free(port, host))
