"""What a worker tells an attempt that it holds, in the environment of the attempt's process."""

from typing import Final

LEASE_TOKEN: Final = "AUTOINDEX_LEASE_TOKEN"  # noqa: S105
"""Of the lease by which the worker holds the run; unset where no worker of ours does."""
MEMORY_LIMIT: Final = "AUTOINDEX_MEMORY_LIMIT_MB"
