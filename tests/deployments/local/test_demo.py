"""What the demonstration says of a task's result."""

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
