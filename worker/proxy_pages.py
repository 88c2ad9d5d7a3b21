"""Pages that a proxy answers in Prefect's place, with any status: they count as no answer.

Prefect's own answers are JSON, or empty.
"""

import json
from http import HTTPStatus
from typing import Final

import httpx
from prefect.client.orchestration import PrefectClient

# With these any page says what there is to say.
_LOGIN_REFUSED: Final = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})


def refuse(client: PrefectClient) -> None:
    """Have the client's calls raise what they raise without an answer."""
    client._client.event_hooks = {"response": [_read]}


def read(answer: httpx.Response) -> None:
    """Read an answer; raises `httpx.RemoteProtocolError` where it is a page."""
    try:
        answer.read()
    except httpx.DecodingError as error:
        raise _refusal(answer) from error
    _check(answer)


async def _read(answer: httpx.Response) -> None:
    try:
        await answer.aread()
    except httpx.DecodingError as error:
        raise _refusal(answer) from error
    _check(answer)


def _check(answer: httpx.Response) -> None:
    if answer.is_server_error or answer.status_code in _LOGIN_REFUSED or not answer.content:
        return
    try:
        json.loads(answer.content)
    except ValueError as error:
        raise _refusal(answer) from error


def _refusal(answer: httpx.Response) -> httpx.RemoteProtocolError:
    return httpx.RemoteProtocolError(f"a proxy answers {answer.status_code} in Prefect's place")
