"""The list of notices, and how it is applied to a Prefect server."""
