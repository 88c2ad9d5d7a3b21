"""Any text becomes a name that a report can hold."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoindex import labels


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Procter & Gamble Co.", "Procter & Gamble Co."),
        ("Bell\x07 Inc.\r\nBcc: x", "Bell Inc. Bcc: x"),
        ("a\N{NO-BREAK SPACE}\tb", "a b"),
        ("\u202egro.elpmaxe", "gro.elpmaxe"),
        ("三菱商事", "三菱商事"),
        ("\x07\x00", ""),
        ("W" * 21, "W" * 19 + "…"),
        ("W" * 18 + " WW", "W" * 18 + "…"),
    ],
)
def test_what_is_shown(text: str, expected: str) -> None:
    assert labels.shown(text, 20) == expected


@given(st.text())
def test_it_is_printable_and_stays_so(text: str) -> None:
    found = labels.shown(text, 20)
    assert len(found) <= 20
    assert found.isprintable()
    assert labels.shown(found, 20) == found
