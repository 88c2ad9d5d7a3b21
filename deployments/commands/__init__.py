"""What commands of `autoindex` do, beside those of the local stack."""
