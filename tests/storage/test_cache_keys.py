"""Keys of cached values: the same for the same, others for others."""

import subprocess
import sys
from datetime import UTC, date, datetime, timedelta, timezone
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoindex.requests import Strategy
from autoindex.storage.cache_keys import key, version_of

VALUES = st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.dates()
PARAMS = st.dictionaries(st.sampled_from("abcde"), VALUES)


def test_a_key_begins_with_its_name_and_version() -> None:
    assert key("levels", 12, strategy="momentum").startswith("autoindex:levels:v12:")


@given(PARAMS)
def test_the_order_of_parameters_does_not_matter(params: dict[str, object]) -> None:
    backwards = dict(reversed(params.items()))
    assert key("levels", 1, **params) == key("levels", 1, **backwards)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1}, {"a": 2}),
        ({"a": 1}, {"b": 1}),
        ({"a": 1}, {"a": "1"}),
        ({"a": 1}, {"a": True}),
        ({"a": None}, {}),
        ({"a": ["b", "c"]}, {"a": ["c", "b"]}),
        ({"a": "b", "c": "d"}, {"a": "b,c:d"}),
        ({"a": date(2022, 1, 3)}, {"a": date(2022, 1, 4)}),
    ],
)
def test_other_parameters_give_another_key(
    one: dict[str, object], other: dict[str, object]
) -> None:
    assert key("levels", 1, **one) != key("levels", 1, **other)
    assert key("levels", 1, **one) != key("levels", 2, **one)
    assert key("levels", 1, **one) != key("metrics", 1, **one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Strategy.MOMENTUM, "momentum"),
        ({"b", "a"}, frozenset({"a", "b"})),
        (("a", "b"), ["a", "b"]),
        (
            datetime(2022, 1, 3, 12, tzinfo=UTC),
            datetime(2022, 1, 3, 7, tzinfo=timezone(timedelta(hours=-5))),
        ),
        (UUID(int=5), UUID(int=5)),
    ],
)
def test_equal_values_give_one_key(one: object, other: object) -> None:
    assert key("levels", 1, value=one) == key("levels", 1, value=other)


def test_another_process_makes_the_same_key() -> None:
    program = (
        "from autoindex.storage.cache_keys import key;"
        "print(key('levels', 3, symbols={'KO', 'AAPL', 'XOM'}, strategy='momentum'))"
    )
    said = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert said.stdout.strip() == key(
        "levels", 3, strategy="momentum", symbols={"AAPL", "XOM", "KO"}
    )


@pytest.mark.parametrize("value", [object(), b"bytes", float("nan")])
def test_what_has_no_canonical_form_is_refused(value: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        key("levels", 1, value=value)


@pytest.mark.parametrize("name", ["", "Levels", "a:b", "levels*", "../x"])
def test_a_name_is_a_plain_word(name: str) -> None:
    with pytest.raises(ValueError, match="not a name"):
        key(name, 1)


def test_the_version_can_be_read_back() -> None:
    assert version_of(key("levels", 12), "levels") == 12
    assert version_of(key("levels", 12), "level") is None
    assert version_of("autoindex:levels:vx:abc", "levels") is None
    assert version_of("autoindex:levels:v12", "levels") is None
