"""A Twelve Data-compatible HTTP server over real prices, for demonstrations and tests."""
