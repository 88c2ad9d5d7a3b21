"""Prices in: the Twelve Data client, the trading sessions, what is missing, the sandbox."""
