"""Where webhooks may go: to public addresses, by https, unless a setting allows the rest."""

import asyncio
import socket
from concurrent.futures import Executor
from ipaddress import IPv4Address, ip_address, ip_network
from typing import Final
from urllib.parse import urlsplit

from autoindex import addresses

LONGEST_URL: Final = 2_000
# Python counts them as public: addresses of protocols, with the metadata of a cloud among them,
# relays of 6to4, and where each machine of a cloud reaches its host.
_NOT_PUBLIC: Final = tuple(
    ip_network(one) for one in ("192.0.0.0/24", "192.88.99.0/24", "168.63.129.16/32")
)
# Beyond it are the addresses that contain one of IPv4: mapped ones, and those of NAT64.
_UNICAST: Final = ip_network("2000::/3")


class DestinationRefused(Exception):
    """Why a webhook may not go there; never names an address that a name stands for."""


def check_url(url: str, *, private: bool) -> None:
    """Raise `DestinationRefused` for what is no URL of a receiver."""
    try:
        addresses.web(url)
    except ValueError as error:
        raise DestinationRefused(str(error)) from None
    parts = urlsplit(url)
    if not url.isascii() or len(url) > LONGEST_URL or "@" in parts.netloc or parts.fragment:
        raise DestinationRefused("must be ASCII, without user, password or fragment")
    if parts.scheme != "https" and not private:
        raise DestinationRefused("must begin with https://")


async def resolve(
    host: str, port: int, *, private: bool, executor: Executor | None = None
) -> list[str]:
    """The addresses of a host; raises `DestinationRefused` where one is not public, or OSError."""
    look_up = asyncio.get_running_loop().run_in_executor
    try:
        found = await look_up(executor, socket.getaddrinfo, host, port, 0, socket.SOCK_STREAM)
    except UnicodeError as error:
        raise DestinationRefused("its host is no name") from error
    resolved = list(dict.fromkeys(str(address[0]) for *_, address in found))
    if not private and not all(map(is_public, resolved)):
        raise DestinationRefused("its address is not public")
    return resolved


def is_public(address: str) -> bool:
    """Whether it is of one machine in the internet, and contains no other address."""
    ip = ip_address(address)
    if isinstance(ip, IPv4Address):
        return ip.is_global and not (ip.is_multicast or any(ip in net for net in _NOT_PUBLIC))
    embeds = ip.sixtofour is not None or ip.teredo is not None
    return ip in _UNICAST and ip.is_global and not embeds
