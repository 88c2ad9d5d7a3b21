"""What a refresh reports of its batches, over several attempts."""

from collections import Counter

from flows.attempts.refresh_progress import MOST_NAMED, RefreshProgress


def test_dropped_rows_are_named_by_symbol_up_to_a_bound_the_most_first() -> None:
    done = RefreshProgress(dropped_by_symbol={"S099": Counter(zero=2, absurd=1)})
    for number in range(150):
        done._drop(f"S{number:03d}", Counter(zero=1))
    done._drop("S149", Counter(absurd=3))
    done._drop("AAPL", Counter())
    named = RefreshProgress.restored(done.dump()).result()["rows_dropped_by_symbol"]
    assert list(named.items())[:3] == [
        ("S099", {"zero": 3, "absurd": 1}),
        ("S149", {"zero": 1, "absurd": 3}),
        ("S000", {"zero": 1}),
    ]
    assert len(named) == MOST_NAMED


def test_progress_that_an_earlier_release_stored_is_read() -> None:
    dumped = RefreshProgress(dropped=Counter(zero=2)).dump()
    del dumped["dropped_by_symbol"]
    assert RefreshProgress.restored(dumped).result()["rows_dropped"] == {"zero": 2}
