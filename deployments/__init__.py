"""Where it runs: the `autoindex` command, bootstrap, notices and the local stack."""
