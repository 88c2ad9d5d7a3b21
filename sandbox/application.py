"""The sandbox as an ASGI application: its switches, then the provider's endpoints."""

from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import ASGIApp

from sandbox import controls
from sandbox.connection import Droppable
from sandbox.provider import Provider
from sandbox.state import Sandbox


def application(sandbox: Sandbox) -> ASGIApp:
    """The application of one sandbox, to be served by uvicorn."""
    routes = [*controls.routes(sandbox), Mount("/", Provider(sandbox))]
    return Droppable(Starlette(routes=routes))
