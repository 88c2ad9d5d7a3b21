"""The index: pure functions from frames of closes to weights, levels and metrics."""
