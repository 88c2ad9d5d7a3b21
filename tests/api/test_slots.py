"""One user's flood waits for itself: others go before it."""

import asyncio

import pytest

from api.app import create_app
from api.prefect.rest import Connection
from api.prefect.runs import PrefectRunner
from api.slots import AT_ONCE, TooManyAtOnce, UserSlots
from autoindex.settings import Settings
from tests.api.answers import client
from tests.bounds import HANG_SECONDS

pytestmark = pytest.mark.anyio

FLOOD = 120


async def test_a_flood_of_one_user_does_not_hold_up_another(
    settings: Settings, prefect_url: str
) -> None:
    app = create_app(
        settings, PrefectRunner(Connection(url=prefect_url), answer_seconds=HANG_SECONDS)
    )
    async with app.router.lifespan_context(app), client(app) as ada, client(app, "bob") as bob:
        path = "/api/v1/background/tasks"
        flood = [asyncio.create_task(ada.get(path)) for _ in range(FLOOD)]
        await asyncio.sleep(0.1)
        before = sum(asked.done() for asked in flood)
        assert (await bob.get(path)).status_code == 200
        # At most those of hers that were being handled when he came, and as many again.
        assert sum(asked.done() for asked in flood) - before <= 3 * AT_ONCE
        answers = await asyncio.gather(*flood)
    statuses = {answer.status_code for answer in answers}
    assert 200 in statuses
    assert statuses <= {200, 429}
    assert all(
        answer.json()["type"].endswith(":too-many-at-once")
        for answer in answers
        if answer.status_code == 429
    )


async def test_slots_are_given_in_order_and_are_given_back() -> None:
    slots, order = UserSlots(HANG_SECONDS), []
    free = asyncio.Event()

    async def ask(number: int) -> None:
        async with slots.hold("ada"):
            order.append(number)
            await free.wait()

    asked = [asyncio.create_task(ask(number)) for number in range(3 * AT_ONCE)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert order == list(range(AT_ONCE))
    async with slots.hold("bob"):
        pass
    asked[AT_ONCE].cancel()
    free.set()
    await asyncio.gather(*asked, return_exceptions=True)
    assert order == [number for number in range(3 * AT_ONCE) if number != AT_ONCE]
    assert not slots._users


async def test_who_waits_for_too_long_is_told() -> None:
    slots = UserSlots(0.01)
    held = [slots.hold("ada") for _ in range(AT_ONCE)]
    for place in held:
        await place.__aenter__()
    with pytest.raises(TooManyAtOnce):
        async with slots.hold("ada"):
            pass
    for place in held:
        await place.__aexit__(None, None, None)
    async with slots.hold("ada"):
        pass
    assert not slots._users
