"""Stored prices: what is loaded, how it differs from before, and when the provider was asked."""
