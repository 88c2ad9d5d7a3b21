"""Autoindex keeps a rule-based market index up to date: prices in, index out, reports, cleanup.

The domain. It imports neither Prefect nor FastAPI, so everything in it can be used from a notebook.
"""
