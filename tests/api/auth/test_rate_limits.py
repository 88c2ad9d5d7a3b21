"""The windows, in process and in a real Redis."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from limits import RateLimitItemPerMinute
from pydantic import SecretStr

from api.auth.rate_limits import RateLimits, TooManyRequests, Windows
from autoindex.settings import Settings
from tests.redis_server import redis_server, url

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def redis_url() -> Iterator[SecretStr]:
    with redis_server() as path:
        yield SecretStr(url(path))


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.server)])
def settings(request: pytest.FixtureRequest) -> Settings:
    shared = request.getfixturevalue("redis_url") if request.param == "redis" else None
    return Settings(requests_per_minute=5, tasks_per_minute=2, redis_url=shared)


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[RateLimits]:
    limits = RateLimits(settings)
    yield limits
    await limits.aclose()


@pytest.fixture
async def limits(settings: Settings) -> AsyncIterator[RateLimits]:
    async with opened(settings) as limits:
        yield limits


async def admitted(limits: RateLimits, user: str, *, times: int, starts_task: bool = False) -> int:
    count = 0
    for _ in range(times):
        try:
            await limits.admit(user, starts_task=starts_task)
            if starts_task:
                await limits.start(user)
        except TooManyRequests:
            continue
        count += 1
    return count


async def test_the_window_holds_so_many_and_no_more(limits: RateLimits) -> None:
    assert await admitted(limits, "window", times=8) == 5


async def test_starting_tasks_has_a_tighter_window(limits: RateLimits) -> None:
    assert await admitted(limits, "starter", times=8, starts_task=True) == 2
    # What was refused has not used up the window of the other requests.
    assert await admitted(limits, "starter", times=8) == 3


async def test_users_do_not_share_a_window(limits: RateLimits) -> None:
    await admitted(limits, "flood", times=50)
    assert await admitted(limits, "quiet", times=5) == 5


async def test_a_refusal_says_when_the_next_request_fits(limits: RateLimits) -> None:
    await admitted(limits, "patient", times=5)
    with pytest.raises(TooManyRequests) as refused:
        await limits.admit("patient", starts_task=False)
    assert refused.value.limit == 5
    assert 50 <= refused.value.retry_after_seconds <= 61


async def test_what_joins_a_task_is_admitted_when_no_other_may_start(limits: RateLimits) -> None:
    assert await admitted(limits, "joiner", times=2, starts_task=True) == 2
    for _ in range(5):
        assert (await limits.admit("joiner", starts_task=True)).remaining == 0
    with pytest.raises(TooManyRequests):
        await limits.admit("joiner", starts_task=True)
    # A flood of those leaves room for other requests, too.
    assert await admitted(limits, "joiner", times=8) == 3


@pytest.mark.server
async def test_facades_share_a_window_in_redis(redis_url: SecretStr) -> None:
    settings = Settings(requests_per_minute=5, redis_url=redis_url)
    async with opened(settings) as one, opened(settings) as other:
        assert await admitted(one, "shared", times=3) == 3
        assert await admitted(other, "shared", times=3) == 2


async def test_without_redis_requests_are_counted_in_process(tmp_path: Path) -> None:
    away = SecretStr(url(tmp_path / "nobody.sock"))
    async with opened(Settings(requests_per_minute=5, redis_url=away)) as limits:
        assert await admitted(limits, "alone", times=8) == 5


async def test_what_is_left_is_told(limits: RateLimits) -> None:
    left = []
    for _ in range(2):
        await limits.admit("careful", starts_task=True)
        left.append((await limits.start("careful")).remaining)
    assert left == [1, 0]
    read = await limits.admit("careful", starts_task=False)
    assert (read.limit, read.remaining) == (5, 2)
    assert 50 <= read.reset_seconds <= 61


async def test_many_users_leave_nothing_to_do_beside_their_requests() -> None:
    before = asyncio.all_tasks()
    async with opened(Settings()) as limits:
        for number in range(200):
            await limits.admit(f"user-{number}", starts_task=True)
        assert asyncio.all_tasks() == before


async def test_a_window_moves_and_a_quiet_user_is_forgotten() -> None:
    now = 0.0
    windows, item = Windows(lambda: now), RateLimitItemPerMinute(2)
    left = []
    for at in (0.0, 40.0, 59.9, 60.0, 61.0, 100.0):
        now = at
        try:
            left.append((await windows.hit(item, "ada")).reset_seconds)
        except TooManyRequests as refused:
            left.append(-refused.retry_after_seconds)
    # What was refused has used nothing up.
    assert left == [60, 20, -1, 40, -39, 20]
    now = 100.0 + 60.0
    assert len(windows) == 0
