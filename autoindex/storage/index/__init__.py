"""The stored index: levels with their versions, allocations, metrics, and corrections."""
