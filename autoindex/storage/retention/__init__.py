"""What is removed when it is old: archived, verified, deleted, restored; and vacuum."""
