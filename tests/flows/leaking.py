"""A flow that says what it must not, wherever it can."""

from typing import Any

from prefect import State, flow, get_run_logger

from flows.attempts.attempt import resumable
from flows.attempts.outcome import finish
from flows.attempts.retry import retrying
from flows.attempts.runtime import opened
from flows.visibility import artifacts


@retrying("leak")
def leak() -> None:
    """Log the key, and fail with it as a transport would."""
    with opened() as run:
        assert run.settings.twelve_data_api_key is not None
        key = run.settings.twelve_data_api_key.get_secret_value()
        get_run_logger().info("asking with %s", key)
        raise ValueError(f"Illegal header value b'apikey {key}\\r'")


@flow(name="leaking")
@resumable
def leaking(succeed: bool = False) -> dict[str, Any] | State[Any]:
    """Fail with the key, or give it back."""
    if not succeed:
        leak()
    with opened() as run:
        assert run.settings.twelve_data_api_key is not None
        artifacts.omitted_symbols({"KO": run.settings.twelve_data_api_key.get_secret_value()}, {})
        return finish(run, "leak", {"asked": [{"with": run.settings.environment()}]})
