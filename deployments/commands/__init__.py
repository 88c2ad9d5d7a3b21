"""The commands of `autoindex` other than those of the local stack."""
