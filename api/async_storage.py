"""Stored data for the facade: the storage room's functions, on an async connection."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from autoindex.storage import schema_revision, versions

P = ParamSpec("P")
R = TypeVar("R")


class Database:
    """Calls functions of `autoindex.storage`, each on a connection of its own."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def read(
        self,
        query: Callable[Concatenate[Connection, P], R],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        """Call a storage function."""
        async with self._engine.connect() as connection:
            return await connection.run_sync(query, *args, **kwargs)

    async def write(
        self,
        statement: Callable[Concatenate[Connection, P], R],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        """Call a storage function each of whose statements is a transaction of its own."""
        async with self._engine.connect() as connection:
            await connection.execution_options(isolation_level="AUTOCOMMIT")
            return await connection.run_sync(statement, *args, **kwargs)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """One transaction, which is committed at the end of the block unless it raises."""
        async with self._engine.begin() as connection:
            yield connection

    async def transact(
        self,
        statements: Callable[Concatenate[Connection, P], R],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        """Call a storage function in one transaction."""
        async with self.transaction() as connection:
            return await connection.run_sync(statements, *args, **kwargs)

    async def snapshot(self, query: Callable[[Connection], R]) -> R:
        """Call a function whose queries see the database as of one instant."""
        async with self._engine.connect() as connection:
            await connection.execution_options(isolation_level="REPEATABLE READ")
            return await connection.run_sync(query)

    async def check(self) -> None:
        """Raise where the database refuses writes, or its tables are missing or another version's.

        Raises SQLAlchemy's errors, or `ConfigurationError`.
        """
        await self.read(versions.try_writing)
        await self.read(schema_revision.check)

    async def aclose(self) -> None:
        """Close connections."""
        await self._engine.dispose()
