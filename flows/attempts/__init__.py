"""How a task's attempts recover: retries, limits, locks, and what one leaves to the next."""
