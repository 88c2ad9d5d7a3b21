"""What a change makes of an asset's memberships."""

from dataclasses import replace
from datetime import date, timedelta

from autoindex.storage.universe.memberships import Span, Timeline
from autoindex.storage.universe.published_past import PublishedPast
from autoindex.storage.universe.universe_row import Role, UniverseRow

_DAY = timedelta(days=1)


def sentence(symbol: str, spans: Timeline) -> str:
    """The sentence on an asset's memberships, for the record of changes."""
    return f"{symbol}: {', then '.join(map(str, spans)) or 'no member'}"


def up_to(spans: Timeline, day: date) -> Timeline:
    """What is left if it ends with a day; nothing where that is `date.min`."""
    if day == date.min:
        return ()
    return tuple(replace(one, last=min(one.last, day)) for one in spans if one.first <= day)


def first_difference(one: Timeline, other: Timeline) -> date | None:
    """The first day on which they differ."""
    ends = {span.last + _DAY for span in (*one, *other) if span.last < date.max}
    days = sorted(ends | {span.first for span in (*one, *other)})
    return next((day for day in days if _role(one, day) != _role(other, day)), None)


def _role(spans: Timeline, day: date) -> Role | None:
    return next((span.role for span in spans if span.first <= day <= span.last), None)


def current(spans: Timeline, past: PublishedPast) -> Span | None:
    """The first membership that goes on after the published past, or begins there."""
    return next((one for one in spans if one.last > past.last), None)


def wanted(spans: Timeline, row: UniverseRow, past: PublishedPast) -> Timeline:
    """What a row says; a row without dates says them as of the published past."""
    if row.member_from is not None or row.member_to is not None:
        return _dated(spans, row, past)
    return active(spans, row.role, past) if row.active else up_to(spans, past.last)


def active(spans: Timeline, role: Role, past: PublishedPast) -> Timeline:
    """A member in this role from the session after the published past on, as far as it is not.

    A membership that begins or ends later keeps its dates.
    """
    now = current(spans, past)
    if now is None:
        return _continued(spans, Span(role, past.following, date.max), past)
    if now.role == role:
        return spans
    new = Span(role, max(now.first, past.following), now.last)
    later = [one for one in spans if one.first > now.last]
    return (*_continued(_before(spans, new, past), new, past), *later)


def reopened(spans: Timeline, past: PublishedPast) -> Timeline:
    """A member without an end, in its newest role."""
    *before, newest = active(spans, spans[-1].role if spans else "constituent", past)
    return (*before, replace(newest, last=date.max))


def _dated(spans: Timeline, row: UniverseRow, past: PublishedPast) -> Timeline:
    """A member from the row's first day to its last one; earlier memberships stay.

    The row is what is said now of the membership in the same role at that time.
    """
    known = [one.first for one in spans if one.role == row.role]
    first = row.member_from or (known[-1] if known else past.following)
    new = Span(row.role, first, row.member_to or date.max)
    others = tuple(one for one in spans if one.role != new.role or one.last < new.first)
    return (*_before(others, new, past), new)


def _before(spans: Timeline, new: Span, past: PublishedPast) -> Timeline:
    """What is left before `new`; a membership that ends now ends with a session."""
    if new.first == date.min:
        return ()
    return up_to(spans, past.last if new.first == past.following else new.first - _DAY)


def _continued(spans: Timeline, new: Span, past: PublishedPast) -> Timeline:
    """`new` after the others; it continues one of its role that has just ended."""
    ended = Span(new.role, date.min, past.last)
    if spans and new.first == past.following and replace(spans[-1], first=date.min) == ended:
        return (*spans[:-1], replace(spans[-1], last=new.last))
    return (*spans, new)
