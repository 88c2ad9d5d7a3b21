"""Where a stack can listen, and what its facade is called then."""

import socket
from pathlib import Path

import pytest

from autoindex.errors import ConfigurationError
from autoindex.settings import Settings
from benchmarks.ports import free_ports
from deployments.local import ports


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000"),
        ("192.168.1.17", "http://192.168.1.17:8000"),
        ("facade.lan", "http://facade.lan:8000"),
        ("::1", "http://[::1]:8000"),
        ("fd00::17", "http://[fd00::17]:8000"),
        ("0.0.0.0", "http://127.0.0.1:8000"),  # noqa: S104
        ("::", "http://[::1]:8000"),
    ],
)
def test_the_facade_is_reached_where_it_listens(host: str, url: str) -> None:
    settings = Settings(api_host=host)
    assert settings.own_url == settings.public_url == url
    links = settings.model_copy(update={"api_url": "https://index.example.com/"})
    assert (links.own_url, links.public_url) == (url, "https://index.example.com")


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::1", "::"])  # noqa: S104
def test_a_taken_port_is_seen_at_the_address_that_is_asked_for(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    if ":" in host and not Path("/proc/net/if_inet6").exists():
        pytest.skip("no IPv6 here")
    api, prefect, sandbox = free_ports(3)
    chosen = Settings(api_host=host, api_port=api, prefect_port=prefect, sandbox_port=sandbox)
    ports.check(chosen)
    loopback = "::1" if ":" in host else "127.0.0.1"
    with (
        socket.create_server((loopback, api), family=family),
        pytest.raises(ConfigurationError, match=f"port {api} is taken.*AUTOINDEX_API_PORT"),
    ):
        ports.check(chosen)


@pytest.mark.parametrize("host", ["192.0.2.1", "nowhere.invalid"])
def test_an_address_of_another_machine_is_named(host: str) -> None:
    with pytest.raises(ConfigurationError, match=f"of {host}: .*AUTOINDEX_API_HOST"):
        ports.check(Settings(api_host=host, api_port=free_ports(1)[0]))
