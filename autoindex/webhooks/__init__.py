"""Webhooks: events, their signature, where they may go, and how one is sent."""
