"""Tokens that are accepted, and the many that are not."""

import asyncio
import base64
import hmac
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydantic import SecretStr

from api.auth import jwks
from api.auth.identity import Identity, PublishedKeys, TokenRefused
from api.auth.jwks import KeySet
from autoindex.errors import ConfigurationError, PartUnavailable
from autoindex.settings import Settings
from tests.bounds import HANG_SECONDS

pytestmark = pytest.mark.anyio
SECRET = "correct-horse-battery-staple-and-more"


def claims(**changed: Any) -> dict[str, Any]:
    usual = {
        "sub": "ada",
        "scope": "tasks:read tasks:run",
        "iss": "autoindex",
        "aud": "autoindex",
        "exp": time.time() + 60,
    }
    return {name: value for name, value in (usual | changed).items() if value is not None}


def signed(key: Any = SECRET, algorithm: str = "HS256", **changed: Any) -> str:
    headers = {"kid": changed.pop("kid")} if "kid" in changed else None
    return jwt.encode(claims(**changed), key, algorithm=algorithm, headers=headers)


@pytest.fixture
def identity() -> Identity:
    return Identity(Settings(jwt_secret=SecretStr(SECRET)))


async def refusal(identity: Identity, authorization: str | None) -> str:
    with pytest.raises(TokenRefused) as refused:
        await identity.check(authorization)
    return str(refused.value)


async def test_a_good_token_names_the_user_and_the_scopes(identity: Identity) -> None:
    user = await identity.check(f"Bearer {signed()}")
    assert user.name == "ada"
    assert user.scopes == {"tasks:read", "tasks:run"}


async def test_scopes_may_be_a_list(identity: Identity) -> None:
    user = await identity.check(f"bearer {signed(scope=['tasks:admin', 7])}")
    assert user.scopes == {"tasks:admin"}


@pytest.mark.parametrize("scope", [None, 7, {"tasks:admin": True}, ""])
async def test_other_scopes_are_none(identity: Identity, scope: object) -> None:
    assert (await identity.check(f"Bearer {signed(scope=scope)}")).scopes == frozenset()


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"aud": "other"}, "audience"),
        ({"iss": "other"}, "issuer"),
        ({"exp": None}, "claims"),
        ({"aud": None}, "claims"),
        ({"iss": None}, "claims"),
        ({"sub": None}, "claims"),
        ({"sub": ""}, "subject"),
        ({"sub": "a\nb"}, "subject"),
        ({"sub": "a\0b"}, "subject"),
        ({"sub": "x" * 201}, "subject"),
    ],
)
async def test_what_a_token_says_is_checked(
    identity: Identity, changed: dict[str, Any], reason: str
) -> None:
    assert reason in await refusal(identity, f"Bearer {signed(**changed)}")


async def test_a_token_counts_only_in_its_time(identity: Identity) -> None:
    assert "expired" in await refusal(identity, f"Bearer {signed(exp=time.time() - 120)}")
    assert "not valid yet" in await refusal(identity, f"Bearer {signed(nbf=time.time() + 120)}")


async def test_a_token_that_was_good_expires(
    identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.auth.identity._LEEWAY_SECONDS", 0)
    expires_at = int(time.time()) + 2
    token = f"Bearer {signed(exp=expires_at)}"
    refused = ""
    while not refused and time.time() < expires_at + HANG_SECONDS:
        try:
            await identity.check(token)
        except TokenRefused as error:
            refused = str(error)
    assert "expired" in refused
    assert time.time() >= expires_at


async def test_clocks_may_differ_a_little(identity: Identity) -> None:
    assert await identity.check(f"Bearer {signed(exp=time.time() - 10)}")
    assert await identity.check(f"Bearer {signed(nbf=time.time() + 10)}")


@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", "Bearer ", "Basic YTpi", "Bearer x", "Bearer a.b.c", "Bearer \xff.a.b"],
)
async def test_what_is_no_token_is_refused(identity: Identity, authorization: str | None) -> None:
    await refusal(identity, authorization)


async def test_another_secret_is_refused(identity: Identity) -> None:
    assert "verified" in await refusal(identity, f"Bearer {signed(SECRET + 'x')}")


async def test_no_signature_is_refused(identity: Identity) -> None:
    unsigned = jwt.encode(claims(), None, algorithm="none")
    assert "verified" in await refusal(identity, f"Bearer {unsigned}")
    header, body, _ = signed().split(".")
    assert "verified" in await refusal(identity, f"Bearer {header}.{body}.")


async def test_another_hash_is_refused(identity: Identity) -> None:
    longer = SECRET + "-of-them-for-a-hash-that-is-twice-as-long"
    both = Identity(Settings(jwt_secret=SecretStr(longer)))
    assert "verified" in await refusal(both, f"Bearer {signed(longer, 'HS512')}")


async def test_a_huge_token_is_refused_unread(identity: Identity) -> None:
    assert "longer" in await refusal(identity, f"Bearer {signed(padding='x' * 10_000)}")


class Issuer:
    """A key set over HTTP whose keys change, and whose requests are counted."""

    def __init__(self) -> None:
        self.keys: list[dict[str, Any]] = []
        self.asked = 0
        self.broken = False
        self.answers = Event()
        self.answers.set()
        self.body: bytes | None = None
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked += 1
                issuer.answers.wait()
                body = issuer.body
                if body is None:
                    body = json.dumps({"keys": issuer.keys}).encode()
                self.send_response(503 if issuer.broken else 200)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/keys"
        Thread(target=self.server.serve_forever, daemon=True).start()

    def publish(self, kid: str, key: Any) -> None:
        if isinstance(key, ec.EllipticCurvePrivateKey):
            published = jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
            self.keys.append({**published, "kid": kid, "alg": "ES256", "use": "sig"})
        else:
            published = jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
            self.keys.append({**published, "kid": kid, "alg": "RS256", "use": "sig"})


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    made = Issuer()
    yield made
    made.answers.set()
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture(scope="module")
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def of(issuer: Issuer) -> Identity:
    return Identity(Settings(jwt_jwks_url=issuer.url))


@pytest.mark.parametrize(
    ("algorithm", "make"),
    [
        ("RS256", lambda: rsa.generate_private_key(65537, 2048)),
        ("ES256", lambda: ec.generate_private_key(ec.SECP256R1())),
    ],
)
async def test_an_issuers_keys_are_accepted_and_cached(
    issuer: Issuer, algorithm: str, make: Callable[[], Any]
) -> None:
    key = make()
    issuer.publish("one", key)
    identity = of(issuer)
    for _ in range(3):
        assert (await identity.check(f"Bearer {signed(key, algorithm, kid='one')}")).name == "ada"
    assert issuer.asked == 1


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def asked(issuer: Issuer, questions: int) -> None:
    """Wait until the issuer has heard so many: some are asked in the background."""
    async with asyncio.timeout(HANG_SECONDS):
        while issuer.asked < questions:
            await asyncio.sleep(0.01)
    assert issuer.asked == questions


@pytest.fixture
async def clocked(
    issuer: Issuer, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Identity]:
    """An identity whose key set goes by the test's clock, and gives the issuer time."""
    monkeypatch.setattr(jwks, "_ANSWER_SECONDS", 2 * HANG_SECONDS)
    made = of(issuer)
    made._keys = PublishedKeys(KeySet(issuer.url, clock=clock))
    yield made
    await made.aclose()


async def test_a_new_key_is_fetched_when_a_token_names_it(
    issuer: Issuer, clocked: Identity, clock: Clock, rsa_key: rsa.RSAPrivateKey
) -> None:
    issuer.publish("one", rsa_key)
    await clocked.check(f"Bearer {signed(rsa_key, 'RS256', kid='one')}")
    other = rsa.generate_private_key(65537, 2048)
    issuer.publish("two", other)
    clock.now += 11
    assert await clocked.check(f"Bearer {signed(other, 'RS256', kid='two')}")
    assert issuer.asked == 2


async def in_use(issuer: Issuer, identity: Identity, key: rsa.RSAPrivateKey) -> str:
    """An authorization that outlasts these tests, whose key the issuer has just given."""
    issuer.publish("one", key)
    token = f"Bearer {signed(key, 'RS256', kid='one', exp=time.time() + 9_999)}"
    assert await identity.check(token)
    return token


async def test_a_withdrawn_key_is_refused_within_minutes(
    issuer: Issuer, clocked: Identity, clock: Clock, rsa_key: rsa.RSAPrivateKey
) -> None:
    token = await in_use(issuer, clocked, rsa_key)
    issuer.keys.clear()
    clock.now += 301
    assert "not among" in await refusal(clocked, token)


async def test_while_the_issuer_is_away_its_keys_are_good_for_an_hour(
    issuer: Issuer, clocked: Identity, clock: Clock, rsa_key: rsa.RSAPrivateKey
) -> None:
    issuer.publish("one", rsa_key)
    token = f"Bearer {signed(rsa_key, 'RS256', kid='one')}"
    assert await clocked.check(token)
    issuer.broken = True
    for _ in range(5):
        clock.now += 600
        assert await clocked.check(token)
    assert issuer.asked == 6
    clock.now += 601
    with pytest.raises(PartUnavailable, match="key set"):
        await clocked.check(token)
    issuer.broken = False
    clock.now += 11
    assert await clocked.check(token)


async def test_nobody_waits_for_an_issuer_that_hangs_whose_keys_are_good(
    issuer: Issuer, clocked: Identity, clock: Clock, rsa_key: rsa.RSAPrivateKey
) -> None:
    token = await in_use(issuer, clocked, rsa_key)
    issuer.broken = True
    clock.now += 301
    assert await clocked.check(token)
    issuer.answers.clear()
    for _ in range(3):
        clock.now += 11
        async with asyncio.timeout(HANG_SECONDS):
            await asyncio.gather(*(clocked.check(token) for _ in range(50)))
        await asked(issuer, 3)
    issuer.broken = False
    issuer.keys.clear()
    issuer.answers.set()

    async def withdrawn() -> None:
        while await clocked.check(token):
            clock.now += 5
            await asyncio.sleep(0.05)

    with pytest.raises(TokenRefused, match="not among"):
        await asyncio.wait_for(withdrawn(), HANG_SECONDS)


async def test_an_issuer_that_was_away_once_is_not_taken_to_be_so_for_long(
    issuer: Issuer, clocked: Identity, clock: Clock, rsa_key: rsa.RSAPrivateKey
) -> None:
    token = await in_use(issuer, clocked, rsa_key)
    issuer.broken = True
    clock.now += 301
    assert await clocked.check(token)
    issuer.broken = False
    issuer.keys.clear()
    clock.now += 61
    assert "not among" in await refusal(clocked, token)


async def test_keys_in_use_are_asked_for_before_anybody_has_to_wait(
    issuer: Issuer, clocked: Identity, clock: Clock, rsa_key: rsa.RSAPrivateKey
) -> None:
    token = await in_use(issuer, clocked, rsa_key)
    issuer.answers.clear()
    clock.now += 241
    async with asyncio.timeout(HANG_SECONDS):
        await asyncio.gather(*(clocked.check(token) for _ in range(50)))
    await asked(issuer, 2)


async def test_many_requests_at_once_ask_the_issuer_once(
    issuer: Issuer, clocked: Identity, clock: Clock, rsa_key: rsa.RSAPrivateKey
) -> None:
    issuer.publish("one", rsa_key)
    token = f"Bearer {signed(rsa_key, 'RS256', kid='one')}"
    await asyncio.gather(*(clocked.check(token) for _ in range(50)))
    clock.now += 301
    await asyncio.gather(*(clocked.check(token) for _ in range(50)))
    assert issuer.asked == 2


@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
@pytest.mark.parametrize(
    ("bits", "changed"),
    [(1_024, {}), (2_048, {"use": "enc"}), (2_048, {"alg": "RS512"}), (2_048, {"kid": ""})],
)
async def test_keys_that_are_not_for_us_are_not_used(
    issuer: Issuer, bits: int, changed: dict[str, str]
) -> None:
    key = rsa.generate_private_key(65537, bits)
    issuer.publish("one", key)
    issuer.keys[0] |= changed
    assert "key" in await refusal(of(issuer), f"Bearer {signed(key, 'RS256', kid='one')}")


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"[" * 99_999, b" " * 300_000])
async def test_what_is_no_key_set_is_the_issuers_fault(
    issuer: Issuer, rsa_key: rsa.RSAPrivateKey, body: bytes
) -> None:
    issuer.body = body
    with pytest.raises(PartUnavailable, match="key set"):
        await of(issuer).check(f"Bearer {signed(rsa_key, 'RS256', kid='one')}")


async def test_a_shared_secret_in_the_key_set_signs_nothing(issuer: Issuer) -> None:
    published = base64.urlsafe_b64encode(SECRET.encode()).rstrip(b"=").decode()
    issuer.keys.append({"kty": "oct", "k": published, "kid": "one", "alg": "HS256"})
    await refusal(of(issuer), f"Bearer {signed(kid='one')}")
    assert issuer.asked == 0


@pytest.mark.parametrize(
    "url",
    ["http://issuer.example/keys", "file:///etc/keys", "issuer.example", "https://", "ftp://x"],
)
def test_a_key_set_that_others_could_answer_for_does_not_start(url: str) -> None:
    with pytest.raises(ConfigurationError, match="https"):
        Identity(Settings(jwt_jwks_url=url))


async def test_random_key_ids_do_not_flood_the_issuer(
    issuer: Issuer, rsa_key: rsa.RSAPrivateKey
) -> None:
    issuer.publish("one", rsa_key)
    identity = of(issuer)
    for number in range(20):
        await refusal(identity, f"Bearer {signed(rsa_key, 'RS256', kid=str(number))}")
    assert issuer.asked <= 2


async def test_the_public_key_is_no_shared_secret(
    issuer: Issuer, rsa_key: rsa.RSAPrivateKey
) -> None:
    issuer.publish("one", rsa_key)
    public = rsa_key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    header = {"alg": "HS256", "typ": "JWT", "kid": "one"}
    head, body = (
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=")
        for part in (header, claims())
    )
    digest = hmac.digest(public, head + b"." + body, "sha256")
    signature = base64.urlsafe_b64encode(digest).rstrip(b"=")
    forged = b".".join((head, body, signature)).decode()
    assert "another kind" in await refusal(of(issuer), f"Bearer {forged}")
    assert issuer.asked == 0


async def test_an_issuer_that_is_away_is_not_the_callers_fault(
    issuer: Issuer, rsa_key: rsa.RSAPrivateKey
) -> None:
    identity = of(issuer)
    issuer.server.shutdown()
    issuer.server.server_close()
    with pytest.raises(PartUnavailable, match="key set"):
        await identity.check(f"Bearer {signed(rsa_key, 'RS256', kid='one')}")


def test_a_weak_secret_does_not_start() -> None:
    with pytest.raises(ConfigurationError, match="can be guessed"):
        Identity(Settings(jwt_secret=SecretStr("changeme")))
    with pytest.raises(ConfigurationError, match="is not set"):
        Identity(Settings())


def test_a_secret_and_a_key_set_do_not_go_together() -> None:
    both = Settings(jwt_secret=SecretStr(SECRET), jwt_jwks_url="https://issuer.example/keys")
    with pytest.raises(ConfigurationError, match="choose one"):
        Identity(both)
