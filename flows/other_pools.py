"""The four flows for work pools of Prefect's own types, whose workers do not limit a run's time.

Prefect's timeout ends a run as `TimedOut`. It is the hard limit of `prefect.yaml` and five minutes
more: a run waits in place for retries and locks there.
"""

from flows import cleanup as cleanup_flow
from flows.compute_index import compute_index
from flows.generate_report import generate_report
from flows.refresh_market_data import refresh_market_data

refresh = refresh_market_data.with_options(timeout_seconds=600)
compute = compute_index.with_options(timeout_seconds=600)
report = generate_report.with_options(timeout_seconds=600)
cleanup = cleanup_flow.cleanup.with_options(timeout_seconds=3900)
