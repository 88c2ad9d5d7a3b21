"""Retention: old rows are archived, verified, deleted and restored; vacuum."""
