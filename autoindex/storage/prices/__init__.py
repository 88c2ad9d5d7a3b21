"""Stored prices: loading them, their differences, and when the provider answered."""
