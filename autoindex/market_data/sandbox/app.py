"""The sandbox as an ASGI application: its switches, then the provider's endpoints."""

from starlette.applications import Starlette
from starlette.routing import Mount

from autoindex.market_data.sandbox import controls
from autoindex.market_data.sandbox.provider import Provider
from autoindex.market_data.sandbox.state import Sandbox


def application(sandbox: Sandbox) -> Starlette:
    """The application of one sandbox."""
    return Starlette(routes=[*controls.routes(sandbox), Mount("/", Provider(sandbox))])
