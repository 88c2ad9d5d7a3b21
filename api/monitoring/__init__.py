"""What operators ask the facade: whether it is ready, and what it counts."""
