"""The facade's endpoints, one file a group."""
