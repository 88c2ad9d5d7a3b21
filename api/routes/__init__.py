"""The facade's endpoints, one file for each group."""
