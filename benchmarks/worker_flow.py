"""What the worker's benchmark runs: nothing, after all that the product's flows import."""

import time

from prefect import flow

import flows.cleanup
import flows.compute_index
import flows.generate_report
import flows.refresh_market_data  # noqa: F401 - what is measured is that it is there


@flow
def nothing() -> None:
    """End at once."""


@flow
def wait(seconds: float) -> None:
    """Be there to be looked at."""
    time.sleep(seconds)
