"""Where a webhook may go."""

import socket
from typing import Any

import pytest

from autoindex.webhooks.destinations import DestinationRefused, check_url, is_public, resolve

pytestmark = pytest.mark.anyio

# https://www.iana.org/assignments/iana-ipv4-special-registry and -ipv6-; clouds' own documents.
PRIVATE = """
    0.0.0.0 10.1.2.3 100.64.0.1 100.100.100.200 127.0.0.1 127.9.9.9 168.63.129.16 169.254.169.254
    172.16.0.1 172.31.255.255 192.0.0.192 192.0.2.1 192.88.99.1 192.168.1.1 198.18.0.1 198.51.100.1
    203.0.113.1 224.0.0.1 239.1.1.1 240.0.0.1 255.255.255.255
    :: ::1 ::ffff:127.0.0.1 ::ffff:8.8.8.8 ::7f00:1 64:ff9b::a00:1 64:ff9b:1::1 100::1 2001::1
    2001:0:4136:e378:8000:63bf:3fff:fdd2 2001:db8::1 2002:a00:1:: 2002:808:808:: fc00::1
    fd00:ec2::254 fe80::1 fe80::1%lo fec0::1 ff02::1 4000::1
"""
PUBLIC = "1.1.1.1 8.8.8.8 93.184.215.14 172.32.0.1 2606:4700::1111 2a00:1450:4001::200e"


@pytest.mark.parametrize("address", PRIVATE.split())
async def test_an_address_that_is_not_public_is_refused(address: str) -> None:
    assert not is_public(address)
    with pytest.raises(DestinationRefused, match="not public"):
        await resolve(address, 443, private=False)


@pytest.mark.parametrize("address", PUBLIC.split())
async def test_a_public_address_is_taken(address: str) -> None:
    assert await resolve(address, 443, private=False) == [address]


@pytest.mark.parametrize("host", ["localhost", "127.1", "2130706433", "0x7f.1", "017700000001"])
async def test_other_ways_to_write_it_are_refused_too(host: str) -> None:
    with pytest.raises(DestinationRefused, match="not public"):
        await resolve(host, 443, private=False)
    assert await resolve(host, 443, private=True)


async def test_one_private_address_among_public_ones_is_enough(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def found(*_: Any) -> list[Any]:
        kind = socket.AF_INET, socket.SOCK_STREAM, 6, ""
        return [(*kind, (address, 443)) for address in ("8.8.8.8", "10.0.0.1")]

    monkeypatch.setattr(socket, "getaddrinfo", found)
    with pytest.raises(DestinationRefused):
        await resolve("two.example.com", 443, private=False)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.com/",
        "https:///path",
        "https://user:word@example.com/",
        "https://example.com/#part",
        "https://example.com/\n",
        "https://example.com\\@127.0.0.1/",
        "https://müller.example/",
        "https://example.com:0/",
        f"https://example.com/{'x' * 2_000}",
        "javascript:alert(1)",
    ],
)
def test_a_url_of_no_receiver_is_refused(url: str) -> None:
    with pytest.raises(DestinationRefused):
        check_url(url, private=True)


def test_http_is_for_private_addresses() -> None:
    check_url("https://example.com:8443/a?b=c", private=False)
    check_url("http://example.com/", private=True)
    with pytest.raises(DestinationRefused, match="https"):
        check_url("http://example.com/", private=False)
