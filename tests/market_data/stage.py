"""What tests of the market data act with: the sandbox's switches, a refresh without a database."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import httpx

from autoindex.market_data import fetch_plan
from autoindex.market_data.client import TwelveData
from autoindex.market_data.paging import BatchReply, Fetched
from autoindex.requests import Mode
from tests.bounds import HANG_SECONDS

AFTER_LAST_CLOSE = datetime(2022, 12, 28, 22, 0, tzinfo=UTC)


def until_early_in_a_minute() -> None:
    """Credits are counted by the minute: what follows has a quarter of one for itself."""
    while datetime.now(UTC).second >= 45:
        time.sleep(0.1)


@dataclass(frozen=True)
class Asset:
    symbol: str
    exchange: str = "NASDAQ"
    currency: str = "USD"
    prices_kept_from: date | None = None


class Switches:
    """The sandbox's HTTP side, as a person with curl would use it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._http = httpx.Client(base_url=url, timeout=HANG_SECONDS, trust_env=False)

    def get(self, path: str, **parameters: Any) -> httpx.Response:
        headers = {"Authorization": "apikey test"}
        return self._http.get(path, params=parameters, headers=headers)

    def set(self, switch: str, value: Any) -> None:
        answer = self._http.put(f"/sandbox/{switch}", json=value)
        assert answer.is_success, answer.text

    def faults(self, *faults: Mapping[str, Any]) -> None:
        self.set("faults", list(faults))

    def clock(self, now: datetime) -> None:
        self.set("clock", {"now": now.isoformat()})

    def requests(self) -> list[dict[str, Any]]:
        seen: list[dict[str, Any]] = self._http.get("/sandbox/requests").json()["requests"]
        return seen

    def credits(self) -> int:
        return int(self._http.get("/sandbox/requests").json()["credits"])

    def reset(self) -> None:
        assert self._http.delete("/sandbox").is_success

    def close(self) -> None:
        self._http.close()


class Refresh:
    """What a refresh does, without a database: plan, then fetch batch by batch."""

    def __init__(self, client: TwelveData) -> None:
        self._client = client

    def __call__(
        self,
        assets: Sequence[Asset],
        newest: Mapping[str, date] | date | None = None,
        *,
        now: datetime = AFTER_LAST_CLOSE,
        mode: Mode = Mode.SMART,
        per_minute: int = 610,
    ) -> list[BatchReply]:
        if newest is None or isinstance(newest, date):
            newest = {one.symbol: newest for one in assets} if newest else {}
        due = fetch_plan.due_symbols(assets, newest, now, mode)
        return [self._client.fetch(batch) for batch in fetch_plan.batches(due, per_minute)]

    def only(self, asset: Asset, newest: date | None = None, **others: Any) -> BatchReply:
        (reply,) = self([asset], newest, **others)
        return reply

    def bars_of(self, symbol: str, newest: date | None = None, **others: Any) -> Fetched:
        reply = self.only(Asset(symbol), newest, **others)
        assert not reply.refused, reply.refused
        assert not reply.unavailable, reply.unavailable
        return reply.fetched[0]
