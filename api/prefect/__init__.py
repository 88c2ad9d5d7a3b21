"""The adapter of the port: tasks as flow runs of a Prefect server."""
