"""Pages kept in the facade's own process: bounded, the least used first to go."""

import pytest

from api.routes.page_cache import PageCache
from autoindex.settings import Settings

pytestmark = pytest.mark.anyio


async def kept(cache: PageCache, names: str) -> list[str]:
    return [name for name in names if await cache.get(name)]


async def test_memory_is_bounded_and_the_least_used_gives_way() -> None:
    cache = PageCache(Settings(), largest_bytes=30)
    for name in "abc":
        await cache.set(name, b"0123456789")
    assert await cache.get("a") == b"0123456789"
    await cache.set("d", b"0123456789")
    assert await kept(cache, "abcd") == ["a", "c", "d"]
    await cache.set("e", b"x" * 30)
    assert await kept(cache, "abcde") == ["e"]


async def test_what_is_larger_than_the_cache_is_not_kept() -> None:
    cache = PageCache(Settings(), largest_bytes=30)
    await cache.set("a", b"0123456789")
    await cache.set("b", b"x" * 31)
    assert await kept(cache, "ab") == ["a"]
