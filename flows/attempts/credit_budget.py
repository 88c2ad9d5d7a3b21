"""The provider's credits during one refresh: reserved, waited for, and corrected."""

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Final, Self

from prefect import get_run_logger

from autoindex.errors import BudgetSpent, CreditsExhausted
from autoindex.market_data import quota
from autoindex.market_data.client import TwelveData
from autoindex.market_data.fetch_plan import Batch
from autoindex.storage import credits as ledger
from autoindex.storage.credits import Plan, Reservation
from flows.attempts.runtime import Runtime

TIME_LIMIT: Final = "the time limit"
DAY_SPENT: Final = "the day's credits are spent"
DAY_SHARED: Final = "what is left of the day's credits is for what is newly due"
MINUTE_SPENT: Final = "the minute's credits are spent"
# The smallest plan, until the provider says which it is.
_UNKNOWN: Final = Plan(per_minute=8, per_day=800)
_LONG_AGO: Final = timedelta(days=365)


class Budget:
    """Credits of the provider's plan, shared with all other workers through the ledger.

    Times are of the wall clock: the provider counts real requests.
    """

    def __init__(self, run: Runtime, seconds: float, leave: int = 0) -> None:
        """For so many seconds; leaves `leave` of a day's credits, at most half, to other runs."""
        self.spent = 0
        self._leave = leave
        self._run = run
        self._deadline = time.monotonic() + seconds
        with run.engine.connect() as connection:
            known = ledger.plan(connection, datetime.now(UTC))
            older = ledger.plan(connection, datetime.now(UTC), _LONG_AGO)
        self.is_known = known is not None
        self.plan = known or older or _UNKNOWN

    def has(self, seconds: float) -> bool:
        """Whether there are so many seconds left."""
        return time.monotonic() + seconds < self._deadline

    def open(self, batch: Batch) -> "Account":
        """Reserve what a batch may cost, or as much of it as there is for whole symbols."""
        return Account(self, self.reserve(batch.credits, batch.pages))

    def read_plan_limits(self, provider: TwelveData) -> None:
        """Ask the provider for its plan, which costs a credit."""
        with Account(self, self.reserve(1, 1)) as account:
            usage = provider.api_usage(account)
        self.plan, self.is_known = Plan(usage.per_minute, usage.per_day), True
        with self._run.engine.begin() as connection:
            ledger.store_plan(
                connection,
                self.plan,
                datetime.now(UTC),
                used_this_minute=usage.used_this_minute,
                used_today=usage.used_today,
            )

    def record_exhausted(self, error: CreditsExhausted) -> None:
        """Record that the minute's or the day's credits are spent, as the provider says."""
        with self._run.engine.begin() as connection:
            ledger.exhaust(connection, self.plan, datetime.now(UTC), daily=error.daily)

    def correct(self, reservation: Reservation, cost: quota.Credits) -> None:
        """Record what a reservation has really cost."""
        self.spent += cost.spent
        with self._run.engine.begin() as connection:
            now = datetime.now(UTC)
            ledger.correct(connection, reservation, cost.spent, now, used_this_minute=cost.used)

    def reserve(self, wanted: int, at_least: int) -> Reservation:
        """Reserve credits, in the next minute if need be; raises `BudgetSpent`."""
        # A batch that costs more than a minute has starts with a whole minute.
        most, limits = self.plan.per_minute, self._limits()
        while self.has(seconds=0):
            with self._run.engine.begin() as connection:
                now, least = datetime.now(UTC), min(at_least, most)
                made = ledger.reserve(connection, wanted, limits, now, at_least=least)
            if made.granted:
                return made
            if made.day_spent:
                raise BudgetSpent(DAY_SHARED if self._leave else DAY_SPENT)
            self._wait_for_next_minute()
        raise BudgetSpent(TIME_LIMIT)

    def _limits(self) -> Plan:
        per_day = self.plan.per_day
        if per_day is None:
            return self.plan
        return replace(self.plan, per_day=per_day - min(self._leave, per_day // 2))

    def _wait_for_next_minute(self) -> None:
        now = datetime.now(UTC)
        seconds = (ledger.next_minute(now) - now).total_seconds() + 0.1
        if not self.has(seconds):
            raise BudgetSpent(MINUTE_SPENT)
        get_run_logger().info("credits of this minute are spent; waiting %.0f s", seconds)
        time.sleep(seconds)


class Account:
    """Credits that are reserved for one batch, from which its calls are paid one by one.

    A call that they do not cover, because the minute has passed or the batch had to be split, gets
    a reservation of its own. Unused credits are released at the end.
    """

    def __init__(self, budget: Budget, reservation: Reservation) -> None:
        self.granted = reservation.granted
        self._budget = budget
        self._reserved = reservation
        self._call = replace(reservation, granted=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._release_unused()

    def reserve_call(self, cost: int) -> None:
        """Pay for the next call; raises `BudgetSpent` if there is no credit or no time for it."""
        if not self._budget.has(seconds=0):
            raise BudgetSpent(TIME_LIMIT)
        if self._reserved.granted < cost or not ledger.covers(self._reserved, datetime.now(UTC)):
            self._release_unused()
            self._reserved = self._budget.reserve(cost, cost)
        self._call = replace(self._reserved, granted=cost)
        self._reserved = replace(self._reserved, granted=self._reserved.granted - cost)

    def correct_call(self, cost: quota.Credits) -> None:
        """Record what the call has cost."""
        self._budget.correct(self._call, cost)

    def _release_unused(self) -> None:
        if self._reserved.granted:
            self._budget.correct(self._reserved, quota.Credits(0))
            self._reserved = replace(self._reserved, granted=0)
