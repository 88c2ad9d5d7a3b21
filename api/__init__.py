"""The REST facade: documented endpoints in, flow runs and their states out."""
