"""How long an answer may take, and when it may take longer."""

import asyncio

import pytest

from api.tasks import deadline
from api.tasks.deadline import Deadline
from tests.bounds import HANG_SECONDS

pytestmark = pytest.mark.anyio


async def after(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "answer"


async def test_what_is_late_is_given_up() -> None:
    with pytest.raises(TimeoutError):
        await Deadline(0.05).answer(after(30))
    assert await Deadline(30).answer(after(0)) == "answer"


async def test_what_does_not_end_when_it_is_told_to_is_not_waited_for() -> None:
    told, back = asyncio.Event(), asyncio.Event()

    async def stubborn() -> None:
        try:
            await back.wait()
        except asyncio.CancelledError:
            told.set()
            await back.wait()

    hang = asyncio.get_running_loop().call_later(HANG_SECONDS, back.set)
    with pytest.raises(TimeoutError):
        await Deadline(0.05).answer(stubborn())
    assert not back.is_set()
    await told.wait()
    hang.cancel()
    back.set()


async def test_what_waits_for_its_turn_may_take_longer_but_not_forever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked_at = asyncio.Event()

    async def after_a_look() -> str:
        await looked_at.wait()
        return "answer"

    def is_busy() -> bool:
        looked_at.set()
        return True

    assert await Deadline(0.05).answer(after_a_look(), is_busy) == "answer"
    monkeypatch.setattr(deadline, "_LOOK_SECONDS", 0.01)
    with pytest.raises(TimeoutError):
        await Deadline(0.05).answer(after(30), is_busy)


async def test_what_waits_for_somebody_who_falls_silent_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(deadline, "_LOOK_SECONDS", 0.01)
    looks = iter([True, True, False])
    with pytest.raises(TimeoutError):
        await Deadline(0.05).answer(after(30), lambda: next(looks))
