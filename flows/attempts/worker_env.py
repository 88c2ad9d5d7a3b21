"""Environment variables that a worker sets for an attempt."""

from typing import Final

LEASE_TOKEN: Final = "AUTOINDEX_LEASE_TOKEN"  # noqa: S105
"""The token of the run's lease; unset where no Autoindex worker executes the run."""
MEMORY_LIMIT: Final = "AUTOINDEX_MEMORY_LIMIT_MB"
