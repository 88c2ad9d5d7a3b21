"""No text that leaves the process shows a secret: neither a log line nor an error's words.

`Settings` says what is secret as soon as it is read. Log records are masked where they are made,
so that every handler, ours and others', gets them masked; whatever hands a text on by another way
(a run's state, an answer, a mail) asks `masked`.
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
# A shorter one is a word of many texts: it is masked where it stands alone.
_SHORTEST: Final = 8
# Of a secret URL, a part that is longer than that is no name.
_A_NAME: Final = 15
_IN_URL: Final = re.compile(
    r"[\w+.-]+://(?P<user>[^:/?#@]*):(?P<password>.+)@[^/]*/?(?P<name>[^/?]*)"
)
# Prefect's, which are no settings of ours.
_LOGINS: Final = ("PREFECT_API_AUTH_STRING", "PREFECT_SERVER_API_AUTH_STRING", "PREFECT_API_KEY")
_URL_PASSWORD: Final = re.compile(r"(?<=://)[^\s/?#@]*:[^\s/?#]*(?=@)")


class Mask:
    """Replaces secrets in texts, in whatever form they usually come."""

    def __init__(self, secrets: Iterable[str]) -> None:
        forms = {form for secret in secrets if secret for form in _forms(secret)}
        # The longest first: one secret may be a part of another.
        patterns = [_pattern(form) for form in sorted(forms, key=len, reverse=True)]
        self._secrets = re.compile("|".join(patterns)) if patterns else None

    def __call__(self, text: str) -> str:
        """The text without secrets."""
        if self._secrets is not None:
            text = self._secrets.sub(MASK, text)
        return _URL_PASSWORD.sub(MASK, text) if "://" in text else text

    def everywhere(self, value: Any) -> Any:
        """The same for all texts in lists and mappings."""
        if isinstance(value, str):
            return self(value)
        if isinstance(value, Mapping):
            return {name: self.everywhere(one) for name, one in value.items()}
        if isinstance(value, list | tuple):
            return [self.everywhere(one) for one in value]
        return value


_mask = Mask(())


def hide(values: Iterable[object], *logins: str) -> None:
    """Mask from here on what is secret among the values of settings, and no more what was before.

    That is whatever is a `SecretStr`, and passwords and tokens in URLs. `logins`, each as
    `user:password`, and those that the environment has for Prefect are masked, too.
    """
    global _mask  # noqa: PLW0603 - as global as the logging that it is for
    known = (*logins, *(os.environ.get(name, "") for name in _LOGINS))
    _mask = Mask([*_secrets(values), *(form for login in known for form in _told(login))])
    if logging.getLogRecordFactory() is not _masked_record:
        logging.setLogRecordFactory(_masked_record)


def masked(text: str) -> str:
    """The text without the secrets of this process."""
    return _mask(text)


def masked_everywhere(value: Any) -> Any:
    """The same for all texts in lists and mappings."""
    return _mask.everywhere(value)


def mask_error(error: BaseException) -> None:
    """Take the secrets out of an error and its causes, whoever shows them later."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        one.args = tuple(masked(arg) if isinstance(arg, str) else arg for arg in one.args)
        if isinstance(one, OSError) and isinstance(one.strerror, str):  # which is what it shows
            one.strerror = masked(one.strerror)
        waiting += [one.__cause__, one.__context__]


def _masked_record(*args: Any, **more: Any) -> logging.LogRecord:
    record = logging.LogRecord(*args, **more)
    try:
        said = record.getMessage()
    except (TypeError, ValueError):  # which the handlers report
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
    # One that is also the user's or the database's name stands in many texts.
    if found and found["password"] not in (found["user"], found["name"]):
        yield found["password"]
        yield unquote(found["password"])


def _tokens(url: str) -> Iterable[str]:
    """Of a web hook or a DSN, what is as good as the whole."""
    if url.startswith(("http://", "https://")):
        parts = urlsplit(url)
        yield from (one for one in (parts.username, parts.path) if one and len(one) > _A_NAME)


def _told(login: str) -> Iterable[str]:
    """The whole, the password alone, and how a request's header has it."""
    return login, login.partition(":")[2], b64encode(login.encode()).decode()


def _forms(secret: str) -> set[str]:
    """As it is; as URLs, JSON and Python's own texts have it."""
    escaped = (json.dumps(secret)[1:-1], repr(secret)[1:-1], repr(secret.encode())[2:-1])
    return {secret, quote(secret), quote(secret, safe=""), quote_plus(secret), *escaped}


def _pattern(form: str) -> str:
    literal = re.escape(form)
    return literal if len(form) >= _SHORTEST else rf"(?<!\w){literal}(?!\w)"
