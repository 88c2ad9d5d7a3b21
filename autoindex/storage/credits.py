"""The provider's credits: a budget that all workers share, in a ledger of UTC minutes and days.

Reserve, commit, call the provider, correct. All instants are by the wall clock, not the data's
clock: the budget is for real requests.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, Connection, delete, func, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert

from autoindex.storage.tables import credit_ledger, credit_plan

# The provider may count a call at the end of a minute in the next one, so it is booked in both. The
# same holds for days.
_BORDER: Final = timedelta(seconds=2)
_PLAN_KNOWN_FOR: Final = timedelta(days=1)
_NO_LIMIT: Final = 1_000_000_000
_LEDGER_KEPT_FOR: Final = timedelta(days=7)

Period = tuple[str, datetime]


@dataclass(frozen=True, slots=True)
class Plan:
    """How many credits there are; `per_day` is None where the day has no limit."""

    per_minute: int
    per_day: int | None


@dataclass(frozen=True, slots=True)
class DayUsage:
    """How many credits of a day are used, and the day's limit."""

    used: int
    limit: int | None


@dataclass(frozen=True, slots=True)
class Reservation:
    """Credits reserved at an instant; `day_spent` says that the day's limit granted no more."""

    granted: int
    at: datetime
    day_spent: bool


def plan(
    connection: Connection, now: datetime, known_for: timedelta = _PLAN_KNOWN_FOR
) -> Plan | None:
    """The plan as the provider reported it; None where that is more than `known_for` ago."""
    query = select(credit_plan.c.per_minute, credit_plan.c.per_day).where(
        credit_plan.c.asked_at > now - known_for
    )
    row = connection.execute(query).one_or_none()
    return None if row is None else Plan(row.per_minute, row.per_day)


def store_plan(
    connection: Connection,
    told: Plan,
    now: datetime,
    *,
    used_this_minute: int = 0,
    used_today: int | None = None,
) -> None:
    """Store the plan that the provider reported, and what others with the same key have used."""
    values = {"per_minute": told.per_minute, "per_day": told.per_day, "asked_at": now}
    connection.execute(
        insert(credit_plan)
        .values(singleton=True, **values)
        .on_conflict_do_update(index_elements=[credit_plan.c.singleton], set_=values)
    )
    _raise_to(connection, _day(now), used_today or 0)
    _raise_to(connection, _minute(now), used_this_minute)
    _forget_old(connection, now)


def reserve(
    connection: Connection, wanted: int, limits: Plan, now: datetime, *, at_least: int = 1
) -> Reservation:
    """Reserve up to `wanted` credits of this minute and this day, or none below `at_least`.

    The rows stay locked until the transaction ends: commit before calling the provider.
    """
    periods = _periods(now)
    used = _lock(connection, periods)
    left = {period: _left(period, limits, used[period]) for period in periods}
    by_day = min(left[period] for period in periods if period[0] == "day")
    granted = min(wanted, by_day, *left.values())
    if granted < at_least:
        return Reservation(0, now, day_spent=by_day < at_least)
    _add(connection, periods, granted)
    return Reservation(granted, now, day_spent=by_day < wanted)


def covers(reservation: Reservation, now: datetime) -> bool:
    """Whether a call sent now is booked in each minute and day that may count it."""
    return set(_periods(now)) <= set(_periods(reservation.at))


def correct(
    connection: Connection,
    reservation: Reservation,
    spent: int,
    now: datetime,
    *,
    used_this_minute: int | None = None,
) -> None:
    """Replace the reserved credits by the spent ones, once the provider has responded.

    A response in a later minute is booked in both minutes: the provider may have counted it in
    either. `used_this_minute` is the provider's own count, which includes others with the same key.
    It is used only where it is higher, because ours includes calls in progress, and only while the
    minute is that of the reservation.
    """
    reserved = _periods(reservation.at)
    later = sorted({_day(now), _minute(now)} - set(reserved))
    _lock(connection, sorted([*reserved, *later]))
    _add(connection, reserved, spent - reservation.granted)
    if later:
        _add(connection, later, spent)
    elif used_this_minute is not None and _minute(now) == _minute(reservation.at):
        _raise_to(connection, _minute(now), used_this_minute)


def exhaust(connection: Connection, limits: Plan, now: datetime, *, daily: bool) -> None:
    """Book the minute, or the day, as spent, as the provider reports."""
    if not daily:
        _raise_to(connection, _minute(now), limits.per_minute)
    else:
        _raise_to(connection, _day(now), _NO_LIMIT if limits.per_day is None else limits.per_day)


def day_usage(connection: Connection, now: datetime) -> DayUsage | None:
    """The day's credits and their limit; None where the day has no limit, or none is known.

    The limit is None where the provider reports the day as spent, but not its limit.
    """
    query = select(credit_ledger.c.used).where(_is_one_of([_day(now)]))
    used = connection.execute(query).scalar_one_or_none() or 0
    if used >= _NO_LIMIT:
        return DayUsage(used, None)
    known = plan(connection, now)
    if known is None or known.per_day is None:
        return None
    return DayUsage(used, known.per_day)


def left(connection: Connection, now: datetime) -> dict[str, int]:
    """Credits left in this `minute` and this `day`; a period without a known limit is absent."""
    known = plan(connection, now, _LEDGER_KEPT_FOR)
    if known is None:
        return {}
    periods = [_minute(now), _day(now)]
    rows = connection.execute(select(credit_ledger).where(_is_one_of(periods)))
    used = {row.period: row.used for row in rows}
    spent = used.get("day", 0) >= _NO_LIMIT
    limits = {"minute": known.per_minute, "day": 0 if spent else known.per_day}
    return {
        name: max(0, limit - used.get(name, 0))
        for name, limit in limits.items()
        if limit is not None
    }


def next_minute(now: datetime) -> datetime:
    """When the minute's credits are renewed."""
    return _minute(now)[1] + timedelta(minutes=1)


def _minute(now: datetime) -> Period:
    return "minute", now.astimezone(UTC).replace(second=0, microsecond=0)


def _day(now: datetime) -> Period:
    return "day", now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def _periods(now: datetime) -> list[Period]:
    # Always in the same order, so that two transactions never wait for each other.
    soon = now + _BORDER
    return sorted({_day(now), _day(soon), _minute(now), _minute(soon)})


def _left(period: Period, limits: Plan, used: int) -> int:
    limit = limits.per_minute if period[0] == "minute" else limits.per_day
    return (_NO_LIMIT if limit is None else limit) - used


def _lock(connection: Connection, periods: Sequence[Period]) -> dict[Period, int]:
    """What is used of each period, its row made where missing and locked until commit."""
    new = [{"period": name, "starts_at": starts_at} for name, starts_at in periods]
    connection.execute(insert(credit_ledger).values(new).on_conflict_do_nothing())
    rows = connection.execute(
        select(credit_ledger)
        .where(_is_one_of(periods))
        .order_by(credit_ledger.c.period, credit_ledger.c.starts_at)
        .with_for_update()
    )
    return {(row.period, row.starts_at.astimezone(UTC)): row.used for row in rows}


def _add(connection: Connection, periods: Sequence[Period], count: int) -> None:
    used = func.greatest(0, credit_ledger.c.used + count)
    connection.execute(update(credit_ledger).where(_is_one_of(periods)).values(used=used))


def _raise_to(connection: Connection, period: Period, used: int) -> None:
    new = insert(credit_ledger).values(period=period[0], starts_at=period[1], used=used)
    connection.execute(
        new.on_conflict_do_update(
            index_elements=[credit_ledger.c.period, credit_ledger.c.starts_at],
            set_={"used": func.greatest(credit_ledger.c.used, new.excluded.used)},
        )
    )


def _forget_old(connection: Connection, now: datetime) -> None:
    old = credit_ledger.c.starts_at < now - _LEDGER_KEPT_FOR
    connection.execute(delete(credit_ledger).where(old))


def _is_one_of(periods: Sequence[Period]) -> ColumnElement[bool]:
    return tuple_(credit_ledger.c.period, credit_ledger.c.starts_at).in_(periods)
