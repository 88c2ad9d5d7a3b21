"""The provider's credits during one refresh: set aside, waited for within a limit, put right."""

import time
from datetime import UTC, datetime

from prefect import get_run_logger

from autoindex.errors import CreditsExhausted
from autoindex.market_data.client import TwelveData
from autoindex.market_data.pages import BatchReply
from autoindex.market_data.plan import Batch
from autoindex.storage import credits as ledger
from autoindex.storage.credits import Plan, Reservation
from flows.runtime import Runtime


class Budget:
    """Credits of the provider's plan, shared with every other worker through the ledger.

    The instants here are the wall clock's: the budget is about real requests.
    """

    def __init__(self, run: Runtime, plan: Plan, seconds: float) -> None:
        self.plan = plan
        self._run = run
        self._deadline = time.monotonic() + seconds

    @property
    def out_of_time(self) -> bool:
        """Whether fetching has used up its share of the time limit."""
        return time.monotonic() >= self._deadline

    def reserve(self, batch: Batch) -> Reservation:
        """Set aside what a batch may cost, or as much of it as there is for whole symbols."""
        with self._run.engine.begin() as connection:
            now = datetime.now(UTC)
            return ledger.reserve(connection, batch.credits, self.plan, now, at_least=batch.pages)

    def settle(self, reservation: Reservation, reply: BatchReply) -> None:
        """Book what a batch really cost."""
        with self._run.engine.begin() as connection:
            ledger.correct(
                connection,
                reservation,
                reply.credits.spent,
                datetime.now(UTC),
                used_this_minute=reply.credits.used,
            )

    def exhausted(self, error: CreditsExhausted) -> None:
        """Book the minute or the day as spent, because the provider has said so."""
        with self._run.engine.begin() as connection:
            ledger.exhaust(connection, self.plan, datetime.now(UTC), daily=error.daily)

    def wait_for_next_minute(self) -> bool:
        """Wait until credits are renewed; False, at once, where that is too late."""
        now = datetime.now(UTC)
        seconds = (ledger.next_minute(now) - now).total_seconds() + 0.1
        if time.monotonic() + seconds >= self._deadline:
            return False
        get_run_logger().info("credits of this minute are spent; waiting %.0f s", seconds)
        time.sleep(seconds)
        return True


def known_plan(run: Runtime, provider: TwelveData) -> Plan:
    """The provider's plan; asked for at most once a day, because asking costs a credit."""
    now = datetime.now(UTC)
    with run.engine.connect() as connection:
        known = ledger.plan(connection, now)
    if known is not None:
        return known
    usage = provider.api_usage()
    told = Plan(usage.per_minute, usage.per_day)
    with run.engine.begin() as connection:
        ledger.store_plan(
            connection,
            told,
            now,
            used_this_minute=usage.used_this_minute,
            used_today=usage.used_today,
        )
    return told
