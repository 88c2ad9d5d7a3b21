"""The types of settings: each checks a value, and its error says what is expected."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field, SecretStr

from autoindex import addresses, mail_address

# Within the calendar, with room for the time zones at both ends.
_EARLIEST: Final = datetime(1991, 1, 1, tzinfo=UTC)
_LATEST: Final = datetime(2100, 1, 1, tzinfo=UTC)
_DAY_SECONDS: Final = 86_400
# RFC 7518, section 3.2: a key at least as long as the hash.
_SHORTEST_SECRET_BYTES: Final = 32
# Placeholders of examples.
_PLACEHOLDER: Final = re.compile(
    r"change|replace|your.?(own|secret|key|256)|secret.?key|password|example|placeholder|default"
    r"|super.?secret|09d25e094faa6ca2556c818166b7a956",
    re.IGNORECASE,
)


def _as_written(check: Callable[[str], object]) -> AfterValidator:
    """Keep the value unchanged where the check does not raise."""

    def checked(value: Any) -> Any:
        check(value.get_secret_value() if isinstance(value, SecretStr) else value)
        return value

    return AfterValidator(checked)


def _line(value: str) -> None:
    if not (value.isascii() and value.isprintable()):
        raise ValueError("must be printable ASCII characters on one line")


def _word(value: str) -> None:
    _line(value)
    if not value or " " in value:
        raise ValueError("must be one word, without spaces")


def _signing(value: str) -> None:
    _line(value)
    if _can_be_guessed(value):
        raise ValueError(
            f"can be guessed: give it {_SHORTEST_SECRET_BYTES} random bytes or more "
            "(`openssl rand -base64 48`)"
        )


def _can_be_guessed(secret: str) -> bool:
    """Whether it is too short, repeats itself, or is a placeholder."""
    return (
        len(secret) < _SHORTEST_SECRET_BYTES
        or len(set(secret)) < 8
        # A text that repeats itself occurs inside its double.
        or secret in (secret + secret)[1:-1]
        or _PLACEHOLDER.search(secret) is not None
    )


def _written_out(instant: object) -> object:
    # Pydantic would read a number as seconds since 1970.
    if isinstance(instant, str) and "-" not in instant:
        raise ValueError("must be an instant with its timezone, as in 2022-12-28T22:00:00Z")
    return instant


def _within_the_calendar(instant: datetime) -> datetime:
    if not _EARLIEST <= instant < _LATEST:
        raise ValueError(f"must lie between {_EARLIEST.year} and {_LATEST.year}")
    return instant


def _calendar(code: str) -> None:
    # It takes a second to load, and most installs leave the default.
    import exchange_calendars  # noqa: PLC0415

    if code not in exchange_calendars.get_calendar_names():
        raise ValueError(
            "is no calendar of exchange_calendars: write its code, as in XNYS, XLON or XTKS"
        )
    try:
        exchange_calendars.get_calendar(code, start="2022-01-01", end="2022-12-31")
    except (NotImplementedError, ValueError):
        raise ValueError("is a calendar that the installed exchange_calendars can't make") from None


def _absolute(folder: Path) -> Path:
    try:
        str(folder).encode()
    except UnicodeEncodeError as error:
        raise ValueError("is not text in UTF-8: rename it, or set LC_ALL=C.UTF-8") from error
    try:
        return folder.expanduser().resolve()
    except (OSError, RuntimeError) as error:  # no current folder, or no home
        raise ValueError(f"{folder} cannot be resolved ({error}): begin it with /") from error


Line = Annotated[str, _as_written(_line)]
Folder = Annotated[Path, AfterValidator(_absolute)]
Instant = Annotated[AwareDatetime, BeforeValidator(_written_out), _as_written(_within_the_calendar)]
Calendar = Annotated[str, _as_written(_calendar)]
Seconds = Annotated[float, Field(le=_DAY_SECONDS, allow_inf_nan=False)]
Hours = Annotated[float, Field(gt=0, le=366 * 24, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]
Port = Annotated[int, Field(ge=1, le=65_535)]

Host = Annotated[str, _as_written(addresses.host)]
WebUrl = Annotated[str, _as_written(addresses.web)]
KeySetUrl = Annotated[str, _as_written(addresses.key_set)]
Origins = Annotated[str, _as_written(addresses.origins)]
ArchiveUrl = Annotated[str, _as_written(addresses.archive)]
MailAddress = Annotated[str, _as_written(mail_address.parse)]
MailAddresses = Annotated[str, _as_written(mail_address.parse_several)]

Password = Annotated[SecretStr, _as_written(_line)]
ApiKey = Annotated[SecretStr, _as_written(_word)]
SigningSecret = Annotated[SecretStr, _as_written(_signing)]
SecretWebUrl = Annotated[SecretStr, _as_written(addresses.web)]
Dsn = Annotated[SecretStr, _as_written(addresses.error_tracking)]
RedisUrl = Annotated[SecretStr, _as_written(addresses.redis)]
PostgresqlUrl = Annotated[SecretStr, _as_written(addresses.postgresql)]
Paper = Literal["a4", "letter"]
