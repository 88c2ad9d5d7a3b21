"""Webhooks: the endpoints of users, and the outbox of what they are told."""
