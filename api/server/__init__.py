"""The HTTP server before any route: connections, heads, bodies, origins, the access log."""
