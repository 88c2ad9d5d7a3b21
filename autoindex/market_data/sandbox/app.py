"""The sandbox as an ASGI application: its switches, then the provider's endpoints."""

from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import ASGIApp

from autoindex.market_data.sandbox import controls
from autoindex.market_data.sandbox.connection import Droppable
from autoindex.market_data.sandbox.provider import Provider
from autoindex.market_data.sandbox.state import Sandbox


def application(sandbox: Sandbox) -> ASGIApp:
    """The application of one sandbox, to be served by uvicorn."""
    routes = [*controls.routes(sandbox), Mount("/", Provider(sandbox))]
    return Droppable(Starlette(routes=routes))
