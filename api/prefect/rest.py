"""Prefect's REST API: its address, its credentials, and one request.

It does not use Prefect's client, which retries for a minute where the facade must answer within
seconds, and takes two seconds to import.
"""

import asyncio
import ssl
import time
from base64 import b64encode
from collections.abc import Mapping
from http import HTTPStatus
from math import inf
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote_to_bytes

import httpx
from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from api.slots import slot
from api.tasks.runner import Overload
from autoindex.errors import ConfigurationError, PartUnavailable

# More would not be answered sooner: Prefect's server uses one core. The others wait here, reads and
# starts in one queue, so that neither waits longer than the other.
_AT_ONCE: Final = 10
# The facade's own requests (is Prefect up, how long is a queue) do not wait with them.
_ASIDE: Final = 4

_UNSENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


class Connection(BaseSettings):
    """Prefect's API, from the variables that Prefect itself reads."""

    model_config = SettingsConfigDict(
        env_prefix="PREFECT_API_", env_ignore_empty=True, frozen=True, extra="ignore"
    )

    url: str | None = None
    auth_string: SecretStr | None = None
    key: SecretStr | None = None
    ssl_cert_file: Path | None = None

    @property
    def tls(self) -> ssl.SSLContext:
        """The authorities that Prefect's certificate is checked against: by default the system's.

        Raises `ConfigurationError` where `PREFECT_API_SSL_CERT_FILE` names no certificates.
        """
        try:
            return ssl.create_default_context(cafile=self.ssl_cert_file)
        except OSError as error:
            raise ConfigurationError(
                f"PREFECT_API_SSL_CERT_FILE: no certificates in {self.ssl_cert_file}: {error}"
            ) from None

    @property
    def authorization(self) -> dict[str, str]:
        """The header with the credentials; none where nothing is set."""
        # As in Prefect's client, the auth string comes first where several are set.
        if self.auth_string is not None:
            return {"Authorization": _basic(self.auth_string.get_secret_value().encode())}
        if self.key is not None:
            return {"Authorization": f"Bearer {self.key.get_secret_value()}"}
        if self.url and (userinfo := _parsed(self.url).userinfo):
            return {"Authorization": _basic(unquote_to_bytes(userinfo))}
        return {}


def _basic(credentials: bytes) -> str:
    return f"Basic {b64encode(credentials).decode()}"


def _parsed(url: str) -> httpx.URL:
    try:
        return httpx.URL(url.rstrip("/"))
    except httpx.InvalidURL:
        # The URL is not repeated: it may contain a password.
        raise ConfigurationError(
            "PREFECT_API_URL is not a URL such as http://127.0.0.1:4200/api"
        ) from None


class Unanswered(PartUnavailable):
    """A request was sent, and may have been carried out."""


class Rest:
    """Sends requests; none is sent twice, and each waits at most `answer_seconds` once it is sent.

    Raises `ConfigurationError` where `PREFECT_API_URL` is not set or not a URL, or
    `PREFECT_API_SSL_CERT_FILE` can't be read.
    """

    def __init__(self, connection: Connection, answer_seconds: float) -> None:
        if not connection.url:
            raise ConfigurationError(
                "PREFECT_API_URL is not set: say where the Prefect server is, "
                "as in PREFECT_API_URL=http://127.0.0.1:4200/api"
            )
        self._url = _parsed(connection.url)
        self._headers = connection.authorization
        self._answer_seconds = answer_seconds
        timeout = httpx.Timeout(answer_seconds, connect=answer_seconds / 2)
        self._extensions = {"timeout": timeout.as_dict()}
        most = _AT_ONCE + _ASIDE
        # httpx's client (cookies, redirects) would take as long as a short answer.
        self._http = httpx.AsyncHTTPTransport(
            limits=httpx.Limits(max_connections=most, max_keepalive_connections=most),
            # Prefect is on the loopback or a private network, never behind the shell's proxy.
            trust_env=False,
            verify=connection.tls,
        )

        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._aside = asyncio.Semaphore(_ASIDE)
        self._answered_at = -inf

    def is_busy(self) -> bool:
        """Whether every slot is taken and Prefect has answered recently."""
        return self._slots.locked() and time.monotonic() - self._answered_at < self._answer_seconds

    async def aclose(self) -> None:
        """Close connections."""
        await self._http.aclose()

    async def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        query: Mapping[str, str] | None = None,
        *,
        aside: bool = False,
    ) -> httpx.Response:
        """The response, read; raises `PartUnavailable` where there is none, or an error.

        Raises `Overload`, before anything is sent, where no slot gets free in that time.
        Requests with `aside` have slots of their own.
        """
        answer = await self._exchange(
            httpx.Request(
                method,
                self._url.copy_with(path=f"{self._url.path}{path}"),
                params=query,
                json=body,
                headers=self._headers,
                extensions=self._extensions,
            ),
            self._aside if aside else self._slots,
        )
        if answer.status_code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            raise PartUnavailable("Prefect", "refuses the facade: see PREFECT_API_AUTH_STRING")
        if answer.is_server_error or answer.status_code == HTTPStatus.TOO_MANY_REQUESTS:
            unsure = Unanswered if answer.is_server_error else PartUnavailable
            raise unsure("Prefect", f"answers {answer.status_code}")
        if answer.is_redirect or "json" not in answer.headers.get("content-type", "json"):
            raise Unanswered(
                "Prefect", f"answers {answer.status_code} as a proxy does, not in JSON"
            )
        return answer

    async def _exchange(self, request: httpx.Request, slots: asyncio.Semaphore) -> httpx.Response:
        async with slot(slots, self._answer_seconds, Overload()):
            try:
                answer = await self._http.handle_async_request(request)
                try:
                    await answer.aread()
                finally:
                    await answer.aclose()
            except _UNSENT as problem:
                raise PartUnavailable("Prefect") from problem
            except httpx.RequestError as problem:
                raise Unanswered("Prefect") from problem
        self._answered_at = time.monotonic()
        answer.request = request
        return answer
