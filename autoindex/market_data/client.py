"""The Twelve Data client: one batch at a time, every page of it."""

import json
import time
from datetime import date
from ipaddress import ip_address
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit

import httpx
from pydantic import SecretStr, ValidationError

from autoindex.errors import ConfigurationError, ProviderRefused, ProviderUnavailable, SymbolRefused
from autoindex.market_data import quota, responses
from autoindex.market_data.fetch_plan import PAGE_BARS, Batch, Due
from autoindex.market_data.paging import BatchReply, Pages
from autoindex.market_data.quota import CallCredits, Credits, UnlimitedCredits, Usage
from autoindex.market_data.responses import Failure, Outcome
from autoindex.masking import Mask

_CONNECT_SECONDS: Final = 10.0
# Five times the size of a page of the most symbols that one call asks for.
_LARGEST_RESPONSE: Final = 64 * 2**20
_UNLIMITED: Final = UnlimitedCredits()


class TwelveData:
    """Twelve Data's REST API, or a compatible server.

    Use it as a context manager. Every method raises `ProviderUnavailable` and `CreditsExhausted`,
    which are worth a retry, and `ProviderRefused`, which is not. The key is sent in a header only,
    so it is in no URL, log or message.
    """

    def __init__(
        self,
        base_url: str,
        api_key: SecretStr,
        *,
        transport: httpx.BaseTransport | None = None,
        timeout_seconds: float = 60.0,
    ) -> None:
        self._mask = Mask([api_key.get_secret_value()])
        self._timeout_seconds = timeout_seconds
        self._http = httpx.Client(
            base_url=base_url,
            headers={"Authorization": f"apikey {api_key.get_secret_value()}"},
            timeout=httpx.Timeout(timeout_seconds, connect=_CONNECT_SECONDS),
            transport=transport,
            trust_env=not _is_loopback(base_url),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def api_usage(self, call_credits: CallCredits = _UNLIMITED) -> Usage:
        """The plan's limits and what is used of them. Costs a credit."""
        body, _ = self._get("/api_usage", {}, 1, call_credits)
        if isinstance(body, Failure):
            raise body.as_error()
        try:
            return Usage.model_validate(body)
        except ValidationError as error:
            raise ProviderUnavailable("/api_usage does not name the plan's limits") from error

    def fetch(self, batch: Batch, call_credits: CallCredits = _UNLIMITED) -> BatchReply:
        """Every bar of the batch's window, page by page, backwards; credits are reserved first."""
        pages = Pages(batch)
        spent = Credits(0)
        while call := pages.next_call():
            outcomes, cost = self._page(call.asked, call.before, call_credits)
            spent += cost
            pages.add(call, outcomes)
        return pages.reply(spent)

    def _page(
        self, asked: tuple[Due, ...], before: date, call_credits: CallCredits
    ) -> tuple[dict[str, Outcome], Credits]:
        """One page of bars older than `before`; a call that one symbol makes fail is split."""
        parameters = {
            "symbol": ",".join(one.symbol for one in asked),
            "exchange": asked[0].exchange,
            "interval": responses.INTERVAL,
            "start_date": asked[0].start.isoformat(),
            "end_date": before.isoformat(),
            "outputsize": str(PAGE_BARS),
            "order": "desc",
            "adjust": "splits",
        }
        body, cost = self._get("/time_series", parameters, len(asked), call_credits)
        if not isinstance(body, Failure):
            return self._by_symbol(body, asked), cost
        if body.is_no_data:
            return {one.symbol: responses.no_rows() for one in asked}, cost
        if not body.may_be_one_symbol:
            raise body.as_error()
        if len(asked) == 1:
            return {asked[0].symbol: SymbolRefused(asked[0].symbol, body.message)}, cost
        middle = len(asked) // 2
        first, first_cost = self._page(asked[:middle], before, call_credits)
        second, second_cost = self._page(asked[middle:], before, call_credits)
        return first | second, cost + first_cost + second_cost

    def _get(
        self, path: str, parameters: dict[str, str], expected: int, call_credits: CallCredits
    ) -> tuple[dict[str, Any] | Failure, Credits]:
        call_credits.reserve_call(expected)
        status, headers, body = self._read(path, parameters)
        cost = quota.from_headers(headers, expected)
        call_credits.correct_call(cost)
        content = responses.content(status, _json(body))
        if isinstance(content, Failure):
            content = Failure(content.code, self._mask(content.message))
        return content, cost

    def _read(self, path: str, parameters: dict[str, str]) -> tuple[int, httpx.Headers, bytes]:
        deadline = time.monotonic() + self._timeout_seconds
        try:
            # Streamed: a response that is read whole is part of a reference cycle, and its
            # megabytes would stay until the garbage collector runs.
            with self._http.stream("GET", path, params=parameters) as answer:
                body = bytearray()
                for part in answer.iter_bytes():
                    body += part
                    if len(body) > _LARGEST_RESPONSE:
                        raise ProviderUnavailable(
                            f"the provider's response exceeds {_LARGEST_RESPONSE >> 20} MB"
                        )
                    # A server that sends a little now and then would never time out.
                    if time.monotonic() > deadline:
                        raise ProviderUnavailable("the provider took too long to send its response")
                return answer.status_code, answer.headers, bytes(body)
        except (httpx.LocalProtocolError, httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
            raise ConfigurationError(
                "no request to the provider is possible: see AUTOINDEX_TWELVE_DATA_BASE_URL and "
                f"AUTOINDEX_TWELVE_DATA_API_KEY ({self._mask(str(error))})"
            ) from None
        except httpx.RequestError as error:
            reason = self._mask(str(error)) or type(error).__name__
            raise ProviderUnavailable(f"the provider did not respond: {reason}") from error

    def _by_symbol(self, body: dict[str, Any], asked: tuple[Due, ...]) -> dict[str, Outcome]:
        try:
            outcomes = responses.by_symbol(body, asked)
        except ProviderRefused as error:
            raise ProviderRefused(self._mask(str(error))) from None
        return {symbol: self._masked(outcome) for symbol, outcome in outcomes.items()}

    def _masked(self, outcome: Outcome) -> Outcome:
        if isinstance(outcome, SymbolRefused):
            return SymbolRefused(outcome.symbol, self._mask(outcome.reason))
        if isinstance(outcome, ProviderUnavailable):
            return ProviderUnavailable(self._mask(str(outcome)))
        return outcome


def _json(content: bytes) -> object:
    """The parsed body; None where it is not JSON: an edge page, or truncated."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def _is_loopback(base_url: str) -> bool:
    # A proxy from the environment could not reach a sandbox on this machine.
    host = urlsplit(base_url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
