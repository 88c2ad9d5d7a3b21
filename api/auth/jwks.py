"""An issuer's published keys (JWKS): kept for minutes, fetched when a token names a new one."""

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from api.cached_value import CachedValue
from autoindex.errors import PartUnavailable

ALGORITHMS: Final = ("RS256", "ES256")
# A key that the issuer has withdrawn is refused after this long at the latest,
_FRESH_SECONDS: Final = 300.0
# so keys in use are fetched again a little earlier, in the background.
_REFRESH_SECONDS: Final = 240.0
# While the issuer does not answer, its last keys are good for so long.
_KEPT_SECONDS: Final = 3_600.0
# For so long after a failure, a request whose key is known does not wait for the issuer.
_AWAY_SECONDS: Final = 60.0
# Without a pause between two fetches, tokens with random key ids would flood the issuer.
_PAUSE_SECONDS: Final = 10.0
_ANSWER_SECONDS: Final = 3.0
_LARGEST_BYTES: Final = 262_144
_SHORTEST_RSA_BITS: Final = 2_048

Keys = Mapping[str, jwt.PyJWK]


class KeySet:
    """The keys behind a URL, by id; `clock` gives seconds."""

    def __init__(self, url: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._url = url
        self._http = httpx.AsyncClient(timeout=_ANSWER_SECONDS)
        self._keys = CachedValue(
            "the issuer's key set", self._fetch, pause_seconds=_PAUSE_SECONDS, clock=clock
        )

    async def find(self, key_id: str) -> jwt.PyJWK | None:
        """The key of this id; raises `PartUnavailable` where the issuer has been away long."""
        is_away = self._keys.has_failed_within(_AWAY_SECONDS)
        keys = await self._read(_KEPT_SECONDS if is_away else _FRESH_SECONDS)
        if key_id not in keys:
            keys = await self._read(_PAUSE_SECONDS)
        return keys.get(key_id)

    async def aclose(self) -> None:
        """Close connections."""
        await self._keys.aclose()
        await self._http.aclose()

    async def _read(self, max_age: float) -> Keys:
        """The keys; older ones where the issuer does not answer."""
        try:
            return await self._keys.get(max_age, _REFRESH_SECONDS)
        except PartUnavailable:
            if self._keys.value is None or self._keys.age > _KEPT_SECONDS:
                raise
            return self._keys.value

    async def _fetch(self) -> Keys:
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                return _usable(json.loads(await self._content()))
        except (httpx.HTTPError, TimeoutError, ValueError, RecursionError) as error:
            raise PartUnavailable("The issuer's key set") from error

    async def _content(self) -> bytes:
        async with self._http.stream("GET", self._url) as answer:
            answer.raise_for_status()
            content = bytearray()
            async for part in answer.aiter_bytes():
                content += part
                if len(content) > _LARGEST_BYTES:
                    raise ValueError(f"a key set of more than {_LARGEST_BYTES} bytes")
        return bytes(content)


def _usable(published: Any) -> Keys:
    """The keys we can use; an empty set withdraws all. Raises `ValueError` for no set at all."""
    if not isinstance(published, dict) or not isinstance(published.get("keys"), list):
        raise ValueError("no key set")  # noqa: TRY004 - it is the issuer's value that is wrong
    keys = [key for one in published["keys"] if (key := _key(one)) is not None]
    return {key.key_id: key for key in keys if key.key_id and _is_usable(key)}


def _key(published: Any) -> jwt.PyJWK | None:
    """A key, or None for one of an unknown kind."""
    try:
        return jwt.PyJWK.from_dict(published)
    except (jwt.PyJWTError, AttributeError, TypeError, ValueError):
        return None


def _is_usable(key: jwt.PyJWK) -> bool:
    """Whether a key is for signatures, of a kind that we take, and long enough."""
    public: Any = key.key
    long_enough = not isinstance(public, RSAPublicKey) or public.key_size >= _SHORTEST_RSA_BITS
    return key.algorithm_name in ALGORITHMS and key.public_key_use in (None, "sig") and long_enough
