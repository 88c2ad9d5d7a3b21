"""What the cache keeps and evicts, and what becomes of it when Redis goes away."""

import logging
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from autoindex.settings import Settings
from autoindex.storage.cache import Cache, from_settings
from autoindex.storage.cache_keys import key
from tests.redis_server import redis_server, url


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def unretried(path: Path) -> Redis:
    return Redis(unix_socket_path=str(path), retry=Retry(NoBackoff(), 0))


@pytest.fixture(scope="module")
def redis_socket() -> Iterator[Path]:
    with redis_server() as path:
        yield path


@pytest.fixture
def cache(redis_socket: Path) -> Cache:
    with Redis(unix_socket_path=str(redis_socket)) as client:
        client.flushdb()
    return from_settings(Settings(redis_url=SecretStr(url(redis_socket))))


def test_a_value_comes_back_as_bytes(cache: Cache) -> None:
    name = key("levels", 1, strategy="momentum")
    assert cache.get(name) is None
    cache.set(name, b"\x00one", 60)
    cache.set(name, b"\x00two\xff", 60)
    assert cache.get(name) == b"\x00two\xff"


def test_a_value_expires(cache: Cache) -> None:
    cache.set("autoindex:levels:v1:a", b"value", 0.05)
    cache.set("autoindex:levels:v1:b", b"value", 0)
    time.sleep(0.1)
    assert cache.get("autoindex:levels:v1:a") is None
    assert cache.get("autoindex:levels:v1:b") is None


def test_only_what_is_superseded_is_evicted(cache: Cache) -> None:
    old = [key("levels", version, number=n) for version in (8, 9) for n in range(700)]
    kept = [key("levels", 10), key("levels", 11), key("level", 1), key("levels-b", 1)]
    for name in (*old, *kept):
        cache.set(name, b"value", 60)
    assert cache.evict_superseded("levels", 10) == len(old)
    assert cache.evict_superseded("levels", 10) == 0
    assert not any(cache.get(name) for name in old)
    assert all(cache.get(name) for name in kept)


def test_without_redis_every_value_is_missing_and_nothing_is_evicted() -> None:
    cache = from_settings(Settings())
    cache.set("autoindex:levels:v1:a", b"value", 60)
    assert cache.get("autoindex:levels:v1:a") is None
    assert cache.evict_superseded("levels", 2) == 0


def test_redis_down_is_a_miss_and_one_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with redis_server() as path:
        client, clock = unretried(path), Clock()
        cache = Cache(client, clock)
        cache.set("autoindex:levels:v1:a", b"value", 60)
        assert cache.get("autoindex:levels:v1:a") == b"value"
    with caplog.at_level(logging.INFO, "autoindex.storage.cache"):
        for _ in range(3):
            assert cache.get("autoindex:levels:v1:a") is None
            cache.set("autoindex:levels:v1:a", b"value", 60)
            assert cache.evict_superseded("levels", 2) == 0
            clock.now += 60
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    client.close()


def test_redis_that_comes_back_is_used_again(
    redis_socket: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    link, clock = tmp_path / "socket", Clock()
    client = unretried(link)
    cache = Cache(client, clock)
    with caplog.at_level(logging.INFO, "autoindex.storage.cache"):
        assert cache.get("autoindex:levels:v1:back") is None
        link.symlink_to(redis_socket)
        cache.set("autoindex:levels:v1:back", b"left alone for a while", 60)
        clock.now += 5
        cache.set("autoindex:levels:v1:back", b"value", 60)
    assert cache.get("autoindex:levels:v1:back") == b"value"
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    client.close()


def test_a_redis_that_hangs_is_waited_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = SecretStr(f"redis://127.0.0.1:{silent.getsockname()[1]}")
        cache = from_settings(Settings(redis_url=url))
        monkeypatch.setattr(cache, "_clock", Clock())
        assert [cache.get("autoindex:levels:v1:a") for _ in range(20)] == [None] * 20
        silent.setblocking(False)
        silent.accept()[0].close()
        with pytest.raises(BlockingIOError):
            silent.accept()
