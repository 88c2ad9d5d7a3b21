"""One attempt: signed, to the checked address, and bounded whatever the receiver does."""

import asyncio
import json
import logging
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from autoindex.webhooks import signature
from autoindex.webhooks.events import Event
from autoindex.webhooks.sender import Message, Sender
from tests.bounds import HANG_SECONDS
from tests.webhooks.receiver import Held, Receiver, answer, endlessly, free_port, is_signed

pytestmark = pytest.mark.anyio

AT = datetime(2022, 12, 28, 22, 0, 0, 5, UTC)
EVENT = Event("msg_1", "levels.changed", AT, {"cause": "a split of Müller & Söhne"})


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver().serving() as serving:
        yield serving


@pytest.fixture
async def sender() -> AsyncIterator[Sender]:
    made = Sender(private=True, seconds=HANG_SECONDS)
    yield made
    await made.aclose()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names that are looked up."""
    names = []
    look_up = socket.getaddrinfo

    def noted(name: str, *more: Any) -> Any:
        names.append(name)
        return look_up(name, *more)

    monkeypatch.setattr(socket, "getaddrinfo", noted)
    return names


def message(url: str) -> Message:
    return Message(url, signature.new_secret(), EVENT.id, EVENT.body)


def test_a_signature_is_that_of_the_specification() -> None:
    # https://github.com/standard-webhooks/standard-webhooks, libraries' own tests.
    secret, body = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", '{"test": 2432232314}'
    headers = signature.headers(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert is_signed(secret, headers, body.encode())
    assert not is_signed(secret, headers, body.encode() + b" ")


def test_each_secret_is_new_and_long() -> None:
    one, two = signature.new_secret(), signature.new_secret()
    assert one != two
    assert one.startswith("whsec_")
    assert len(signature.b64decode(one[6:])) == 32


async def test_what_arrives_is_signed_and_says_what_happened(
    receiver: Receiver, sender: Sender
) -> None:
    sent = message(receiver.url)
    outcome = await sender.send(sent)
    assert (outcome.delivered, outcome.status, outcome.text) == (True, 204, "HTTP 204")
    (got,) = receiver.received
    assert is_signed(sent.secret, got.headers, got.body)
    assert (got.path, got.id) == ("/hook?app=1", "msg_1")
    assert got.headers["content-type"] == "application/json"
    assert got.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert json.loads(got.body) == {
        "type": "levels.changed",
        "timestamp": "2022-12-28T22:00:00.000005Z",
        "data": {"cause": "a split of Müller & Söhne"},
    }


@pytest.mark.parametrize("host", ["xn--strae-oqa.test", "xn--ls8h.test"])
async def test_a_host_is_looked_up_as_it_was_given(
    sender: Sender, asked: list[str], host: str
) -> None:
    """Decoded and encoded again, it may be another one, or none."""
    outcome = await sender.send(message(f"https://{host}/"))
    assert not outcome.delivered
    assert asked == [host]


async def test_attempts_at_a_time_share_a_look_up(
    receiver: Receiver, sender: Sender, asked: list[str]
) -> None:
    outcomes = await asyncio.gather(*(sender.send(message(receiver.url)) for _ in range(5)))
    assert all(outcome.delivered for outcome in outcomes)
    assert len(asked) == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308, 400, 404, 410, 429, 500, 503])
async def test_only_2xx_counts_and_no_redirect_is_followed(
    receiver: Receiver, sender: Sender, status: int
) -> None:
    receiver.script = [answer(status, Location=f"http://127.0.0.1:{receiver.port}/elsewhere")]
    outcome = await sender.send(message(receiver.url))
    assert (outcome.delivered, outcome.text) == (False, f"HTTP {status}")
    assert outcome.gone == (status == 410)
    assert len(receiver.received) == 1


async def test_neither_cookies_are_kept_nor_urls_logged(
    receiver: Receiver, sender: Sender, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.script = [answer(200, **{"Set-Cookie": "who=ann; Path=/"})]
    sent = message(receiver.url)
    with caplog.at_level(logging.DEBUG):
        for _ in range(2):
            await sender.send(sent)
    assert "cookie" not in receiver.received[1].headers
    for secret in (sent.secret, "/hook", "app=1"):
        assert secret not in caplog.text


async def test_a_body_without_end_is_not_read(receiver: Receiver, sender: Sender) -> None:
    receiver.script = [endlessly]
    assert (await sender.send(message(receiver.url))).delivered


async def test_a_receiver_that_does_not_answer_is_given_up(receiver: Receiver) -> None:
    held = Held()
    receiver.script = [held]
    hasty = Sender(private=True, seconds=0.2)
    outcome = await hasty.send(message(receiver.url))
    held.go.set()
    await hasty.aclose()
    assert (outcome.status, outcome.text) == (None, "no answer within 0.2 s")


async def test_nobody_there_is_an_outcome(sender: Sender) -> None:
    outcome = await sender.send(message(f"http://127.0.0.1:{free_port()}/"))
    assert outcome.status is None
    assert outcome.text.startswith("no connection: ")


async def test_what_is_no_http_is_an_outcome(sender: Sender) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(HANG_SECONDS)
        port = listening.getsockname()[1]

        def greet() -> None:
            one, _ = listening.accept()
            with one:
                one.sendall(b"220 mail.example.com ESMTP\r\n" + b"x" * 200_000)

        thread = Thread(target=greet)
        thread.start()
        outcome = await sender.send(message(f"http://127.0.0.1:{port}/"))
        thread.join()
    # The kernel may reset a connection with an unread request.
    assert outcome.text in {f"no connection: {kind}Error" for kind in ("RemoteProtocol", "Read")}


async def test_no_proxy_is_used(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    sender = Sender(private=True, seconds=HANG_SECONDS)
    assert (await sender.send(message(receiver.url))).delivered
    await sender.aclose()


async def test_a_name_is_looked_up_once_and_that_address_is_connected_to(
    receiver: Receiver, sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def found(host: str, *_: Any) -> list[Any]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 80))]

    monkeypatch.setattr(socket, "getaddrinfo", found)
    url = f"http://app.example.com:{receiver.port}/hook"
    assert (await sender.send(message(url))).delivered
    assert asked == ["app.example.com"]
    assert receiver.received[0].headers["host"] == f"app.example.com:{receiver.port}"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "rebound.test"])
async def test_a_private_address_is_refused_again_when_it_is_sent(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    look_up = socket.getaddrinfo

    def found(name: str, *asked: Any) -> list[Any]:
        return look_up("127.0.0.1" if name == "rebound.test" else name, *asked)

    monkeypatch.setattr(socket, "getaddrinfo", found)
    careful = Sender(private=False, seconds=HANG_SECONDS)
    outcome = await careful.send(message(f"https://{host}:{receiver.port}/"))
    assert outcome.text == "not sent: its address is not public"
    outcome = await careful.send(message(f"http://{host}:{receiver.port}/"))
    assert outcome.text == "not sent: must begin with https://"
    await careful.aclose()
    assert receiver.received == []


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    key, signed = folder / "key.pem", folder / "signed.pem"
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    words += ["-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}"]
    subprocess.run(
        [*words, "-keyout", str(key), "-out", str(signed)], check=True, capture_output=True
    )
    return key, signed


@pytest.mark.parametrize(("named", "taken"), [("app.example.com", True), ("other.test", False)])
async def test_tls_checks_the_certificate_of_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str, taken: bool
) -> None:
    key, signed = certificate(tmp_path, named)
    monkeypatch.setenv("SSL_CERT_FILE", str(signed))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(signed, key)
    asked: list[str | None] = []
    context.sni_callback = lambda _socket, name, _context: asked.append(name)  # type: ignore[assignment]
    look_up = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda _, *more: look_up("127.0.0.1", *more))
    sender = Sender(private=True, seconds=HANG_SECONDS)
    with Receiver(tls=context).serving() as receiver:
        url = f"https://app.example.com:{receiver.port}/"
        outcome = await sender.send(message(url))
    await sender.aclose()
    assert outcome.delivered is taken
    assert asked == ["app.example.com"]
    assert len(receiver.received) == int(taken)
