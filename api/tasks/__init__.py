"""The port: background tasks as the facade sees them, whoever runs them."""
