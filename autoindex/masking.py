"""Masks secrets in every text that leaves the process: log lines, errors, states, mails.

`Settings` registers its secrets when it is read. Log records are masked when they are created, so
every handler gets them masked. Code that passes a text on in another way (a run's state, an
answer, a mail) calls `masked`.
"""

import json
import logging
import os
import re
import traceback
from base64 import b64encode
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import quote, quote_plus, unquote, urlsplit

from pydantic import SecretStr

MASK: Final = "***"
# A shorter secret may be part of ordinary words: it is masked only as a whole word.
_SHORTEST: Final = 8
# A part of a secret URL that is longer than this is not a name.
_A_NAME: Final = 15
_IN_URL: Final = re.compile(
    r"[\w+.-]+://(?P<user>[^:/?#@]*):(?P<password>.+)@[^/]*/?(?P<name>[^/?]*)"
)
# Prefect's own settings.
_LOGINS: Final = ("PREFECT_API_AUTH_STRING", "PREFECT_SERVER_API_AUTH_STRING", "PREFECT_API_KEY")
_URL_PASSWORD: Final = re.compile(r"(?<=://)[^\s/?#@]*:[^\s/?#]*(?=@)")


class Mask:
    """Replaces secrets in texts, in each of their usual encodings."""

    def __init__(self, secrets: Iterable[str]) -> None:
        forms = {form for secret in secrets if secret for form in _forms(secret)}
        # Longest first: one secret may be part of another.
        patterns = [_pattern(form) for form in sorted(forms, key=len, reverse=True)]
        self._secrets = re.compile("|".join(patterns)) if patterns else None

    def __call__(self, text: str) -> str:
        """The text without secrets."""
        if self._secrets is not None:
            text = self._secrets.sub(MASK, text)
        return _URL_PASSWORD.sub(MASK, text) if "://" in text else text

    def everywhere(self, value: Any) -> Any:
        """The value with every text in its lists and mappings masked."""
        if isinstance(value, str):
            return self(value)
        if isinstance(value, Mapping):
            return {name: self.everywhere(one) for name, one in value.items()}
        if isinstance(value, list | tuple):
            return [self.everywhere(one) for one in value]
        return value


_mask = Mask(())


def hide(values: Iterable[object], *logins: str) -> None:
    """Mask the secrets among the values of settings from now on, in place of earlier ones.

    Secret are `SecretStr` values, and passwords and tokens in URLs. `logins`, each as
    `user:password`, and Prefect's logins in the environment are masked, too.
    """
    global _mask  # noqa: PLW0603 - logging is global, too
    known = (*logins, *(os.environ.get(name, "") for name in _LOGINS))
    _mask = Mask([*_secrets(values), *(form for login in known for form in _login_forms(login))])
    if logging.getLogRecordFactory() is not _masked_record:
        logging.setLogRecordFactory(_masked_record)


def masked(text: str) -> str:
    """The text without the secrets of this process."""
    return _mask(text)


def masked_everywhere(value: Any) -> Any:
    """The value with every text in its lists and mappings masked."""
    return _mask.everywhere(value)


def mask_error(error: BaseException) -> None:
    """Mask the secrets in an error and its causes."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        one.args = tuple(masked(arg) if isinstance(arg, str) else arg for arg in one.args)
        if isinstance(one, OSError) and isinstance(one.strerror, str):  # which its text shows
            one.strerror = masked(one.strerror)
        waiting += [one.__cause__, one.__context__]


def _masked_record(*args: Any, **more: Any) -> logging.LogRecord:
    record = logging.LogRecord(*args, **more)
    try:
        said = record.getMessage()
    except (TypeError, ValueError):  # the handlers report it
        return record
    if (shown := masked(said)) != said:
        record.msg, record.args = shown, ()
    if isinstance(record.exc_info, tuple) and record.exc_info[0] is not None:
        trace = "".join(traceback.format_exception(*record.exc_info)).rstrip("\n")
        if (shown := masked(trace)) != trace:
            record.exc_info, record.exc_text = None, shown
    return record


def _secrets(values: Iterable[object]) -> Iterable[str]:
    for value in values:
        if isinstance(value, SecretStr):
            secret = value.get_secret_value()
            yield from (secret, *_tokens(secret), *_passwords(secret))
        elif isinstance(value, str):
            yield from _passwords(value)


def _passwords(url: str) -> Iterable[str]:
    found = _IN_URL.match(url)
    # A password that is also the name of the user or the database occurs in many texts.
    if found and found["password"] not in (found["user"], found["name"]):
        yield found["password"]
        yield unquote(found["password"])


def _tokens(url: str) -> Iterable[str]:
    """The parts of a web hook or a DSN that are as secret as the whole."""
    if url.startswith(("http://", "https://")):
        parts = urlsplit(url)
        yield from (one for one in (parts.username, parts.path) if one and len(one) > _A_NAME)


def _login_forms(login: str) -> Iterable[str]:
    """The whole login, the password alone, and the login as a request header has it."""
    return login, login.partition(":")[2], b64encode(login.encode()).decode()


def _forms(secret: str) -> set[str]:
    """The secret as it is, and as URLs, JSON and Python's `repr` encode it."""
    escaped = (json.dumps(secret)[1:-1], repr(secret)[1:-1], repr(secret.encode())[2:-1])
    return {secret, quote(secret), quote(secret, safe=""), quote_plus(secret), *escaped}


def _pattern(form: str) -> str:
    literal = re.escape(form)
    return literal if len(form) >= _SHORTEST else rf"(?<!\w){literal}(?!\w)"
