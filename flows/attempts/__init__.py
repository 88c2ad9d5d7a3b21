"""How a task's attempts recover: retries, limits, turns, and what one leaves to the next."""
