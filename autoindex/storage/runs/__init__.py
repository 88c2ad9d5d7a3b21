"""What is stored about runs: leases, checkpoints, progress, results, idempotency keys."""
