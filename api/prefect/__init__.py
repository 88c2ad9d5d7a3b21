"""The port's one adapter: tasks as flow runs of a Prefect server."""
