"""Which errors pass by themselves."""

import httpx
import psycopg
import pytest
from sqlalchemy.exc import OperationalError, ProgrammingError

from autoindex.errors import ProviderRefused, ProviderUnavailable
from flows.attempts.transient_errors import is_passing, part_away

_REQUEST = httpx.Request("POST", "http://prefect/api/logs")


def _answered(status: int) -> httpx.HTTPStatusError:
    return httpx.HTTPStatusError("", request=_REQUEST, response=httpx.Response(status))


@pytest.mark.parametrize(
    ("error", "part"),
    [
        (_answered(500), "Prefect"),
        (_answered(503), "Prefect"),
        (httpx.ReadTimeout("slow"), "Prefect"),
        (OperationalError("", None, psycopg.OperationalError()), "the database"),
        (ProviderUnavailable("busy"), None),
    ],
)
def test_what_passes(error: Exception, part: str | None) -> None:
    assert is_passing(error)
    assert part_away(error) == part


@pytest.mark.parametrize(
    "error",
    [
        _answered(404),
        _answered(422),
        ProviderRefused("a bad key"),
        httpx.LocalProtocolError("Illegal header value"),
        httpx.UnsupportedProtocol("no scheme"),
        httpx.InvalidURL("no host"),
        ProgrammingError("", None, psycopg.ProgrammingError()),
        ValueError("a defect"),
    ],
)
def test_what_does_not(error: Exception) -> None:
    assert not is_passing(error)
    assert part_away(error) is None
