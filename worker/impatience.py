"""Questions to Prefect that are asked once: the next look is the retry."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

from prefect.context import SettingsContext, get_settings_context
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, Settings, temporary_settings


@contextmanager
def asked_once() -> Iterator[None]:
    """Within it Prefect's client does not try again."""
    with SettingsContext(profile=get_settings_context().profile, settings=_impatient()):
        yield


@lru_cache(maxsize=1)
def _impatient() -> Settings:
    # Made once: it takes Prefect longer than the question does.
    with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}):
        return get_settings_context().settings
