"""Questions joined into few reads, and no answer older than its question."""

import asyncio
from collections.abc import Sequence

import pytest

from api.tasks.deadline import Deadline
from api.tasks.loader import BatchLoader
from api.tasks.runner import Overload
from tests.bounds import HANG_SECONDS

pytestmark = pytest.mark.anyio


class Source:
    """Answers when it is let, with what is true then."""

    def __init__(self) -> None:
        self.value = 0
        self.reads: list[Sequence[str]] = []
        self.gate = asyncio.Event()
        self.asked = asyncio.Event()

    async def read(self, keys: Sequence[str]) -> dict[str, int]:
        self.reads.append(keys)
        self.asked.set()
        seen = self.value
        await self.gate.wait()
        if "bad" in keys:
            raise LookupError("bad")
        return {key: seen for key in keys if key != "unknown"}


async def test_many_questions_are_few_reads() -> None:
    source = Source()
    batches = BatchLoader(source.read, Deadline(HANG_SECONDS))
    asked = [asyncio.create_task(batches.get(f"k{n % 20}")) for n in range(200)]
    await asyncio.sleep(0)
    source.gate.set()
    assert await asyncio.gather(*asked) == [0] * 200
    assert len(source.reads) == 3
    assert await batches.get("unknown") is None


async def test_no_answer_is_older_than_its_question() -> None:
    source = Source()
    batches = BatchLoader(source.read, Deadline(HANG_SECONDS))
    early = [asyncio.create_task(batches.get("k")) for _ in range(1)]
    await source.asked.wait()
    source.value = 1
    late = asyncio.create_task(batches.get("k"))
    await asyncio.sleep(0.01)
    source.gate.set()
    assert await asyncio.gather(*early) == [0]
    assert await late == 1


async def test_an_error_is_raised_to_all_who_asked_and_to_nobody_later() -> None:
    source = Source()
    source.gate.set()
    batches = BatchLoader(source.read, Deadline(HANG_SECONDS))
    with pytest.raises(LookupError):
        await batches.get("bad")
    assert await batches.get("good") == 0


async def test_one_who_gives_up_does_not_keep_the_answer_from_others() -> None:
    source = Source()
    batches = BatchLoader(source.read, Deadline(HANG_SECONDS))
    first, second = (asyncio.create_task(batches.get("k")) for _ in range(2))
    await source.asked.wait()
    first.cancel()
    source.gate.set()
    assert await second == 0


async def test_a_question_is_dropped_when_its_last_asker_goes() -> None:
    source = Source()
    batches = BatchLoader(source.read, Deadline(HANG_SECONDS), most_in_one=1, most_at_once=1)
    held = asyncio.create_task(batches.get("held"))
    waiting = [asyncio.create_task(batches.get(key)) for key in ("left", "kept", "left", "kept")]
    await asyncio.sleep(0)
    for one in waiting[:3]:
        one.cancel()
    await asyncio.sleep(0)
    source.gate.set()
    assert await held == 0
    assert await waiting[3] == 0
    assert source.reads == [["held"], ["kept"]]


async def test_a_read_that_nobody_waits_for_gives_its_place_to_the_next() -> None:
    source = Source()
    batches = BatchLoader(source.read, Deadline(HANG_SECONDS), most_in_one=1, most_at_once=1)
    left = [asyncio.create_task(batches.get("left")) for _ in range(2)]
    kept = asyncio.create_task(batches.get("kept"))
    while not source.reads:
        await asyncio.sleep(0)
    for one in left:
        one.cancel()
    for _ in range(100):
        await asyncio.sleep(0)
    assert source.reads == [["left"], ["kept"]]
    source.gate.set()
    assert await kept == 0


async def test_a_question_whose_turn_comes_too_late_is_not_read() -> None:
    source, deadline = Source(), Deadline(HANG_SECONDS)
    batches = BatchLoader(source.read, deadline, most_in_one=1, most_at_once=1)
    held, late = (asyncio.create_task(batches.get(key)) for key in ("held", "late"))
    while not source.reads:
        await asyncio.sleep(0)
    deadline.seconds = 0.0  # as if so long had passed
    source.gate.set()
    with pytest.raises(Overload):
        await late
    deadline.seconds = HANG_SECONDS
    assert await held == 0
    assert await batches.get("again") == 0
    assert source.reads == [["held"], ["again"]]
