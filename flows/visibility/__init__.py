"""What a run shows in the Prefect UI, and whom it notifies."""
