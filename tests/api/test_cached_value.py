"""One value for many askers: read once, again in time, and not at all just after a failure."""

import asyncio
from math import inf

import pytest

from api.cached_value import CachedValue

pytestmark = pytest.mark.anyio


class Source:
    """Counts its reads, which wait while `gate` is closed; `clock` gives its seconds."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.reads = 0
        self.is_broken = False
        self.gate = asyncio.Event()
        self.gate.set()

    def clock(self) -> float:
        return self.now

    async def read(self) -> int:
        self.reads += 1
        value = self.reads
        await self.gate.wait()
        if self.is_broken:
            raise LookupError("away")
        return value


def cached(source: Source, pause_seconds: float = 0.0) -> CachedValue[int]:
    return CachedValue("it", source.read, pause_seconds=pause_seconds, clock=source.clock)


async def begun(source: Source, reads: int) -> None:
    while source.reads < reads:
        await asyncio.sleep(0)


async def test_it_is_read_again_once_it_is_older_than_asked_for() -> None:
    source = Source()
    value = cached(source)
    assert (value.value, value.age) == (None, inf)
    assert await value.get(inf) == 1
    source.now += 5
    assert await value.get(5) == 1
    assert await value.get(4) == 2
    assert (value.value, value.age) == (2, 0.0)
    await value.aclose()


async def test_many_wait_for_one_read_and_one_that_gives_up_does_not_cancel_it() -> None:
    source = Source()
    source.gate.clear()
    value = cached(source)
    asked = [asyncio.create_task(value.get(0)) for _ in range(20)]
    await begun(source, 1)
    asked[0].cancel()
    source.gate.set()
    assert await asyncio.gather(*asked[1:]) == [1] * 19


async def test_no_value_is_older_than_asked_for() -> None:
    source = Source()
    source.gate.clear()
    value = cached(source)
    early = asyncio.create_task(value.get(0))
    await begun(source, 1)
    source.now += 1
    late = asyncio.create_task(value.get(0))
    await asyncio.sleep(0)
    source.gate.set()
    assert (await early, await late) == (1, 2)


async def test_nobody_waits_for_a_read_ahead_of_time() -> None:
    source = Source()
    value = cached(source)
    await value.get(0)
    source.gate.clear()
    source.now += 2
    assert [await value.get(5, refresh_age=1) for _ in range(20)] == [1] * 20
    await begun(source, 2)
    source.gate.set()
    while value.value != 2:
        await asyncio.sleep(0)
    assert source.reads == 2


async def test_a_failure_is_raised_to_all_and_again_until_the_pause_is_over() -> None:
    source = Source()
    source.is_broken = True
    value = cached(source, pause_seconds=10)
    asked = await asyncio.gather(*(value.get(0) for _ in range(20)), return_exceptions=True)
    assert {type(one) for one in asked} == {LookupError}
    source.is_broken = False
    source.now += 9
    with pytest.raises(LookupError):
        await value.get(0)
    assert source.reads == 1
    assert value.has_failed_within(10)
    source.now += 1
    assert await value.get(0) == 2
    assert not value.has_failed_within(inf)


async def test_closing_stops_a_read() -> None:
    source = Source()
    source.gate.clear()
    value = cached(source)
    asked = asyncio.create_task(value.get(0))
    await begun(source, 1)
    await value.aclose()
    with pytest.raises(asyncio.CancelledError):
        await asked
