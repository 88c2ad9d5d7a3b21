"""The port: background tasks as the facade sees them, independent of what runs them."""
