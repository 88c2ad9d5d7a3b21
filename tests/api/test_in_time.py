"""How long an answer may take, and when it may take longer."""

import asyncio

import pytest

from api import in_time
from api.in_time import InTime

pytestmark = pytest.mark.anyio


async def after(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "answer"


async def test_what_is_late_is_given_up() -> None:
    with pytest.raises(TimeoutError):
        await InTime[str](0.05).answer(after(30))
    assert await InTime[str](30).answer(after(0)) == "answer"


async def test_what_waits_for_its_turn_may_take_longer_but_not_forever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert await InTime[str](0.05).answer(after(0.2), lambda: True) == "answer"
    monkeypatch.setattr(in_time, "_LOOK_SECONDS", 0.01)
    monkeypatch.setattr(in_time, "_BUSY_SECONDS", 0.05)
    with pytest.raises(TimeoutError):
        await InTime[str](0.05).answer(after(30), lambda: True)


async def test_what_waits_for_somebody_who_falls_silent_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(in_time, "_LOOK_SECONDS", 0.01)
    looks = iter([True, True, False])
    with pytest.raises(TimeoutError):
        await InTime[str](0.05).answer(after(30), lambda: next(looks))
