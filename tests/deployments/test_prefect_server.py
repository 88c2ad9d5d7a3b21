"""The set-up reaches a Prefect server that asks for a password, as one in production does."""

from base64 import b64decode

from prefect.settings import (
    PREFECT_API_AUTH_STRING,
    PREFECT_CLIENT_CSRF_SUPPORT_ENABLED,
    temporary_settings,
)

from deployments import prefect_server
from tests.prefect_server import Receiver

TOLD = {
    PREFECT_API_AUTH_STRING: "admin:a long random word",
    # Or it would ask for a token against forged requests first.
    PREFECT_CLIENT_CSRF_SUPPORT_ENABLED: False,
}


def test_the_servers_password_is_told() -> None:
    with (
        Receiver() as there,
        temporary_settings(TOLD),
        prefect_server.client(f"http://{there.address}/api") as client,
    ):
        client.request("POST", "/events", json=[])
    ((path, headers, _),) = there.received
    kind, _, told = headers["Authorization"].partition(" ")
    assert (path, kind) == ("/api/events", "Basic")
    assert b64decode(told) == b"admin:a long random word"
