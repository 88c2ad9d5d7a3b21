"""Stored state of runs: leases, checkpoints, progress, results, idempotency keys."""
