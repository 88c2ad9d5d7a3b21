"""The stored index: levels, allocations, metrics, and from where it has to be recomputed."""
