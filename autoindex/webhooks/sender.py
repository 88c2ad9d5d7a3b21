"""One attempt to send a webhook: signed, to an address that was checked, and bounded."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Final
from urllib.parse import SplitResult, urlsplit

import httpx

from autoindex.webhooks import signature
from autoindex.webhooks.destinations import DestinationRefused, check_url, resolve

ATTEMPT_SECONDS: Final = 15.0
_LOOK_UPS: Final = 32
_LONGEST_OUTCOME: Final = 200


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent, and where."""

    url: str
    secret: str
    id: str
    body: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt has ended: with a status, or with what has kept it from one."""

    status: int | None
    text: str

    @property
    def delivered(self) -> bool:
        """Whether the receiver has taken it."""
        status = self.status
        return status is not None and HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES

    @property
    def gone(self) -> bool:
        """Whether the receiver wants no more."""
        return self.status == HTTPStatus.GONE


class Sender:
    """Sends webhooks; neither redirects nor proxies are followed, and no answer's body is read."""

    def __init__(self, *, private: bool, seconds: float = ATTEMPT_SECONDS) -> None:
        self._private = private
        self._seconds = seconds
        # A connection that is kept would serve another name at the same address.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        # Of the environment only its certificates. Without a client, which would keep cookies by
        # address, and log URLs, which may be secret.
        self._transport = httpx.AsyncHTTPTransport(
            verify=httpx.create_ssl_context(), trust_env=False, limits=limits
        )
        # Of its own: names that nobody answers for do not hold up the worker's look-ups.
        self._executor = ThreadPoolExecutor(_LOOK_UPS, "webhook-look-up")
        self._look_ups: dict[tuple[str, int], asyncio.Task[list[str]]] = {}

    async def aclose(self) -> None:
        """Close connections."""
        for task in self._look_ups.values():
            task.cancel()
        self._executor.shutdown(wait=False, cancel_futures=True)
        await self._transport.aclose()

    async def send(self, message: Message) -> Outcome:
        """Try once; never raises for what a receiver or its name can cause."""
        try:
            async with asyncio.timeout(self._seconds):
                status = await self._post(message)
        except TimeoutError:
            return Outcome(None, f"no answer within {self._seconds:g} s")
        except DestinationRefused as refused:
            return Outcome(None, f"not sent: {refused}")
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            # What is not HTTP is not shown: it may be the greeting of a private host.
            is_shown = isinstance(error, (httpx.ConnectError, OSError)) and str(error)
            text = f"no connection: {error if is_shown else type(error).__name__}"
            return Outcome(None, text[:_LONGEST_OUTCOME])
        return Outcome(status, f"HTTP {status}")

    async def _post(self, message: Message) -> int:
        check_url(message.url, private=self._private)
        url = urlsplit(message.url)
        # httpx decodes the host of an URL, and not as a look-up encodes it.
        host, port = url.hostname or "", url.port or (443 if url.scheme == "https" else 80)
        found = await self._resolve(host, port)
        seconds = self._seconds / len(found)
        for address in found[:-1]:
            try:
                return await self._post_to(address, url, message, seconds)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                continue
        return await self._post_to(found[-1], url, message, seconds)

    async def _resolve(self, host: str, port: int) -> list[str]:
        """The addresses of a host, of which there is one look-up at a time."""
        where = (host, port)
        if (under_way := self._look_ups.get(where)) is None:
            look_up = resolve(host, port, private=self._private, executor=self._executor)
            under_way = self._look_ups[where] = asyncio.create_task(look_up)
            under_way.add_done_callback(partial(self._looked_up, where))
        return await asyncio.shield(under_way)

    def _looked_up(self, where: tuple[str, int], task: "asyncio.Task[list[str]]") -> None:
        del self._look_ups[where]
        if not task.cancelled():
            task.exception()  # nobody may wait for it any more

    async def _post_to(
        self, address: str, url: SplitResult, message: Message, seconds: float
    ) -> int:
        """Connect to the address that was checked; TLS checks the certificate of the name."""
        sent = signature.headers(message.secret, message.id, int(time.time()), message.body)
        sent |= {
            "Host": url.netloc,
            "Content-Type": "application/json",
            "User-Agent": "Autoindex",
            "Accept-Encoding": "identity",
        }
        there = httpx.URL(message.url).copy_with(host=address)
        chosen = {"sni_hostname": url.hostname, "timeout": {"connect": seconds}}
        request = httpx.Request(
            "POST", there, content=message.body, headers=sent, extensions=chosen
        )
        answer = await self._transport.handle_async_request(request)
        await answer.aclose()
        return answer.status_code
