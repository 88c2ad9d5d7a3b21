"""An issuer's published keys (JWKS): kept for minutes, asked for when a token names a new one."""

import asyncio
import json
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from autoindex.errors import PartUnavailable

log = logging.getLogger("autoindex.api")

ALGORITHMS: Final = ("RS256", "ES256")
# Keys in use are asked for again so early that nobody has to wait for them,
_DUE_SECONDS: Final = 240.0
# for a key that the issuer has withdrawn is refused after this long at the latest,
_FRESH_SECONDS: Final = 300.0
# unless the issuer does not answer: then what it said last is good for so long.
_KEPT_SECONDS: Final = 3_600.0
# For so long it is taken to be away after a question that it has not answered.
_AWAY_SECONDS: Final = 60.0
_ANSWER_SECONDS: Final = 3.0
_LARGEST_BYTES: Final = 262_144
_SHORTEST_RSA_BITS: Final = 2_048

Keys = Mapping[str, jwt.PyJWK]


class KeySet:
    """The keys behind a URL, by id. One question at a time; `clock` gives seconds.

    While the issuer is away, nobody whose key is known waits for the questions that go on; where it
    may be there, a key that has not been asked about for long is asked about first.
    """

    def __init__(
        self,
        url: str,
        *,
        cooldown_seconds: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = url
        # Without a pause between two questions, tokens with random key ids would flood the issuer.
        self._cooldown_seconds = cooldown_seconds
        self._clock = clock
        self._http = httpx.AsyncClient(timeout=_ANSWER_SECONDS)
        self._lock = asyncio.Lock()
        self._keys: Keys = {}
        self._read_at: float | None = None
        self._asked_at: float | None = None
        # What kept the last question from an answer.
        self._trouble: Exception | None = None
        self._asking: asyncio.Task[None] | None = None

    async def find(self, key_id: str) -> jwt.PyJWK | None:
        """The key of this id; raises `PartUnavailable` where the issuer has been away long."""
        age = self._age(self._read_at)
        good_for = _KEPT_SECONDS if self._is_away else _FRESH_SECONDS
        if key_id not in self._keys or age > good_for:
            await self._ask_again()
        elif age > _DUE_SECONDS:
            self._ask_aside()
        return self._keys.get(key_id)

    async def aclose(self) -> None:
        """Close connections."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait({self._asking})
        await self._http.aclose()

    @property
    def _is_away(self) -> bool:
        return self._trouble is not None and self._age(self._asked_at) <= _AWAY_SECONDS

    def _ask_aside(self) -> None:
        """Ask in the background, unless somebody does or has just done so."""
        idle = self._asking is None or self._asking.done()
        if idle and self._age(self._asked_at) >= self._cooldown_seconds:
            self._asking = asyncio.create_task(self._ask_in_turn())

    async def _ask_again(self) -> None:
        """Ask, unless somebody has just done so; raises where there is nothing to go on with."""
        await self._ask_in_turn()
        if self._age(self._read_at) > _KEPT_SECONDS:
            raise PartUnavailable("The issuer's key set") from self._trouble

    async def _ask_in_turn(self) -> None:
        came_at = self._clock()
        async with self._lock:
            asked_since = self._asked_at is not None and self._asked_at >= came_at
            if not asked_since and self._age(self._asked_at) >= self._cooldown_seconds:
                await self._ask()

    async def _ask(self) -> None:
        self._asked_at = self._clock()
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                self._keys = _usable(json.loads(await self._content()))
        except (httpx.HTTPError, TimeoutError, ValueError, RecursionError) as problem:
            if self._trouble is None:
                log.warning("the issuer's key set can't be read: %s", str(problem) or "it hangs")
            self._trouble = problem
        else:
            self._trouble, self._read_at = None, self._clock()

    async def _content(self) -> bytes:
        async with self._http.stream("GET", self._url) as answer:
            answer.raise_for_status()
            content = bytearray()
            async for part in answer.aiter_bytes():
                content += part
                if len(content) > _LARGEST_BYTES:
                    raise ValueError(f"a key set of more than {_LARGEST_BYTES} bytes")
        return bytes(content)

    def _age(self, instant: float | None) -> float:
        return float("inf") if instant is None else self._clock() - instant


def _usable(published: Any) -> Keys:
    """The keys we can use; an empty set withdraws all. Raises `ValueError` for no set at all."""
    if not isinstance(published, dict) or not isinstance(published.get("keys"), list):
        raise ValueError("no key set")  # noqa: TRY004 - it is the issuer's value that is wrong
    keys = [key for one in published["keys"] if (key := _key(one)) is not None]
    return {key.key_id: key for key in keys if key.key_id and _is_usable(key)}


def _key(published: Any) -> jwt.PyJWK | None:
    """A key, or None for one of a kind that nobody here knows."""
    try:
        return jwt.PyJWK.from_dict(published)
    except (jwt.PyJWTError, AttributeError, TypeError, ValueError):
        return None


def _is_usable(key: jwt.PyJWK) -> bool:
    """Whether a key is for signatures, of a kind that we take, and long enough."""
    public: Any = key.key
    long_enough = not isinstance(public, RSAPublicKey) or public.key_size >= _SHORTEST_RSA_BITS
    return key.algorithm_name in ALGORITHMS and key.public_key_use in (None, "sig") and long_enough
