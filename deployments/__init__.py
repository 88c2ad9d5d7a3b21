"""Where it runs: the command line, the worker, bootstrap and the local stack."""
