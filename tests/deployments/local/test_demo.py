"""What the demonstration says of a task's result."""

import re
from io import StringIO

from rich.console import Console

from autoindex.reports import wording
from deployments.local import demo


def test_a_refresh_that_finds_its_records_stored_says_how_many_they_are() -> None:
    result = {
        "symbols_processed": 21,
        "records_updated": 0,
        "records_unchanged": 174_573,
        "duration_seconds": 3.26,
    }
    first = result | {"records_updated": 174_573, "records_unchanged": 0}
    assert demo._refreshed(result) == demo._refreshed(first)
    assert demo._refreshed(result) == "21 symbols, 174,573 records in 3.3 s"


def test_figures_of_a_short_history_are_dashes_with_a_reason() -> None:
    young = {"annual_return": None, "annual_volatility": 0.1, "sharpe_ratio": 0.9}
    said = shown(young)
    assert re.search(r"Annual return +\N{EN DASH} *\n", said)
    assert re.search(r"Annual volatility +10\.00% *\n", said)
    assert wording.FOOTNOTE in said
    assert "\N{EN DASH}" not in shown(dict.fromkeys(demo._HEADLINES, 0.5))


def shown(metrics: dict[str, float | None]) -> str:
    terminal = StringIO()
    computed = {"level": 101.5, "last_session": "2022-12-28", "metrics": metrics}
    demo._show_index(Console(file=terminal, width=200), computed)
    return terminal.getvalue()
