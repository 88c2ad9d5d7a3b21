"""The documentation's site: `make docs` builds it, without a network, from `docs/` and the code."""
