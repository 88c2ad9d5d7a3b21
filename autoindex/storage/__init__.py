"""Storage: all SQL and all Redis, in one module for each noun."""
