"""Which database a work pool belongs to: a copy of it is another."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, create_engine

from autoindex.errors import ConfigurationError
from autoindex.storage.runs import pool_owner


@pytest.fixture
def copy(module_database_url: str) -> Iterator[Engine]:
    """A database that is equal to `engine`'s, byte by byte, but not the same."""
    made = create_engine(module_database_url)
    yield made
    made.dispose()


def described(engine: Engine) -> str:
    with engine.connect() as connection:
        return pool_owner.description(connection)


def test_a_pool_is_used_with_its_database_only(engine: Engine, copy: Engine) -> None:
    ours, other = described(engine), described(copy)
    pool_owner.check(ours, described(engine))
    with pytest.raises(ConfigurationError) as error:
        pool_owner.check(ours, f"{other}, says an operator.")
    for words in (
        f"the work pool's runs use the database {copy.url.database} (",
        f"AUTOINDEX_DATABASE_URL names {engine.url.database} (",
        "`autoindex bootstrap`",
    ):
        assert words in str(error.value)


@pytest.mark.parametrize("written", ["", "Ours", "the database", "Ours (1-2)"])
def test_a_pool_that_names_no_database_is_anybodys(engine: Engine, written: str) -> None:
    pool_owner.check(described(engine), written)


def test_a_database_may_be_renamed(engine: Engine) -> None:
    ours = described(engine)
    pool_owner.check(ours, ours.replace(str(engine.url.database), 'the "old" (1-2) name'))
