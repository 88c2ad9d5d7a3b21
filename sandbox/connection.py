"""Connections that end without a response, which ASGI itself cannot express."""

from starlette.types import ASGIApp, Receive, Scope, Send

_KEY = "autoindex.connection"


class Droppable:
    """An application under uvicorn that may drop the connection it is called on."""

    def __init__(self, application: ASGIApp) -> None:
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # This is the outermost application, so `send` is a method of uvicorn's request.
        scope[_KEY] = getattr(send, "__self__", None)
        await self._application(scope, receive, send)


async def drop(scope: Scope, receive: Receive) -> None:
    """End the connection of this call at once."""
    scope[_KEY].transport.abort()
    # Wait until uvicorn knows: otherwise it would answer 500.
    while (await receive())["type"] != "http.disconnect":
        pass
