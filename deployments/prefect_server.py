"""The Prefect server that is set up."""

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.settings import PREFECT_API_URL, temporary_settings


def client(api_url: str) -> SyncPrefectClient:
    """A client of the server at `api_url`, which sends the password (`PREFECT_API_AUTH_STRING`)."""
    with temporary_settings({PREFECT_API_URL: api_url}):
        return get_client(sync_client=True)
